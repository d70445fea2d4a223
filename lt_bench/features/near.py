"""Feature rows of test and validation that are all but equal to a training row: one image from two files, in two sizes or in two batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_bench.features.moments import chunks

MOST = 500_000_000
"""Distances that are measured; where there are more, rows of the split are taken at even distances: all of CIFAR, 4,300 of ImageNet-LT."""
RATIO, NEIGHBOUR = 0.01, 50
"""Two rows are all but equal if their squared distance is below RATIO times that to a usual neighbour: the NEIGHBOUR-th nearest, or that at half the size of the nearest row's class."""
CHANCE = 1e-5
"""Largest chance that one of the ``NEIGHBOUR`` nearest of independent rows is so near."""
DIRECTIONS = 64
"""Random directions that features are projected to; a squared distance is then right to 18 %."""
RESOLVED = 1e-5
"""Squared distances below this share of a row's squared length are lost in float32."""
_CHUNK = 1 << 24  # distances at a time


def near_rows(held: Tensor, rows: Tensor, train: Tensor, labels: Tensor, mean: Tensor) -> tuple[int, list[tuple[int, int]]]:
    """The rows of ``held`` (M, D) that are all but equal to a row of ``train`` (N, D); time and memory are bounded, but for reading the rows.

    Args:
        held: features of any floating-point type, all finite.
        rows: positions in ``held`` to look at.
        train: training features.
        labels: (N,) their classes. A class of few rows may lie apart from all others, so usual neighbours are of the class.
        mean: (D,) of the training features.

    Returns:
        How many rows were compared, and the positions of each near one and of its training row; equal rows are not among them.
    """
    rows = rows[torch.linspace(0, len(rows) - 1, min(max(1, MOST // len(train)), len(rows))).long()]
    k = min(NEIGHBOUR, len(train) // 2)
    if k < 4 or not len(rows):  # of so few training rows no neighbour is usual
        return 0, []
    of_train, of_held = (_small(part, mean) for part in (train, held[rows]))
    table = torch.cat(
        [2 * of_train, -of_train.square().sum(1, keepdim=True)], dim=1
    ).T.contiguous()  # one product gives what distances need
    length, of_held = of_held.square().sum(1), torch.cat([of_held, torch.ones(len(of_held), 1)], dim=1)
    some = torch.linspace(0, len(rows) - 1, min(256, len(rows))).long()
    ratio = _ratio((length[some, None] - of_held[some] @ table).topk(k, largest=False).values)
    sizes, near = torch.bincount(labels)[labels], []
    for run in torch.arange(len(rows)).split(max(1, _CHUNK // len(train))):
        alike = of_held[run] @ table
        best, nearest = alike.max(1)
        usual = length[run] - torch.minimum(*(alike[:, start::k].amax(1) for start in (0, k // 2)))  # of every 50th row, the nearest
        for i in (length[run] - best < 10 * ratio * usual).nonzero().squeeze(1).tolist():
            row, j = int(rows[run[i]]), int(nearest[i])
            rank = max(2, min(k, int(sizes[j]) // 2))
            usual_there = float(length[run[i]] - alike[i].topk(rank).values[-1])
            apart = float((held[row].float() - train[j].float()).square().sum())
            if 0 < apart < ratio * usual_there and usual_there > RESOLVED * float(length[run[i]]):
                near.append((row, j))
    return len(rows), near


def _small(features: Tensor, mean: Tensor) -> Tensor:
    """Features (N, D) about their mean in at most ``DIRECTIONS`` directions, float32, with about the distances that they had."""
    D = features.shape[1]
    basis = torch.eye(D)
    if D > DIRECTIONS:
        basis = torch.randn(D, DIRECTIONS, generator=torch.Generator().manual_seed(0)) / DIRECTIONS**0.5
    return torch.cat([(part.float() - mean.float()) @ basis for _, part in chunks(features)])


def _ratio(distances: Tensor) -> float:
    """``RATIO``, or less where the features have so few dimensions that neighbours come near by chance, by the growth of squared distances (n, k) with the rank."""
    k = distances.shape[1]
    growth = float((distances[:, -1] / distances[:, k // 2 - 1].clamp_min(1e-30)).median())
    dimensions = 2 * math.log(k / (k // 2)) / math.log(max(growth, 1 + 1e-6))
    return min(RATIO, (CHANCE / k) ** (2 / dimensions))
