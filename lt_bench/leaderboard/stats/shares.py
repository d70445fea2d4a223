"""Intervals over test images: of a class, of a group of classes, of an objective, and of differences to the best row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.leaderboard.stats.design import Design
from lt_bench.metrics.groups import ShotGroups

GROUPS = ("many", "medium", "few")
_TAIL = 0.025
DRAWN = 2
"""Images by which the accuracy of a class is drawn toward the mean for its variance: with few images it often is 0 or 1, and then shows none."""
Ends = list[tuple[float, float]]


def exact_interval(share: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the exact 95 % binomial interval (Clopper and Pearson 1934) of shares of n images; NaN where n is 0.

    A share that is a mean over seeds counts as one run of n images: averaging makes it surer, so the interval is too wide rather than too narrow. n may be a fraction
    (an effective number of images).
    """
    share, n = np.broadcast_arrays(np.asarray(share, np.float64), np.asarray(n, np.float64))
    right = share * n
    with np.errstate(invalid="ignore"):
        low = np.where(right > 0, betaincinv(np.maximum(right, 1e-9), n - right + 1, _TAIL), 0.0)
        high = np.where(right < n, betaincinv(right + 1, np.maximum(n - right, 1e-9), 1 - _TAIL), 1.0)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def weighted_interval(
    shares: NDArray[np.float64], counts: NDArray[np.integer], weights: NDArray[np.float64], effect: ArrayLike = 1.0
) -> Ends:
    """95 % interval of a weighted mean of shares, each of its own images: an exact binomial interval with an effective number of images (Korn and Graubard 1998).

    That number is ``p (1 - p) / variance`` with the variance within classes ``sum_k w_k^2 q_k (1 - q_k) / n_k``, q the share drawn toward the mean by two images. Of a single class, or
    of all images as one, it is their number.

    Args:
        shares: (R, H) of each row.
        counts: (H,) images behind each share, all above 0.
        weights: (H,) adding up to 1.
        effect: (R,) of a design of groups, which divides that number.
    """
    share = np.clip(shares @ weights, 0.0, 1.0)
    drawn = (shares * counts + DRAWN * share[:, None]) / (counts + DRAWN)
    variance = (drawn * (1 - drawn)) @ (weights**2 / counts)
    most = 1 / np.sum(weights**2 / counts)
    effective = np.divide(share * (1 - share), variance, out=np.full(len(share), most), where=variance > 0)
    low, high = exact_interval(share, effective / effect)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def group_intervals(
    accuracy: NDArray[np.float64], counts: NDArray[np.integer], groups: ShotGroups, effects: Mapping[str, ArrayLike] | None = None
) -> dict[str, Ends]:
    """For many, medium and few: the interval of each row's mean accuracy over the classes of the group that have test images; groups without any are left out.

    Args:
        accuracy: (R, K) of each class, mean over a row's seeds.
        counts: (K,) test images.
        groups: of the classes.
        effects: of a design of groups on each (R,), see ``Clustered.effect``.
    """
    members = {name: getattr(groups, name) & (counts > 0) for name in GROUPS}
    return {
        name: _of_classes(accuracy, counts, MACRO.class_weights(counts * of), (effects or {}).get(name, 1.0))
        for name, of in members.items()
        if of.any()
    }


def objective_intervals(
    worth: NDArray[np.float64], accuracy: NDArray[np.float64], counts: NDArray[np.integer], objective: Objective, design: Design
) -> Ends:
    """The interval of each row's objective: as that of a group for accuracies (of micro accuracy all images count as one class), Student's t for costs.

    Args:
        worth: (R, N) what each image is worth, mean over a row's seeds.
        accuracy: (R, K).
        counts: (K,) test images.
        objective: that ranks the rows.
        design: of the test images.
    """
    if objective.lower:
        least, most = objective.ends
        middle = (least + most) / 2
        around = student_intervals(worth - middle, design, objective.span / 2)
        return [(max(middle + low, least), min(middle + high, most)) for low, high in around]
    return accuracy_intervals(accuracy, counts, objective, design.effect(worth))


def accuracy_intervals(accuracy: NDArray[np.float64], counts: NDArray[np.integer], objective: Objective, effect: ArrayLike) -> Ends:
    """The interval of each row's accuracy that an objective is, from those of the classes (R, K), their test images (K,) and the effect (R,) of a design of groups."""
    if objective.within_classes:
        return _of_classes(accuracy, counts, objective.class_weights(counts), effect)
    within = counts > 0
    share = accuracy[:, within] @ (counts[within] / counts.sum())
    return weighted_interval(share[:, None], counts.sum(keepdims=True), np.ones(1), effect)


def over_classes(accuracy: NDArray[np.float64], weights: NDArray[np.float64]) -> list[tuple[float, float] | None]:
    """95 % t interval of each row's weighted mean of class accuracies (R, K), classes as the sample: what other classes would give. None of fewer than two classes.

    Its variance is ``C / (C - 1) sum_k w_k^2 (a_k - mean)^2`` over the C classes with weight (K,); of equal weights that of a mean.
    """
    within = weights > 0
    C, w = int(within.sum()), weights[within] / weights.sum()
    if C < 2:
        return [None] * len(accuracy)
    mean = accuracy[:, within] @ w
    half = stdtrit(C - 1, 1 - _TAIL) * np.sqrt(C / (C - 1) * ((accuracy[:, within] - mean[:, None]) ** 2) @ w**2)
    return list(zip((mean - half).tolist(), (mean + half).tolist(), strict=True))


def student_intervals(worth: NDArray[np.float64], design: Design, reach: float = 1.0) -> Ends:
    """95 % Student t interval of each row's weighted mean (R,) of what images are worth (R, N), or of paired differences of it, over images in the strata of a design.

    Args:
        worth: (R, N), from -reach to reach.
        design: of the images.
        reach: the most that an image can win, or lose.
    """
    variance, degrees = drawn_variance(worth, design, reach)
    mean, half = worth @ design.weights, stdtrit(degrees, 1 - _TAIL) * np.sqrt(variance)
    return list(zip((mean - half).tolist(), (mean + half).tolist(), strict=True))


def drawn_variance(worth: NDArray[np.float64], design: Design, reach: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance (R,) of each row's weighted mean of what images are worth (R, N), and its degrees of freedom (Satterthwaite).

    The few images of a stratum often all agree, and then show no variance. So the variance of each stratum is shrunk toward that of all images, with the weight of two images, and to all
    images one that wins and one that loses are added, as in Bonett and Price (2012) for paired shares: the variance is never 0. In a design of groups, each group counts as one image.
    """
    strata, sizes = design.columns
    shares, values = design.units(worth)
    apart = np.concatenate([design.deviations(lambda part: worth[:, part])(part) for part in design.parts], axis=1)
    own = np.stack([np.bincount(strata, line**2, len(sizes)) for line in apart])
    each = np.bincount(strata, shares**2, len(sizes))
    effective = 1 / each.sum()
    whole = overall_variance(values @ shares, values**2 @ shares, effective, reach)
    parts = ((sizes - 1) * own + DRAWN * whole[:, None] * each) / (sizes - 1 + DRAWN)
    variance = parts.sum(1)
    return variance, variance**2 / (parts**2 / (sizes - 1 + DRAWN)).sum(1)


def overall_variance(mean: NDArray[np.float64], square: NDArray[np.float64], effective: float, reach: float) -> NDArray[np.float64]:
    """Variance of the worth of an image over all images and two added ones, worth `reach` and `-reach`, from the means of the worth and of its square."""
    return (effective * square + DRAWN * reach**2 - (effective * mean) ** 2 / (effective + DRAWN)) / (effective + DRAWN)


def paired_intervals(
    differences: NDArray[np.float64], labels: NDArray[np.integer], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends (K,) of the 95 % interval of the mean paired difference on each class (Bonett and Price 2012), which adds one image that the first row wins and one that it loses.

    Args:
        differences: (N,) of each image, in -1 to 1.
        labels: (N,).
        num_classes: K; a class without images has the whole range.
    """
    n, total, squares = (np.bincount(labels, of, num_classes) for of in (None, differences, differences**2))
    mean = total / (n + 2)
    half = ndtri(1 - _TAIL) * np.sqrt(((squares + 2) / (n + 2) - mean**2) / (n + 2))
    none = n == 0
    return np.where(none, -1.0, np.maximum(mean - half, -1)), np.where(none, 1.0, np.minimum(mean + half, 1))


def _of_classes(accuracy: NDArray[np.float64], counts: NDArray[np.integer], weights: NDArray[np.float64], effect: ArrayLike) -> Ends:
    within = weights > 0
    return weighted_interval(accuracy[:, within], counts[within], weights[within], effect)
