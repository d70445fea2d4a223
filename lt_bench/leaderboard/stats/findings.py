"""Findings on the claims of the LOS article from the rows of a board, with intervals: does a balanced, smaller LoMa go with accuracy, and is RSD nearly invariant?

Units are strategies with official or inferred settings, one each: tuned and user rows would count a strategy twice, and defaults that we chose on validation
images (author-tuned) are tuned too. Strategies that are one and the same here (`los` and `lort` at equal settings) count once. Associations, not causes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.ties import agree, ranks, tied

CONTROLS = ("random_scales", "random_head", "ncm_one_image", "val_probe")
"""The strategies of the family `control`."""
_FEWEST = 5
_RESAMPLES = 2000


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho over `n` points and its 95 % interval (Bonett and Wright 2000), None below five points; rho is NaN where it does not exist."""

    rho: float
    low: float | None
    high: float | None
    n: int

    @property
    def text(self) -> str:
        """For instance `Spearman -0.62 (95 %: -0.85 to -0.20), 14 strategies`."""
        if math.isnan(self.rho):
            return f"no correlation from {self.n} strategies"
        interval = "no interval" if self.low is None or self.high is None else f"95 %: {self.low:.2f} to {self.high:.2f}"
        return f"Spearman {self.rho:.2f} ({interval}), {self.n} strategies"


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> Correlation:
    """Spearman's correlation over the points that have both values; values that agree to `TIE` share their rank."""
    both = np.isfinite(x) & np.isfinite(y)
    n = int(both.sum())
    first, second = ranks(x[both]), ranks(y[both])
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(math.nan, None, None, n)
    rho = float(np.corrcoef(first, second)[0, 1])
    if n < _FEWEST or abs(rho) >= 1 - 1e-12:
        return Correlation(rho, None, None, n)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Correlation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def variation(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Standard deviation / |mean| of values and its 95 % percentile interval from resampling them (seeded)."""
    values = values[np.isfinite(values)]
    drawn = values[np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))]
    ratios = drawn.std(1) / np.abs(drawn.mean(1))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(values.std() / abs(values.mean())), float(low), float(high)


def published_settings(ranking: BoardRows) -> tuple[list[Row], dict[str, str]]:
    """The rows of methods with official or inferred settings and exact products, each once: no controls, and no ensembles, which consist of other rows. Second the labels of duplicates, each with that of the row it repeats."""
    known = [row for row in ranking.rows if row.text("tuning") in ("official", "inferred") and row.exact]
    return distinct([row for row in known if not row.control and row.text("family") != "ensemble"])


def distinct(rows: list[Row]) -> tuple[list[Row], dict[str, str]]:
    """Rows without those whose seeds and test metrics, all of them, are an earlier row's (to `TIE`), and the labels of those: duplicate -> the row it repeats."""
    names = [name for name in rows[0].runs.columns if name.startswith("test/")] if rows else []
    accuracy = tied(np.array([np.mean(row.values("test/accuracy")) for row in rows]))
    kept: dict[int, list[Row]] = defaultdict(list)  # by accuracy: only rows that share it are compared
    measured: dict[int, NDArray[np.float64]] = {}
    repeated: dict[str, str] = {}
    for row, key in zip(rows, np.unique(accuracy, return_inverse=True)[1].tolist(), strict=True):
        measured[id(row)] = np.array([row.values(name) for name in names])
        same = (other for other in kept[key] if other.seeds == row.seeds and agree(measured[id(other)], measured[id(row)]))
        if (other := next(same, None)) is None:
            kept[key].append(row)
        else:
            repeated[row.label] = other.label
    return [row for row in rows if row.label not in repeated], repeated


def findings(ranking: BoardRows) -> list[str]:
    """Two sentences for a board of at least five such strategies, otherwise none; more name duplicates, and how a board without controls gets them."""
    rows, repeated = published_settings(ranking)
    read = {name: np.array([row.estimate(f"test/{name}").mean for row in rows]) for name in ("accuracy", "class_bias", *_READ)}
    if min(int(np.isfinite(read[name]).sum()) for name in ("accuracy", *_READ)) < _FEWEST:
        return []
    bias, balance, size = (spearman(read[name], read["accuracy"]) for name in ("class_bias", *_READ[:2]))
    of_bias = f"class bias: {bias.text}; against " if bias.n else ""  # records of some time ago have none
    variations = {
        name: "{:.0f} % (95 %: {:.0f} to {:.0f} %)".format(*(100 * value for value in variation(read[name])))
        for name in ("loma_column_mean", "rsd_column_mean")
    }
    return [
        f"Test accuracy against {of_bias}LoMa balance (smaller is more balanced): {balance.text}; against LoMa size: {size.text}. An association between strategies, not a cause.",
        f"Over strategies (std / mean), LoMa varies by {variations['loma_column_mean']}, RSD by {variations['rsd_column_mean']}; column reading, which cannot see the bias.",
        *duplicates_note(repeated),
        *_missing_controls(ranking),
    ]


def _missing_controls(ranking: BoardRows) -> list[str]:
    """A sentence with the command for the controls of a board of heads that has none; a metric that controls share with methods is not what makes methods good."""
    if ranking.board.mode != "head" or any(row.control for row in ranking.rows):
        return []
    command = f"lt-bench run --strategy {','.join(CONTROLS)} --cache {ranking.rows[0].text('cache_name')}"
    return [f"No controls on this board: `{command}` adds the heads beside which LoMa, RSD and class bias are to be read."]


def duplicates_note(repeated: Mapping[str, str]) -> list[str]:
    """A sentence that names duplicates (`distinct`), none where there are none."""
    if not repeated:
        return []
    count = "1 row is a duplicate" if len(repeated) == 1 else f"{len(repeated)} rows are duplicates"
    named = ", ".join(f"{label} of {other}" for label, other in repeated.items())
    return [f"{count} and counted once in what is said of strategies, since every test figure is the same: {named}."]


_READ = ("loma_column_balance", "loma_column_mean", "rsd_column_mean")
