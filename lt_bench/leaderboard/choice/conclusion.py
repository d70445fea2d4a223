"""Conclusions of a nested choice: the strategy to take, its expected figure, strategies that cannot be told apart from it, and classes whose images would decide. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lt_bench.core.names import counted
from lt_bench.leaderboard.choice.nested import NestedChoice, Tuned
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.leaderboard.stats.clustered import Clustered, design_of, effects_on_shots
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.groups import holm
from lt_bench.leaderboard.stats.paired import LEVEL, compare_all
from lt_bench.leaderboard.stats.shares import GROUPS, group_intervals, objective_intervals
from lt_bench.metrics.groups import shot_groups

NAMED = 5
"""Maximal number of classes that are named."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out rows of a choice.

    Attributes:
        labels: (N,).
        train_counts: (K,) images that heads are fitted on in the end.
        class_names: K names.
        objective: by which strategies are chosen.
        groups: (N,) group of each row, such as the track of a frame; None where rows are independent.
    """

    labels: NDArray[np.integer]
    train_counts: NDArray[np.integer]
    class_names: Sequence[str]
    objective: Objective
    groups: NDArray | None = None

    def design(self, objective: Objective) -> Design:
        """The sampling design of the rows for an objective: groups are the sample if they are known, else rows."""
        return design_of(objective, self.labels, len(self.train_counts), self.groups)

    @property
    def counts(self) -> NDArray[np.integer]:
        """(K,) numbers of held-out images."""
        return np.bincount(self.labels, minlength=len(self.train_counts))


def conclusion(choice: NestedChoice, on: HeldOut) -> dict[str, Any]:
    """The outcome as plain JSON values: accuracies as fractions, costs as they are; the first strategy is the one to take.

    Differences are those of the taken strategy minus the other one, each tuned without the rows that it is compared on, paired over held-out images and, where there are several, over seeds; tests are
    Holm-corrected over all pairs of strategies.
    """
    figures = _figures([one.predictions for one in choice.tuned], on)
    differences = _differences(choice.tuned, on)
    lines = [
        {
            "strategy": one.candidate.name, "points": len(one.candidate.points), "hyperparameters": dict(one.candidate.points[one.best]),
            "best_point": float(one.values[one.best]), **figure, "folds": choice.by_fold.count(one.candidate.name), **difference,
        }
        for one, figure, difference in zip(choice.tuned, figures, differences, strict=True)
    ]  # fmt: skip
    (estimate,) = _figures([choice.predictions], on)
    few, counts = shot_groups(on.train_counts).few, on.counts
    equal = [place for place, line in enumerate(lines) if not line.get("told_apart", True)]
    return {
        "take": {"strategy": lines[0]["strategy"], "hyperparameters": lines[0]["hyperparameters"]},
        "expect": estimate,
        "strategies": lines,
        "not_told_apart": [lines[place]["strategy"] for place in equal],
        "would_decide": _deciding([choice.tuned[place] for place in equal], choice.tuned[0], on),
        "held_out": {"images": len(on.labels), "classes": int((counts > 0).sum()), "few_images": int(counts[few].sum()), "few_classes": int((counts[few] > 0).sum())},
        "not_estimated": [name for name, count in zip(on.class_names, counts, strict=True) if not count],
    }  # fmt: skip


def sentences(document: Mapping[str, Any], objective: Objective) -> list[str]:
    """The conclusion in sentences: strategy to take, expected figure, strategies not told apart, classes that would decide."""
    take, held = document["take"], document["held_out"]
    settings = ", ".join(f"{name} {value}" for name, value in take["hyperparameters"].items())
    lines = [f"Take {take['strategy']}{f' with {settings}' if settings else ' as it is'}."]
    expected, strategies = document["expect"], document["strategies"]
    low, high = (objective_text(end, objective, "") for end in expected["interval"])
    value, seeming = (objective_text(one["value"], objective) for one in (expected, strategies[0]))
    lines.append(
        f"Expect {objective.words.partition(',')[0]} of {value} ({low.strip()} to {high.strip()}, 95 %): the same choice made without each fold, measured on that fold; "
        f"{strategies[0]['folds']} of {sum(one['folds'] for one in strategies)} took {take['strategy']}."
    )
    if (strategies[0]["value"] < expected["value"]) if objective.lower else (strategies[0]["value"] > expected["value"]):
        lines.append(f"Its {seeming} among the strategies is the best of {len(strategies)}, which flatters.")
    rare = f", {held['few_images']:,} of them of rare classes ({counted(held['few_classes'], 'class', 'classes')} with fewer than 20 training images)"
    sample = counted(held["images"], "held-out image") + (rare if held["few_images"] else "")
    if document["not_told_apart"]:
        lines.append(f"Cannot be told apart from it on your {sample}: {', '.join(document['not_told_apart'])}.")
    elif len(document["strategies"]) > 1:
        lines.append(f"It is better than each of the others by more than chance, on your {sample}.")
    if document["would_decide"]:
        classes = ", ".join(f"{one['class']} ({one['held_out']} held out)" for one in document["would_decide"])
        lines.append(f"More images of these classes would decide: {classes}.")
    if len(document.get("seeds", ())) == 1:
        lines.append("With one seed, what seeds move is not in these intervals; --seeds 0,1,2 would say.")
    if document.get("split") == "train":
        lines.append("Training images chose: it rests on your word that the backbone was not trained on them.")
    if document.get("by_group"):
        lines.append("Intervals and tests take groups as the sample, since images of one group are alike.")
    if ways := document.get("groups_unknown"):
        high = ", and accuracies too high" if document["split"] == "train" else ""
        lines.append(
            f"The cache was split by groups and does not list them: each image counts by itself here, so intervals are too narrow{high}; to have groups as the sample, {ways}"
        )
    if names := document["not_estimated"]:
        shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        lines.append(f"Nothing is known of classes without a held-out image: {shown}.")
    return lines


def _figures(predictions: Sequence[NDArray[np.integer]], on: HeldOut) -> list[dict[str, Any]]:
    """Objective, and accuracies on many, medium and few, with intervals, for each array of predictions (S, N)."""
    objective, counts = on.objective, on.counts
    design = on.design(objective)
    worth = np.stack([objective.of_images(on.labels, one).mean(0, dtype=np.float64) for one in predictions])
    right = [np.bincount(on.labels, (one == on.labels).mean(0), len(counts)) for one in predictions]
    accuracy = np.divide(right, counts, out=np.full((len(right), len(counts)), np.nan), where=counts > 0)
    groups, intervals = shot_groups(on.train_counts), objective_intervals(worth, accuracy, counts, objective, design)
    effects = effects_on_shots(np.stack([(one == on.labels).mean(0) for one in predictions]), on.labels, groups, on.groups)
    by_group = group_intervals(accuracy, counts, groups, effects)
    return [
        {
            "value": float(worth[place] @ design.weights), "interval": list(intervals[place]),
            "groups": {name: {"value": float(np.nanmean(accuracy[place, getattr(groups, name)])), "interval": list(by_group[name][place])} for name in GROUPS if name in by_group},
        }
        for place in range(len(predictions))
    ]  # fmt: skip


def _differences(tuned: Sequence[Tuned], on: HeldOut) -> list[dict[str, Any]]:
    """For each strategy the lead of the first over it, with interval, p-value and whether the two are told apart; empty for the first itself."""
    if len(tuned) < 2:
        return [{}]
    design = on.design(on.objective)
    lines = [on.objective.of_images(on.labels, one.predictions) for one in tuned]
    seeds = [None if one.candidate.seeds is None else list(one.candidate.seeds) for one in tuned]
    several = any(one is not None for one in seeds)
    tests = compare_all(lines if several else [line[:1] for line in lines], seeds, None, design, on.objective.span)
    pairs = np.triu_indices(len(tuned), 1)  # the first is first by these data, so its tests are corrected as those of every pair are
    corrected = np.ones((len(tuned), len(tuned)))
    corrected[pairs] = holm(tests.p[pairs])
    p, half = corrected[0], stdtrit(tests.degrees[0], 1 - LEVEL / 2) * tests.error[0]
    return [
        {} if not place else {"behind": float(ahead), "behind_interval": [float(ahead - half[place]), float(ahead + half[place])], "p": float(p[place]), "told_apart": bool(p[place] < LEVEL)}
        for place, ahead in enumerate(tests.difference[0])
    ]  # fmt: skip


def _deciding(others: Sequence[Tuned], first: Tuned, on: HeldOut) -> list[dict[str, Any]]:
    """The classes that contribute most to the variance of the differences between ``first`` and ``others``: as many as make up half of it, at most `NAMED`."""
    if not others:
        return []
    K, N = len(on.train_counts), len(on.labels)
    group = np.arange(N) if on.groups is None else np.unique(on.groups, return_inverse=True)[1]
    of_class = on.labels * N + group  # the images of a group that are of one class
    design, first_of = Clustered.by_group(on.objective, on.labels, K, of_class), np.unique(of_class, return_index=True)[1]
    worth = [on.objective.of_images(on.labels, one.predictions).mean(0, dtype=np.float64) for one in (first, *others)]
    apart = design.deviations(lambda part: np.stack([worth[0][part] - one[part] for one in worth[1:]]))(slice(None))
    by_class = np.stack([np.bincount(on.labels[first_of], line, K) for line in apart**2])
    total = by_class.sum(1, keepdims=True)
    share = np.divide(by_class, total, out=np.zeros((len(others), K)), where=total > 0).mean(0)
    order = [k for k in np.argsort(-share, kind="stable") if share[k] > 0]
    enough = int(np.searchsorted(np.cumsum(share[order]), share.sum() / 2)) + 1
    return [
        {"class": on.class_names[k], "held_out": int(on.counts[k]), "train": int(on.train_counts[k]), "share": float(share[k])}
        for k in order[: min(enough, NAMED)]
    ]
