"""Mean and spread of the logit of a class on the samples of other classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.remembered import content, remembered

CHUNK_NUMBERS = 1 << 22
FLOOR = 1e-3
"""Least spread of a class as a fraction of the mean spread, so that a constant logit is not divided by 0."""


def logits_on_others(
    weight: Tensor, bias: Tensor, train: FeatureSource, of: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 0) of ``w_c h + b_c`` over the plain view of the training samples that are not of class c: (K,) each, float64.

    Args:
        weight: (K, D).
        bias: (K,).
        train: the training features.
        of: maps features (..., D) to the float64 inputs of the weight; None for the features themselves. Only results without ``of`` are remembered.
    """
    if of is not None:
        return _logits_on_others(weight.double(), bias.double(), train, of)
    key = ("logits_on_others", content(weight, bias))
    return remembered(train, key, lambda: _logits_on_others(weight.double(), bias.double(), train, torch.Tensor.double))


def _logits_on_others(weight: Tensor, bias: Tensor, train: FeatureSource, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    view = train.view("plain")
    K, rows_at_once = weight.shape[0], max(1, CHUNK_NUMBERS // max(weight.shape))
    shift = weight @ of(view.to(torch.float32).mean(0)) + bias  # sums of squares about the mean, or near it, keep their digits
    sums, squares = torch.zeros(2, K, dtype=torch.float64, device=view.device)
    for rows, labels in zip(view.split(rows_at_once), train.labels.split(rows_at_once), strict=True):
        logits = of(rows) @ weight.T + bias - shift
        logits.scatter_(1, labels.unsqueeze(1), 0.0)
        sums += logits.sum(0)
        squares += logits.square().sum(0)
    others = (len(train) - torch.bincount(train.labels, minlength=K)).clamp_min(1)
    mean = sums / others
    deviation = (squares / others - mean.square()).clamp_min(0).sqrt()
    return mean + shift, deviation.clamp_min((FLOOR * deviation.mean()).clamp_min(torch.finfo(torch.float32).tiny))
