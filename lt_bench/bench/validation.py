"""Validation images that decide: all of them, or as few and as long-tailed as a user has, drawn several times. NumPy only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.names import span
from lt_bench.leaderboard.intervals import ERROR_IS
from lt_bench.leaderboard.objective.objective import Objective

Profile = Literal["balanced", "long-tailed"]


@dataclass(frozen=True)
class Validation:
    """The validation images that decide.

    Attributes:
        size: number of images; None for all.
        profile: class shares of the ``size`` images: equal (the default), or in proportion to training images; among classes with validation images.
        draws: number of draws. The first decides; the others give the standard error of its choice.
            The first draw is without replacement. The others are with replacement within classes, as fresh images would differ from the first: without replacement, draws from a pool that
            is little larger than ``size`` contain nearly the same images.
    """

    size: int | None = None
    profile: Profile | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        if self.size is not None and self.profile is None:
            object.__setattr__(self, "profile", "balanced")

    def check(self) -> None:
        """Refuse impossible values.

        Raises:
            UserError: a size or number of draws below 1, an unknown profile, or a profile without a size.
        """
        if self.profile not in (None, *get_args(Profile)):
            raise UserError(f"--val-profile {self.profile}: expected balanced or long-tailed")
        if self.draws < 1 or (self.size is not None and self.size < 1):
            raise UserError("--val-size and --draws are whole numbers from 1")
        if self.size is None and self.profile is not None:
            raise UserError(
                f"--val-profile {self.profile} is of the images that --val-size draws; name their number, or leave it out for all"
            )

    def deciding(self, labels: NDArray[np.integer], train_counts: Sequence[int]) -> NDArray[np.intp]:
        """The rows (n,) of the first draw, which decides. Raises as ``rows``."""
        return replace(self, draws=1).rows(labels, train_counts)[0]

    def rows(self, labels: NDArray[np.integer], train_counts: Sequence[int]) -> list[NDArray[np.intp]]:
        """The rows (n,) of each draw, from validation labels (N,).

        Raises:
            UserError: as ``check``; or a class has too few images for the size and profile.
        """
        self.check()
        members = [np.flatnonzero(labels == k) for k in range(len(train_counts))]
        available = np.array([len(rows) for rows in members])
        generators = [np.random.default_rng([19, draw]) for draw in range(self.draws)]
        parts = available.astype(np.float64) if self.size is None else self._parts(available, train_counts)
        draws = []
        for number, rng in enumerate(generators):
            taken = zip(members, _whole_numbers(parts, rng).tolist(), strict=True)
            draws.append(np.sort(np.concatenate([rng.choice(rows, n, replace=number > 0) for rows, n in taken if n])))
        return draws

    def _parts(self, available: NDArray[np.integer], train_counts: Sequence[int]) -> NDArray[np.float64]:
        """(K,) numbers of images that add up to the size, in proportion to the profile's shares of the classes that have images (K,).

        Raises:
            UserError: a class has too few images; the message names the largest size for the profile.
        """
        assert self.size is not None
        wanted = np.ones(len(available)) if self.profile == "balanced" else np.array(train_counts, np.float64)
        shares = np.where(available > 0, wanted, 0.0) / wanted[available > 0].sum()
        sizes = np.divide(available, shares, out=np.full(len(shares), np.inf), where=shares > 0)  # at which each class gives all it has
        if self.size > (largest := int(sizes.min() + 1e-9)):
            raise UserError(
                f"--val-size {self.size}: there are {available.sum():,} validation images, and a {self.profile} set of them has at most {largest:,}, "
                f"where class {sizes.argmin()} gives all of its {available[sizes.argmin()]}; take --val-size {largest}"
            )
        return self.size * shares


def _whole_numbers(parts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Round numbers (K,) to whole ones of the same sum by largest remainders, ties at random."""
    whole = np.floor(parts + 1e-9).astype(np.intp)
    order = np.lexsort((rng.random(len(parts)), -np.round(parts - whole, 9)))
    whole[order[: round(parts.sum()) - whole.sum()]] += 1
    return whole


def choices_of_draws(scores: NDArray[np.float64], objective: Objective, allowed: Sequence[bool]) -> list[int]:
    """The best allowed point of each draw, from scores (points, draws); of equal ones the first."""
    signed = np.round(scores, 9) * (-1 if objective.lower else 1)
    return [int(position) for position in np.where(np.array(allowed)[:, None], signed, -np.inf).argmax(0)]


def tied_draws(scores: NDArray[np.float64], choices: Sequence[int], allowed: Sequence[bool]) -> int:
    """Number of draws in which the first draw's choice is chosen only as the first of tied points in the grid, from scores (points, draws)."""
    equal = (np.round(scores, 9) == np.round(scores[choices[0]], 9)) & np.array(allowed)[:, None]
    return int(((np.array(choices) == choices[0]) & (equal.sum(0) > 1)).sum())


def standard_error(grid: Sequence[Mapping[str, Any]], choices: Sequence[int]) -> float:
    """Standard deviation over draws of what the chosen points score on all validation images."""
    return statistics.stdev(grid[position]["whole"] for position in choices) if len(choices) > 1 else 0.0


def validation_text(document: Mapping[str, Any]) -> str:
    """The images that chose, in words for tables: `400 long-tailed validation images, 1 to 18 a class, none of apple and 20 more`, `all 1,972 validation images, 12 to 20 a class`."""
    said = document.get("validation", {})
    which = [f"{said['images']:,}", said["profile"]] if said.get("size") else ["all", *([f"{said['images']:,}"] if said else [])]
    return f"{' '.join(which)} validation images{of_classes(said.get('class_images', ()), document.get('classes_without_validation', ()))}"


def of_classes(counts: Sequence[int], without: Sequence[str]) -> str:
    """`, 1 to 18 a class, none of apple and 20 more`, of the images of each class where they are known, and the names of classes that have none."""
    some = [count for count in counts if count]
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    return (f", {span(min(some), max(some))} a class" if some else "") + (f", none of {without[0]}{more}" if without else "")


def error_text(error: float | None, *, percent: bool) -> str:
    """The standard error of a choice, with what it is; nothing where validation was not drawn more than once."""
    if error is None:
        return ""
    return f"; standard error of the choice {f'{100 * error:.2f} points' if percent else f'{error:.3g}'} ({ERROR_IS})"
