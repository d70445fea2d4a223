"""An earlier and a new classifier on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_bench.deploy.classifier import Classifier, ImageNetwork, load_classifier
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.joined_images import CachedImages, listed_groups
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective, objective_of
from lt_bench.leaderboard.stats.clustered import design_of
from lt_bench.leaderboard.stats.shares import student_intervals

ROWS = 4096


@dataclass(frozen=True)
class Comparison:
    """The objective of both classifiers on the same test images.

    Attributes:
        images: which they are, in words.
        count: how many.
        unnamed: number of images of classes that the earlier classifier does not know, and so gets wrong.
        earlier, new: the objective of each.
        difference: new minus earlier.
        low, high: 95 % interval of the difference over test images, which are paired; over groups where the cache was split by groups.
    """

    images: str
    count: int
    unnamed: int
    earlier: float
    new: float
    difference: float
    low: float
    high: float

    def line(self, objective: str) -> str:
        """The comparison in one line."""
        factor, unit = (1, "") if objective.startswith("cost") else (100, " %")
        extra = f" ({self.unnamed:,} of classes that the earlier classifier does not know)" if self.unnamed else ""
        return (
            f"{self.images}, {self.count:,}{extra}: {objective} {factor * self.earlier:.2f}{unit} before, {factor * self.new:.2f}{unit} now, "
            f"difference {factor * self.difference:+.2f} [{factor * self.low:.2f}, {factor * self.high:.2f}]"
        )


def compared(
    earlier_export: Path, new_export: Path, cache: FeatureCache, earlier: CachedImages, objective: str | None, trust_program: bool
) -> tuple[Objective, tuple[Comparison, ...]]:
    """Both classifiers on the test images that the earlier cache has, and on all of the new cache.

    Args:
        earlier_export: directory of the earlier classifier; a class that the new one does not know is wrong wherever it is predicted.
        new_export: directory of the new one.
        cache: of the new images.
        earlier: images of the earlier cache.
        objective: as on the command line; None for the default.
        trust_program: whether a head that is a program may run.

    Raises:
        UserError: as ``load_classifier`` and ``objective_of``.
    """
    names, split = cache.manifest.dataset.class_names, cache.split("test", views=["plain"])
    features, standard = split.view("plain").float(), cache.standardisation()
    if standard is not None:
        features = (features.double() * standard[1] + standard[0]).float()
    labels = split.labels.numpy()
    known = np.isin(CachedImages.of(cache).contents_of("test"), earlier.contents_of("test"))
    groups = listed_groups(cache, "test")
    models = [load_classifier(path, trust_program) for path in (earlier_export, new_export)]
    predictions = [_predicted(model, features, names) for model in models]
    by = objective_of(objective, names, np.array(cache.manifest.dataset.train_counts), np.bincount(labels, minlength=len(names)))
    unknown = np.array([name not in models[0].classes for name in names])[labels]
    parts = [("earlier test images", known), ("all test images, with the new ones", np.ones(len(labels), bool))]
    results = [
        _comparison(
            words, by, labels[rows], [one[rows] for one in predictions], unknown[rows], len(names), None if groups is None else groups[rows]
        )
        for words, rows in parts
        if rows.any()
    ]
    return by, tuple(results[:1] if known.all() else results)


def recommendation(comparisons: Sequence[Comparison], objective: Objective) -> str:
    """The classifier to take, by the comparison on all test images, in a line."""
    one = comparisons[-1]
    sign = -1 if objective.lower else 1
    low, high = sorted((sign * one.low, sign * one.high))
    ends = f"[{objective_text(one.low, objective, '').strip()}, {objective_text(one.high, objective, '').strip()}]"
    unit = "" if objective.lower else "points"
    size = f"{objective_text(abs(one.difference), objective, unit)} {ends}".replace("  ", " ")
    if low > 0:
        return f"the new classifier is better by {size} on {one.images}: take it"
    if high < 0:
        return f"the new classifier is worse by {size} on {one.images}: stay with the earlier one"
    return f"the two cannot be told apart on {one.images} (difference {objective_text(one.difference, objective, unit)} {ends})"


def _predicted(model: Classifier, features: Tensor, names: Sequence[str]) -> NDArray[np.int64]:
    """Predictions (N,) among the classes ``names`` for features as they came from the backbone; -1 for a class that is none of them."""
    head = model.network.head if isinstance(model.network, ImageNetwork) else model.network
    with torch.inference_mode():
        classes = torch.cat([head(rows).argmax(1) for rows in features.split(ROWS)])
    number = {name: k for k, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in model.classes])[classes.numpy()]


def _comparison(
    words: str,
    objective: Objective,
    labels: NDArray[np.integer],
    predictions: Sequence[NDArray[np.integer]],
    unknown: NDArray[np.bool_],
    num_classes: int,
    groups: NDArray[np.str_] | None = None,
) -> Comparison:
    design = design_of(objective, labels, num_classes, groups)
    gone = objective.worst if objective.lower else 0.0  # a class that is gone, -1, costs the most
    worth = [np.where(one < 0, gone, objective.of_images(labels, one)).astype(np.float64) for one in predictions]
    before, now = (float(design.weights @ one) for one in worth)
    ((low, high),) = student_intervals((worth[1] - worth[0])[None], design, objective.span)
    return Comparison(words, len(labels), int(unknown.sum()), before, now, now - before, low, high)
