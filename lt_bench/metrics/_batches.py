"""Steps that every metric takes on a batch: check its shapes, walk it in chunks of rows, sum by class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lt_bench.core.errors import UserError

# Elements of a chunk: 2 MB of float64 stays in a core's cache (measured 5 to 10 times faster than 8 MB); a GPU wants fewer kernels.
_CHUNK_ELEMENTS = {"cpu": 2**18}
_CHUNK_ELEMENTS_ON_DEVICE = 2**24


def check_num_classes(num_classes: int) -> int:
    """Return `num_classes`; raise UserError where there are not at least two."""
    if num_classes < 2:
        raise UserError(f"a classifier is measured on at least 2 classes, got num_classes={num_classes}")
    return num_classes


def check_logits(logits: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise UserError unless logits are floating (B, K) and labels (B,). Label values are the data's to check: looking would stall a GPU."""
    if logits.ndim != 2 or logits.shape[1] != num_classes or not logits.is_floating_point():
        raise UserError(
            f"logits must be floating-point of shape (batch, {num_classes}), got {logits.dtype} of shape {tuple(logits.shape)}: "
            "check what the inference head returns"
        )
    check_pair(logits, labels, "logits")


def check_pair(values: Tensor, labels: Tensor, name: str) -> None:
    """Raise UserError unless labels are (B,) for values (B, ...)."""
    if labels.ndim != 1 or labels.shape[0] != values.shape[0]:
        raise UserError(f"{name} of shape {tuple(values.shape)} need labels of shape ({values.shape[0]},), got {tuple(labels.shape)}")


def row_chunks(matrix: Tensor) -> Iterator[slice]:
    """Slices of rows of a (B, C) matrix, so that a float64 copy of a slice stays small; none for B = 0."""
    elements = _CHUNK_ELEMENTS.get(matrix.device.type, _CHUNK_ELEMENTS_ON_DEVICE)
    rows = max(1, elements // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], rows):
        yield slice(start, start + rows)


def in_float64(values: Tensor) -> Tensor:
    """A copy to work on in place. Arithmetic of two precisions is four times slower than converting first."""
    return values.to(torch.float64, copy=True)


def class_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Samples of each class, long (K,). `bincount` would wait for a GPU to learn the size of its output."""
    return labels.new_zeros(num_classes, dtype=torch.long).scatter_add_(0, labels.long(), torch.ones_like(labels, dtype=torch.long))


def class_sums(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Sum of `values` (B,) over the samples of each class, (K,), in the dtype of `values`."""
    return values.new_zeros(num_classes).scatter_add_(0, labels.long(), values)
