"""Mean and spread of every dimension of features, by chunks of rows, so that no second copy of them is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

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

    def of_head(self, weight: Tensor, bias: Tensor | float) -> tuple[Tensor, Tensor]:
        """A head (K, D) and (K,) of raw features as one of standardised features, float32, with the logits that it had."""
        weight = weight.double()
        return (weight * self.divisor).float(), (bias + weight @ self.mean).float()


@dataclass(frozen=True)
class Partial:
    """Moments of some of the rows, as sums that add up.

    Attributes:
        count: () float64, how many rows.
        mean: (D,) float64.
        squares: (D,) float64, sum of the squared distances from the mean.
        largest: (D,) float64, largest absolute value.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    largest: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Partial:
        """The moments of rows (n, D), n at least 1."""
        shift, n = rows[0].double(), len(rows)
        rest = rows.double() - shift  # sums of small numbers: a common offset costs no digits
        mean = rest.mean(0)
        squares = (rest.square_().sum(0) - n * mean.square()).clamp_min_(0)
        return cls(torch.tensor(n, dtype=torch.float64), mean + shift, squares, rows.abs().amax(0).double())

    def __add__(self, other: Partial) -> Partial:
        """Moments of both, by Chan, Golub and LeVeque (1983)."""
        count, apart = self.count + other.count, other.mean - self.mean
        return Partial(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart.square() * (self.count * other.count / count),
            torch.maximum(self.largest, other.largest),
        )

    def moments(self) -> Moments:
        """Mean and spread of the rows."""
        deviation = (self.squares / self.count).sqrt()
        return Moments(self.mean, deviation, deviation <= CONSTANT * self.largest)


def moments(features: Tensor) -> Moments:
    """Moments of the rows of features (N, D), N at least 1, all finite."""
    return reduce(add, (Partial.of(rows) for _, rows in chunks(features))).moments()


def width(features: Tensor) -> Tensor:
    """The usual width of the values of each dimension, (D,) float64: ``typical`` of their distances from the median.

    Unlike a standard deviation, a few far rows do not stretch it, which would hide that all other rows are rounded away. The median is that of at most ``SAMPLE`` rows.
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
    return sum((roots(rows) for rows in parts), torch.zeros((), dtype=torch.float64)).div(count).square()


def roots(rows: Tensor) -> Tensor:
    """Sum of ``sqrt(|x|)`` over the rows of (n, D), per column, float64."""
    return rows.abs().sqrt_().double().sum(0)


def chunks(features: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Runs of rows of features (N, D), and where they are."""
    step = max(1, CHUNK // features.shape[1])
    for start in range(0, len(features), step):
        run = slice(start, min(start + step, len(features)))
        yield run, features[run]
