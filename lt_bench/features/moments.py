"""Mean and spread of every dimension of features, by chunks of rows, so that no second copy of them is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Values of a chunk."""
SAMPLE = 1024
CONSTANT = 8 * torch.finfo(torch.float32).eps
"""A dimension whose spread is below this share of its largest value holds nothing but rounding."""


@dataclass(frozen=True)
class Moments:
    """Mean and spread of each dimension.

    Attributes:
        mean: (D,) float64.
        deviation: (D,) float64, the standard deviation over all rows (divided by N).
        constant: (D,) bool, dimensions that do not vary beyond rounding.
    """

    mean: Tensor
    deviation: Tensor
    constant: Tensor

    @property
    def divisor(self) -> Tensor:
        """(D,) float64: the spread, and 1 where a dimension is constant."""
        return torch.where(self.constant, 1.0, self.deviation)

    def standardised(self, features: Tensor) -> Tensor:
        """Features (n, D) with mean 0 and spread 1 in each dimension, float32; constant dimensions become 0 up to rounding."""
        return ((features.double() - self.mean) / self.divisor).float()


def moments(features: Tensor) -> Moments:
    """Moments of the rows of features (N, D), N at least 1, all finite."""
    shift = features[0].double()
    total, squares, largest = torch.zeros_like(shift), torch.zeros_like(shift), torch.zeros_like(shift)
    for _, rows in chunks(features):
        rest = rows.double() - shift  # sums of small numbers: a common offset costs no digits
        total += rest.sum(0)
        squares += rest.square_().sum(0)
        largest = torch.maximum(largest, rows.abs().amax(0).double())
    mean = total / len(features)
    deviation = (squares / len(features) - mean.square()).clamp_min_(0).sqrt_()
    return Moments(mean + shift, deviation, deviation <= CONSTANT * largest)


def width(features: Tensor) -> Tensor:
    """The usual width of the values of each dimension, (D,) float64: ``typical`` of their distances from the median.

    Other than a standard deviation it is not stretched by a few far rows, which would hide that all others are rounded away. The median is that of at most ``SAMPLE`` rows.
    """
    at = torch.linspace(0, len(features) - 1, min(SAMPLE, len(features))).long()
    centre = features[at].float().median(0).values
    return typical(((rows - centre) for _, rows in chunks(features)), len(features))


def typical(parts: Iterable[Tensor], count: int) -> Tensor:
    """Usual size of numbers per column, (D,) float64: the square of the mean of ``sqrt(|x|)``.

    Args:
        parts: runs of rows (n, D).
        count: rows of all runs.
    """
    return sum((rows.abs().sqrt_().double().sum(0) for rows in parts), torch.zeros((), dtype=torch.float64)).div(count).square()


def chunks(features: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Runs of rows of features (N, D), and where they are."""
    step = max(1, CHUNK // features.shape[1])
    for start in range(0, len(features), step):
        run = slice(start, min(start + step, len(features)))
        yield run, features[run]
