"""Mean and spread of the logit of a class on the samples of other classes."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.remembered import content, remembered

CHUNK_NUMBERS = 1 << 22
FLOOR = 1e-3
"""Least spread of a class as a fraction of the mean spread, so that a constant logit is not divided by 0."""


def logits_on_others(weight: Tensor, bias: Tensor, train: FeatureSource) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 0) of ``w_c h + b_c`` over the plain view of the training samples that are not of class c: (K,) each, float64.

    Args:
        weight: (K, D).
        bias: (K,).
        train: the training features.
    """
    return remembered(train, ("logits_on_others", content(weight, bias)), lambda: _logits_on_others(weight.double(), bias.double(), train))


def _logits_on_others(weight: Tensor, bias: Tensor, train: FeatureSource) -> tuple[Tensor, Tensor]:
    view = train.view("plain")
    K, rows_at_once = weight.shape[0], max(1, CHUNK_NUMBERS // max(weight.shape))
    shift = weight @ view.to(torch.float32).mean(0).double() + bias  # sums of squares about the mean keep their digits
    sums, squares = torch.zeros(2, K, dtype=torch.float64, device=view.device)
    for rows, labels in zip(view.split(rows_at_once), train.labels.split(rows_at_once), strict=True):
        logits = rows.double() @ weight.T + bias - shift
        logits.scatter_(1, labels.unsqueeze(1), 0.0)
        sums += logits.sum(0)
        squares += logits.square().sum(0)
    others = (len(train) - torch.bincount(train.labels, minlength=K)).clamp_min(1)
    mean = sums / others
    deviation = (squares / others - mean.square()).clamp_min(0).sqrt()
    return mean + shift, deviation.clamp_min((FLOOR * deviation.mean()).clamp_min(torch.finfo(torch.float32).tiny))
