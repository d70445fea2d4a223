"""The objective: the one number by which hyper-parameters are chosen and rows are ranked. NumPy only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.identity import canonical_json
from lt_bench.core.names import counted
from lt_bench.data.class_files import read_costs
from lt_bench.data.priors import check_prior, named_prior
from lt_bench.metrics.groups import shot_groups

Kind = Literal["macro", "micro", "shots", "prior", "cost"]
IMBALANCED = 1.5
"""A test set whose largest class has more than this many times the images of its smallest is imbalanced, and the objective then is macro where none is named."""
_METRICS = {
    "macro": "macro_accuracy",
    "micro": "accuracy",
    "shots": "shot_weighted_accuracy",
    "prior": "prior_accuracy",
    "cost": "mean_cost",
}
_TITLES = {"macro": "Macro", "micro": "Accuracy", "shots": "Shot-weighted", "prior": "Prior-weighted", "cost": "Mean cost"}
_WORDS = {
    "macro": "macro accuracy, the mean of the class accuracies",
    "micro": "micro accuracy, the share of images that are right",
    "shots": "shot-weighted accuracy, macro accuracy in which classes without images leave their weight to their group (many, medium, few)",
    "prior": "class accuracies weighted by a prior",
    "cost": "mean cost over images",
}
SHOTS = ("many", "medium", "few")


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted mean of what each image is worth: ``sum_k w_k mean_{n in class k} v_n``, with weights of the classes that have images, which add up to 1.

    ======  =====================================================================  ===============================
    kind    weight w_k of a class                                                  value v_n of an image
    ======  =====================================================================  ===============================
    macro   the same for every class with images                                   1 if right, else 0
    micro   its share of the images                                                1 if right, else 0
    shots   classes of its group (many, medium, few) over those with images there  1 if right, else 0
    prior   its prior                                                              1 if right, else 0
    cost    its share of the images                                                cost of (true, predicted) class
    ======  =====================================================================  ===============================

    Under ``shots`` a group without any image leaves its weight to the next in frequency.

    Attributes:
        kind: which of the five.
        source: the name of the file of a prior or of costs.
        groups: (K,) the place in `SHOTS` of each class, of kind shots.
        prior: (K,) adding up to 1, of kind prior.
        costs: (K, K) cost of true class (row) and predicted class (column), of kind cost.
    """

    kind: Kind
    source: str = ""
    groups: NDArray[np.integer] | None = None
    prior: NDArray[np.float64] | None = None
    costs: NDArray[np.float64] | None = None

    @property
    def text(self) -> str:
        """The objective as written on the command line, without the folder of a file: ``macro``, ``cost=vets.csv``."""
        return f"{self.kind}={self.source}" if self.source else self.kind

    @property
    def title(self) -> str:
        """Head of its column."""
        return _TITLES[self.kind]

    @property
    def words(self) -> str:
        """Its definition in a few words."""
        return _WORDS[self.kind] + (f" ({self.source})" if self.source else "")

    @property
    def metric(self) -> str:
        """Name of its values in tuning files; of macro and micro also in records."""
        return _METRICS[self.kind]

    @property
    def lower(self) -> bool:
        """Whether lower is better."""
        return self.kind == "cost"

    @property
    def within_classes(self) -> bool:
        """Whether weights of classes do not depend on their numbers of images; another test set then has other images, but as many, of each class."""
        return self.kind in ("macro", "shots", "prior")

    @property
    def worst(self) -> float:
        """The value of a head that has failed."""
        return 0.0 if self.costs is None else float(self.costs.max())

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that an image can be worth."""
        return (0.0, 1.0) if self.costs is None else (float(self.costs.min()), float(self.costs.max()))

    @property
    def span(self) -> float:
        """Largest change of the objective through one image, relative to the image's weight."""
        least, most = self.ends
        return most - least

    @property
    def identity(self) -> dict[str, Any]:
        """Parts that determine the values of the objective, as plain JSON."""
        table = {"shots": self.groups, "prior": self.prior, "cost": self.costs}.get(self.kind)
        return {"kind": self.kind} if table is None else {"kind": self.kind, "values": table.tolist()}

    @property
    def digest(self) -> str:
        """16 hex digits of `identity`."""
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()[:16]

    def class_weights(self, counts: NDArray[np.integer]) -> NDArray[np.float64]:
        """(K,) weights of the classes, adding up to 1 and 0 for classes without images, from numbers of images (K,).

        Raises:
            UserError: the prior is 0 for every class that has images.
        """
        present = counts > 0
        if self.kind == "macro":
            weights = present.astype(np.float64)
        elif self.groups is not None:
            weights = np.where(present, _shares_of_groups(self.groups, present)[self.groups], 0.0)
        elif self.prior is not None:
            weights = np.where(present, self.prior, 0.0)
        else:
            weights = counts.astype(np.float64)
        if not weights.sum() > 0:
            raise UserError(f"{self.text}: no class with images has a weight above 0")
        return weights / weights.sum()

    def weights(self, labels: NDArray[np.integer], num_classes: int) -> NDArray[np.float64]:
        """(N,) weight of each image, adding up to 1."""
        counts = np.bincount(labels, minlength=num_classes)
        return (self.class_weights(counts) / np.maximum(counts, 1))[labels]

    def of_images(self, labels: NDArray[np.integer], predictions: NDArray[np.integer]) -> NDArray[Any]:
        """The outcome of each image: whether it is right (bool), or its cost (float64); predictions (..., N) against labels (N,)."""
        return predictions == labels if self.costs is None else self.costs[labels, predictions]

    def value(self, labels: NDArray[np.integer], predictions: NDArray[np.integer], num_classes: int) -> float:
        """The objective of predictions (N,)."""
        return float(self.weights(labels, num_classes) @ self.of_images(labels, predictions))

    def unknown_share(self, counts: NDArray[np.integer]) -> float:
        """Total prior of the classes without images, which do not count."""
        return 0.0 if self.prior is None else float(self.prior[counts == 0].sum())


MACRO, MICRO = Objective("macro"), Objective("micro")


def check_objective(text: str | None) -> None:
    """Refuse a text that names no objective; a named file must exist, but is not read.

    Raises:
        UserError: the message says what an objective is, or which file is missing.
    """
    if text is None or text in ("macro", "micro", "shots"):
        return
    kind, equals, name = text.partition("=")
    if kind not in ("prior", "cost") or not equals or not name:
        raise UserError(f"--objective {text}: expected macro, micro, shots, prior=FILE or cost=FILE")
    if kind == "prior":
        check_prior(name, f"--objective {text}")
    elif not Path(name).is_file():
        raise UserError(f"--objective {text}: no such file: {name}")


def objective_of(
    text: str | None, class_names: Sequence[str], train_counts: NDArray[np.integer], counts: NDArray[np.integer] | None = None
) -> Objective:
    """The objective that a person named, else the default: macro for an imbalanced test set, micro otherwise (of a balanced one they are the same number).

    Args:
        text: ``macro``, ``micro``, ``shots``, ``prior=FILE``, ``prior=forward:50`` or ``backward:50`` (any imbalance), or ``cost=FILE``; None for the default.
        class_names: K names, which files may use.
        train_counts: (K,) training images, by which classes are many, medium or few, and whose order long tails follow.
        counts: (K,) test images; where they are unknown the default is micro.

    Raises:
        UserError: the text names no objective, or its file is missing or does not fit the classes.
    """
    check_objective(text)
    if text is None:
        return MACRO if counts is not None and imbalanced(counts) else MICRO
    kind, _, name = text.partition("=")
    if kind == "shots":
        groups = shot_groups(train_counts)
        return Objective("shots", groups=np.stack([getattr(groups, name) for name in SHOTS]).argmax(0))
    if kind == "prior":
        return Objective("prior", Path(name).name, prior=named_prior(name, class_names, train_counts))
    if kind == "cost":
        return Objective("cost", Path(name).name, costs=read_costs(Path(name), class_names))
    return MACRO if kind == "macro" else MICRO


def imbalanced(counts: NDArray[np.integer]) -> bool:
    """Whether the largest class has more than `IMBALANCED` times the images of the smallest that has any."""
    present = counts[counts > 0]
    return bool(present.size) and bool(present.max() > IMBALANCED * present.min())


def explained(objective: Objective, counts: NDArray[np.integer] | None, split: str = "test") -> str:
    """An objective on a split with these images a class (K,), in a line: ``macro accuracy, ...; 3 to 594 test images a class, an imbalanced test set``."""
    present = np.zeros(0) if counts is None else counts[counts > 0]
    if counts is None or not present.size:
        return objective.words
    least, most = int(present.min()), int(present.max())
    parts = [
        objective.words,
        f"{counted(least, f'{split} image')} in each class" if least == most else f"{least:,} to {most:,} {split} images a class",
    ]
    if imbalanced(counts):
        parts[-1] += f", an imbalanced {split} set" + (" in which large classes decide" if objective.kind == "micro" else "")
    if lacking := len(counts) - len(present):
        of = f"{lacking} of {len(counts)}"
        if objective.groups is not None:
            parts.append(
                f"classes without {split} images, which leave their weight to their group: {of} ({_images_of_groups(objective.groups, counts)})"
            )
        else:
            share = f", {100 * share:.2g} % of the prior" if (share := objective.unknown_share(counts)) else ""
            parts.append(f"classes without {split} images, which do not count: {of}{share}")
    return "; ".join(parts)


def _heir(place: int, shown: NDArray[np.integer]) -> int:
    """The group that takes the weight of group ``place``: the nearest in frequency with images, the rarer of two; itself if it has images. ``shown``: (3,) numbers of classes with images."""
    return min(np.flatnonzero(shown).tolist(), key=lambda other: (abs(other - place), -other))


def _shares_of_groups(groups: NDArray[np.integer], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(3,) weight of one class with images in each group: the number of all classes of the group, and of groups that leave it their weight, over its number of classes with images."""
    shown = np.bincount(groups[present], minlength=len(SHOTS))
    weights = np.zeros(len(SHOTS))
    for place, classes in enumerate(np.bincount(groups, minlength=len(SHOTS)).tolist() if shown.any() else ()):
        weights[_heir(place, shown)] += classes
    return weights / np.maximum(shown, 1)


def _images_of_groups(groups: NDArray[np.integer], counts: NDArray[np.integer]) -> str:
    """Groups that lack images of some classes, or of all: ``medium: images of 34 of 35, few: of none of 30, whose weight medium has``."""
    every, shown = (np.bincount(groups[of], minlength=len(SHOTS)) for of in (slice(None), counts > 0))
    lines = []
    for place in np.flatnonzero(shown < every).tolist():
        some = f"images of {shown[place]} of {every[place]}"
        none = f"of none of {every[place]}, whose weight {SHOTS[_heir(place, shown)]} has"
        lines.append(f"{SHOTS[place]}: {some if shown[place] else none}")
    return ", ".join(lines)
