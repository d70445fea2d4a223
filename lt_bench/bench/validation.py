"""Validation images that decide: all of them, or as few and as long-tailed as a user has, drawn several times. NumPy only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.objective.objective import Objective

Profile = Literal["balanced", "long-tailed"]


@dataclass(frozen=True)
class Validation:
    """The validation images that decide.

    Attributes:
        size: how many; None for all.
        profile: of a size: as many of each class, or in proportion to its training images; a class with fewer images gives all it has, the others more.
        draws: how often they are drawn. The first decides, and how the choices of the others differ is its standard error.
            Images of a size are drawn without replacement; of all images, those of each class are resampled with replacement, and the first draw is as they are.
    """

    size: int | None = None
    profile: Profile = "balanced"
    draws: int = 1

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            UserError: a size or number of draws below 1.
        """
        if self.draws < 1 or (self.size is not None and self.size < 1):
            raise UserError("--val-size and --draws are whole numbers from 1")

    def deciding(self, labels: NDArray[np.integer], train_counts: Sequence[int]) -> NDArray[np.intp]:
        """The rows that decide, those of the first draw. Raises as ``rows``."""
        return replace(self, draws=1).rows(labels, train_counts)[0]

    def rows(self, labels: NDArray[np.integer], train_counts: Sequence[int]) -> list[NDArray[np.intp]]:
        """The rows of each draw, of validation labels (N,).

        Raises:
            UserError: there are fewer images than the size.
        """
        self.check()
        members = [np.flatnonzero(labels == k) for k in range(len(train_counts))]
        everything = np.arange(len(labels))
        generators = [np.random.default_rng([19, draw]) for draw in range(self.draws)]
        if self.size is None:
            again = [np.concatenate([rng.choice(rows, len(rows)) for rows in members if len(rows)]) for rng in generators[1:]]
            return [everything, *again]
        available = np.array([len(rows) for rows in members])
        if self.size > len(labels):
            raise UserError(f"--val-size {self.size}: there are {len(labels):,} validation images")
        parts = _parts(self.size, np.ones(len(members)) if self.profile == "balanced" else np.array(train_counts, np.float64), available)
        taken = [np.minimum(_whole_numbers(parts, rng), available) for rng in generators]
        return [
            np.sort(np.concatenate([rng.choice(rows, n, replace=False) for rows, n in zip(members, wanted, strict=True)]))
            for rng, wanted in zip(generators, taken, strict=True)
        ]


def _parts(size: int, shares: NDArray[np.float64], available: NDArray[np.integer]) -> NDArray[np.float64]:
    """(K,) adding up to ``size``, in proportion to the shares where there are so many; what classes lack is shared among the others."""
    parts, full = np.zeros(len(shares)), available == 0
    while True:
        open_ = ~full & (shares > 0)
        parts[full] = available[full]
        parts[open_] = (size - parts[full].sum()) * shares[open_] / shares[open_].sum() if open_.any() else 0.0
        over = open_ & (parts > available)
        if not over.any():
            return parts
        full |= over


def _whole_numbers(parts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Whole numbers (K,) of the same sum: rounded down, and one more where most is lost, ties at random."""
    whole = np.floor(parts + 1e-9).astype(np.intp)
    order = np.lexsort((rng.random(len(parts)), -np.round(parts - whole, 9)))
    whole[order[: round(parts.sum()) - whole.sum()]] += 1
    return whole


def choices_of_draws(scores: NDArray[np.float64], objective: Objective, allowed: Sequence[bool]) -> list[int]:
    """The best allowed point of each draw, from scores (points, draws); of equal ones the first."""
    signed = np.round(scores, 9) * (-1 if objective.lower else 1)
    return [int(position) for position in np.where(np.array(allowed)[:, None], signed, -np.inf).argmax(0)]


def standard_error(grid: Sequence[Mapping[str, Any]], choices: Sequence[int]) -> float:
    """Standard deviation over draws of what the chosen points score on all validation images."""
    return statistics.stdev(grid[position]["whole"] for position in choices) if len(choices) > 1 else 0.0


def validation_text(document: Mapping[str, Any]) -> str:
    """The images that chose, in words for tables: `400 long-tailed validation images, none of apple and 20 more`, `all 1,972 validation images`."""
    said = document.get("validation", {})
    which = [f"{said['images']:,}", said["profile"]] if said.get("size") else ["all", *([f"{said['images']:,}"] if said else [])]
    text = f"{' '.join(which)} validation images"
    if without := document.get("classes_without_validation"):
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        text += f", none of {without[0]}{more}"
    return text


def error_text(error: float | None, *, percent: bool) -> str:
    """`; standard error of the choice 0.42 points`; nothing where validation was not drawn more than once."""
    if error is None:
        return ""
    return f"; standard error of the choice {100 * error:.2f} points" if percent else f"; standard error of the choice {error:.3g}"
