"""Inputs of a strategy: facts of the training data, and batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lt_bench.features.cache import Head


@dataclass(frozen=True)
class Facts:
    """Facts of the training data that a strategy may know before it is fitted.

    Attributes:
        dim: feature dimension D.
        class_counts: training samples per class (K,).
        head: the stage-1 classifier, None where there is none.
        init_seed: seed of random parameters; a tuple with one seed a head makes a stack.
    """

    dim: int
    class_counts: tuple[int, ...]
    head: Head | None = None
    init_seed: int | tuple[int, ...] = 0

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_counts)

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(self.class_counts)


class Batch(NamedTuple):
    """Samples of a step. In a stack of H heads features may have a leading 1, S or H (S divides H), labels and rows a leading H.

    Attributes:
        features: (B, D).
        labels: (B,), int64.
        rows: (B,), int64: the number of each sample in the training set, 0 to N - 1.
        other: (B,), second labels of samples that ``augment`` mixed from two; None where samples are not mixed.
        share: (B,), weights of the first labels of mixed samples; None without ``other``.
    """

    features: Tensor
    labels: Tensor
    rows: Tensor
    other: Tensor | None = None
    share: Tensor | None = None
