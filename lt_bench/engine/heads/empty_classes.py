"""Classes without training rows: a fit does not see them, and its head never predicts them.

A strategy is given the classes that have training rows, renumbered without gaps, so that no mean, range, softmax, smoothed target or random row depends on how
many others a data set declares. The head for all classes then has a logit of minus infinity for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import AllClasses, ConfidenceHead, LinearAndCosine, NormalisedLinear
from lt_bench.features.cache import Head
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.contract import Facts


def present(train_counts: Sequence[int]) -> Tensor | None:
    """Numbers (K',) of the classes that have training rows; None where all have."""
    return None if all(train_counts) else torch.tensor(train_counts).nonzero().squeeze(1)


class Renumbered:
    """Training features whose labels count only the classes with training rows.

    Args:
        source: the features, with labels among all K classes.
        numbers: of the classes with rows (K',), ascending.
        num_classes: K.
    """

    def __init__(self, source: FeatureSource, numbers: Tensor, num_classes: int) -> None:
        self._source = source
        new = torch.full((num_classes,), -1)
        new[numbers] = torch.arange(len(numbers))
        self.labels = new.to(source.labels.device)[source.labels]

    def __len__(self) -> int:
        return len(self._source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def without_empty_classes(facts: Facts, train: FeatureSource) -> tuple[Facts, FeatureSource]:
    """Facts and features of the classes that have training rows; both as they are where all have."""
    numbers = present(facts.class_counts)
    if numbers is None:
        return facts, train
    head = facts.head
    if head is not None and len(head.weight) == facts.num_classes:  # another size is refused where the head is asked for
        rows = numbers.to(head.weight.device)
        head = Head(head.weight[rows], head.bias[rows])
    counts = tuple(count for count in facts.class_counts if count)
    source: Any = Renumbered(train, numbers, facts.num_classes)
    return replace(facts, class_counts=counts, head=head), source


def over_all_classes(head: nn.Module, train_counts: Sequence[int]) -> nn.Module:
    """A head of the classes with training rows as one of all K classes, minus infinity for the others; as it is where all have rows."""
    numbers, K = present(train_counts), len(train_counts)
    if numbers is None:
        return head
    if isinstance(head, nn.Linear):
        return linear_head(rows_of_all(head.weight, numbers, K), _bias(head.bias, head.weight, numbers, K))
    if isinstance(head, NormalisedLinear):
        bias = _bias(head.bias, head.weight, numbers, K)
        return NormalisedLinear(rows_of_all(head.weight, numbers, K), bias, head.scale, head.shift, head.squash, head.power)
    if isinstance(head, ConfidenceHead):
        weight, bias = rows_of_all(head.weight, numbers, K), _bias(head.bias, head.weight, numbers, K)
        scale, shift = (rows_of_all(part, numbers, K) for part in (head.scale, head.shift))
        return ConfidenceHead(weight, bias, scale, shift, head.gate_weight, head.gate_bias)
    if isinstance(head, LinearAndCosine):
        weight, bias = rows_of_all(head.weight, numbers, K), _bias(head.bias, head.weight, numbers, K)
        return LinearAndCosine(weight, bias, rows_of_all(head.prototypes, numbers, K), head.centre, head.power)
    return AllClasses(head, numbers, K)


def rows_of_all(values: Tensor, numbers: Tensor, num_classes: int, fill: float = 0.0) -> Tensor:
    """Values (K', ...) of some classes at their places among all (K, ...), ``fill`` elsewhere."""
    placed = values.new_full((num_classes, *values.shape[1:]), fill)
    placed[numbers.to(values.device)] = values.detach()
    return placed


def _bias(bias: Tensor | None, like: Tensor, numbers: Tensor, num_classes: int) -> Tensor:
    return rows_of_all(like.new_zeros(len(like)) if bias is None else bias, numbers, num_classes, -torch.inf)
