"""Feature collapse: how narrow classes are beside the distances between their means."""

from __future__ import annotations

import torch

from lt_bench.features.cache import FeatureSplit
from lt_bench.features.moments import chunks


@torch.no_grad()
def scatter_ratio(features: FeatureSplit, num_classes: int) -> float:
    """Within- over between-class scatter of the plain view of a split; 0 is full collapse (Papyan et al., PNAS 2020, NC1, as a ratio of traces).

    Every class counts the same. Within: the variance around the class mean, summed over dimensions, unbiased. Between: the variance of the class means, less what
    comes of their few images. So training and test sets of different sizes compare. Classes with one image are left out; NaN with fewer than two others, and where the
    class means lie no farther apart than chance makes them, so that there is no between-class scatter to divide by.
    """
    rows, labels = features.view("plain"), features.labels
    counts = torch.bincount(labels, minlength=num_classes).double()
    sums, squares = counts.new_zeros(num_classes, rows.shape[1]), counts.new_zeros(num_classes)
    for part, values in chunks(rows):
        values = values.to(labels.device).double()
        sums.index_add_(0, labels[part], values)
        squares.index_add_(0, labels[part], values.square().sum(1))
    several = counts > 1
    if int(several.sum()) < 2:
        return float("nan")
    counts, sums, squares = counts[several], sums[several], squares[several]
    means = sums / counts.unsqueeze(1)
    within = (squares - counts * means.square().sum(1)) / (counts - 1)
    between = means.var(0).sum() - (within / counts).mean()
    return float(within.mean() / between) if between > 0 else float("nan")
