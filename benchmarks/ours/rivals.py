"""The protocol for our heads, as data: which strategies meet, and 24 points for each. ``python -m benchmarks.ours.rivals`` prints them.

Every strategy is tuned over the same number of points, so that a longer grid is no advantage. Where the product of the values is longer, the points are drawn from it
once, with the seed below; where it is shorter, it is all of it.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

POINTS, SEED, TUNING_SEEDS = 24, 18, 2
Grid = Mapping[str, Sequence[Any]]
OURS: dict[str, Grid] = {
    "scatter_prototypes": {
        "power": (0.0, 0.75), "mix": (0.25, 0.5, 1.0), "tau": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "ridge": (0.01, 0.03, 0.1),
    },
    "los_prototypes": {"epsilon": (0.9, 0.98), "lr": (5e-4, 1.5e-3), "mix": (0.25, 0.5, 1.0), "tau": (0.0, 0.2, 0.4, 0.6)},
    "compose": {"trainable": ("none",), "at_inference": ("match_prior(power=0.0)",)},
}  # fmt: skip
REFERENCES: dict[str, Grid] = {"joint": {}}
"""Measured beside them, with nothing to choose."""
RIVALS: dict[str, Grid] = {
    "los": {"epsilon": (0.3, 0.7, 0.9, 0.98), "lr": (5e-5, 1.5e-4, 5e-4, 1.5e-3, 5e-3, 1.5e-2)},
    "logit_adjustment": {"tau": tuple(round(0.1 * step, 1) for step in range(24))},
    "tau_norm": {"tau": tuple(round(0.1 * step, 1) for step in range(24))},
    "weight_balancing": {"weight_decay": (2e-4, 1e-3, 5e-3, 0.02, 0.05, 0.1), "lr": (0.001, 0.01, 0.05, 0.2)},
    "ncm": {"features": ("un", "l2n", "cl2n")},
    "lda": {"shrinkage": (0.003, 0.01, 0.03, 0.1, 0.3, 0.6), "features": ("un", "l2n"), "balance": (0.0, 1.0)},
    "knn": {"k": (20, 50, 200), "temperature": (0.03, 0.07, 0.2, 0.5), "balance": (0.5, 1.0)},
    "lift": {"lr": (0.01, 0.03, 0.1, 0.3), "scale": (15.0, 25.0, 40.0), "tau": (1.0, 1.5)},
}


def points(grid: Grid) -> list[dict[str, Any]]:
    """At most ``POINTS`` combinations of a grid, in the order of the product."""
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if len(combinations) <= POINTS:
        return combinations
    drawn = random.Random(SEED).sample(range(len(combinations)), POINTS)
    return [combinations[number] for number in sorted(drawn)]


def main() -> None:
    """All points, as JSON."""
    print(json.dumps({name: points(grid) for name, grid in (OURS | RIVALS).items()}, indent=1))


if __name__ == "__main__":
    main()
