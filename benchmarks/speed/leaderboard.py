"""``lt-bench leaderboard`` with and without the statistics: one wide board, and many boards, beside reading and parsing the same files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from lt_bench.metrics.groups import group_means, shot_groups
from lt_bench.results.store import Store, record_paths

SHIPPED = Path(__file__).resolve().parents[1] / "results" / "shipped"
SIZES = {"one board": (1, 500, 3), "many boards": (40, 100, 5)}  # boards, rows, seeds
QUICK_SIZES = {"one board": (1, 100, 3), "many boards": (4, 20, 5)}


def measure(setting: Setting) -> list[Figure]:
    """A new process each, so that start-up and memory count; all formats but plots, and statistics computed anew."""
    figures = []
    for name, (boards, rows, seeds) in (QUICK_SIZES if setting.quick else SIZES).items():
        size = f"{name}: {boards * rows * seeds:,} records on {boards} board{'s' if boards > 1 else ''}, {rows} rows x {seeds} seeds"
        with TemporaryDirectory() as folder:
            results, out = Path(folder) / "results", str(Path(folder) / "out")
            copies(results, boards, rows, seeds)
            parse = f"import json, pathlib; [json.loads(p.read_bytes()) for p in pathlib.Path({str(results)!r}).glob('*/*.json')]"
            table, statistics = (
                f"from lt_bench.leaderboard.leaderboard import leaderboard; leaderboard({str(results)!r}, statistics={also}).write({out!r})"
                for also in (False, True)
            )
            floor, without, full = "read and parse the files", "lt-bench leaderboard --statistics false", "lt-bench leaderboard"
            contestants = {floor: started(parse), without: started(table), full: started(statistics)}
            figures += race(setting, "leaderboard", size, contestants, {without: floor, full: floor})
            setting.notes.append(f"leaderboard, {size}: peak memory {peak_of(statistics) / 1024:.0f} MiB")
    return figures


def copies(results: Path, boards: int, rows: int, seeds: int) -> None:
    """Write records made of the shipped ones, each row with predictions of its own that move a little from seed to seed, through the store: valid and sealed."""
    shipped = Store(SHIPPED)
    templates = [(record, shipped.arrays(record)) for record in list(shipped.records())[:19]]
    draws = np.random.default_rng(0)
    for board in range(boards):
        store = Store(results.parent / f"board-{board}")  # of its own: a store looks for a record among all
        for row in range(rows):
            record, arrays = templates[row % len(templates)]
            of_row = _moved(draws, arrays["test_predictions"], 0.02, record.dataset.num_classes)
            for seed in range(seeds):
                predictions = _moved(draws, of_row, 0.002, record.dataset.num_classes)
                identity = replace(
                    record.identity,
                    seed=seed,
                    cache_key=f"{board:08x}00000000",
                    hyperparameters={**record.identity.hyperparameters, "row": row},
                )
                right, labels = predictions == arrays["test_labels"], arrays["test_labels"]
                per_class = np.bincount(labels, right, record.dataset.num_classes) / np.bincount(
                    labels, minlength=record.dataset.num_classes
                )
                groups = group_means(per_class, shot_groups(record.dataset.train_counts))
                accuracies = {"accuracy": float(right.mean()), "macro_accuracy": float(per_class.mean()), **groups}
                made = replace(
                    record,
                    identity=identity,
                    cache=replace(record.cache, key=identity.cache_key),
                    seeds=replace(record.seeds, repetition=seed, varies="batch order, one backbone"),
                    metrics={**record.metrics, "test": {**record.metrics["test"], **accuracies}},
                )
                store.write(made, {**arrays, "test_predictions": predictions})
        for path in record_paths(store.directory):
            for file in (path, path.with_suffix(".npz")):
                target = results / file.parent.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
        shutil.rmtree(store.directory)


def _moved(draws: np.random.Generator, predictions: np.ndarray, share: float, classes: int) -> np.ndarray:
    """Predictions, a share of them drawn anew."""
    return np.where(draws.random(len(predictions)) < share, draws.integers(0, classes, len(predictions)), predictions)


def started(code: str) -> Contestant:
    """A new Python process that runs the code."""

    def run() -> int:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1

    return run


def peak_of(code: str) -> float:
    """Largest resident memory of such a process, KiB."""
    said = subprocess.run(
        [sys.executable, "-c", f"{code}; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(said.stdout.split()[-1])
