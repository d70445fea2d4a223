"""Every point of strategies' grids, fitted once: which validation and which test images it gets right. Studies of what validation buys start from these files.

    python -m benchmarks.grid_points --strategies los,ncm,prototype_la --out benchmarks/results/grid-points

writes OUT/STRATEGY.npz and skips those that are there, so that it goes on after a kill. One head seed a point; the test images choose nothing here or later.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.choosing.grids import GridFits
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.bench.tuning.tune import check_validation
from lt_bench.core.files import write_atomic
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import find_cache
from lt_bench.leaderboard.objective.objective import objective_of
from lt_bench.strategies.registry import find

CACHE = "cifar100_lt-if100-resnet10s2"


@dataclass(frozen=True, eq=False)
class Points:
    """The points of a strategy's grid.

    Attributes:
        strategy: its name.
        points: hyper-parameters of each of P points, without defaults.
        right: (P, N) whether the point predicts each validation image correctly; False where its fit diverged.
        test: (P,) test accuracy, a fraction.
        labels: (N,) labels of the validation images.
        train_counts: (K,) numbers of training images.
    """

    strategy: str
    points: list[dict[str, Any]]
    right: NDArray[np.bool_]
    test: NDArray[np.float64]
    labels: NDArray[np.int64]
    train_counts: NDArray[np.int64]

    def scores(self, rows: NDArray[np.integer], by: str = "macro") -> NDArray[np.float64]:
        """Objective (P,) of each point on the validation images ``rows``."""
        K = len(self.train_counts)
        return self.right[:, rows] @ objective_of(by, tuple(map(str, range(K))), self.train_counts).weights(self.labels[rows], K)


def fitted_points(bench: CacheSource, name: str) -> Points:
    """Fit every point of a strategy's grid with seed 0; a strategy without a grid has its one point."""
    fits, labels = GridFits.of(find(name), bench, [0]), bench.split("val").labels.cpu().numpy()
    val, test = (of_seeds[:, 0] for of_seeds in fits.predictions(Watcher()))
    right = test == bench.split("test").labels.cpu().numpy()
    return Points(name, list(fits.points), val == labels, right.mean(1), labels, np.array(bench.manifest.dataset.train_counts))


def write_points(points: Points, path: Path) -> None:
    """Write points to one file, with one bit for each point and validation image."""
    arrays = {
        "right": np.packbits(points.right, axis=1),
        "test": points.test,
        "labels": points.labels.astype(np.int16),
        "train_counts": points.train_counts,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=np.array(json.dumps(points.points)), **arrays)
    write_atomic(path, lambda file: file.write(buffer.getvalue()))


def read_points(path: Path) -> Points:
    """Read points that `write_points` wrote."""
    with np.load(path) as arrays:
        labels = arrays["labels"].astype(np.int64)
        right = np.unpackbits(arrays["right"], axis=1, count=len(labels)).astype(bool)
        return Points(path.stem, json.loads(str(arrays["points"])), right, arrays["test"], labels, arrays["train_counts"])


def main() -> None:
    """Fit the grids whose files do not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default=CACHE, help="name or folder of a cache with validation images that its backbone has not seen")
    parser.add_argument("--strategies", required=True, help="names, comma-separated")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cache = open_cache(find_cache(options.cache))
    check_validation(cache)
    bench = CacheSource(cache, Hardware("cpu", 1))
    for name in options.strategies.split(","):
        path = options.out / f"{name}.npz"
        if not path.is_file():
            points = fitted_points(bench, name)
            write_points(points, path)
            print(f"{name}: {len(points.points)} points, best on test {100 * points.test.max():.2f}", flush=True)


if __name__ == "__main__":
    main()
