"""Remarks on how settled the choice of a tuning is: how many draws of validation images choose it, which points the others choose, and which points tie. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lt_bench.core.names import counted
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective

SETTLED = 0.95
"""Share of draws from which on a choice is not called open."""
_NAMED = 2  # others named one by one


def share_alone_best(document: Mapping[str, Any]) -> float | None:
    """Share of the draws in which the choice is the best and no other point scores the same; None where validation was drawn once, or where the file does not say which draws tie."""
    return _share(document) if len(document.get("choices", ())) > 1 and "tied" in document else None


def share_text(share: float | None) -> str:
    """`; chosen alone in 51 % of redrawn validation sets`; nothing where validation was not drawn more than once."""
    return "" if share is None else f"; chosen alone in {100 * share:.0f} % of redrawn validation sets"


def lines_of_choice(document: Mapping[str, Any], tied: Sequence[int], objective: Objective) -> list[str]:
    """Remarks on how settled the choice is; ``tied`` are the positions of the points with its score, its own first."""
    lines = [_tie(document, tied, objective)] if len(tied) > 1 else []
    if len(document.get("choices", ())) < 2:
        return [*lines, "validation images were drawn once, so nothing says how settled the choice is"]
    return [*lines, _of_draws(document), *_of_groups(document)]


def _share(document: Mapping[str, Any]) -> float:
    choices = document["choices"]
    return (choices.count(choices[0]) - document.get("tied", 0)) / len(choices)


def _tie(document: Mapping[str, Any], tied: Sequence[int], objective: Objective) -> str:
    """`3 points tie at 83.33 %: the first is taken; tau 0.1, tau 0.2 score the same`."""
    value = objective_text(document[objective.metric], objective, "%")
    return f"{len(tied)} points tie at {value}: the first is taken; {_points(document, tied[1:])} {'score' if len(tied) > 2 else 'scores'} the same"


def _of_draws(document: Mapping[str, Any]) -> str:
    """`chosen in 51 of 100 draws of validation images; lr 0.5 in 49: they do not settle it`."""
    choices = document["choices"]
    number = Counter(choices)
    chosen = number.pop(choices[0])
    most = number.most_common()
    others = [f"{_point(document, position)} in {times}" for position, times in most[:_NAMED]]
    if rest := most[_NAMED:]:
        others.append(f"{counted(len(rest), 'other point')} in {sum(times for _, times in rest)}")
    ties = f", in {tied} of them tied with others and first in the grid" if (tied := document.get("tied")) else ""
    verdict = "" if _share(document) >= SETTLED else ": these images do not settle the choice"
    return f"chosen in {chosen} of {len(choices)} draws of validation images{ties}{'; ' if others else ''}{', '.join(others)}{verdict}"


def _of_groups(document: Mapping[str, Any]) -> list[str]:
    """A line on draws that split groups of images; none where images are independent."""
    said = document["validation"]
    if "groups" not in said:
        return []
    number = "groups" if said["groups"] is None else counted(said["groups"], "group")
    return [
        f"these images come in {number}, and draws take them one by one: images of a group are alike, so other groups would change the choice more often than the draws do"
    ]


def _points(document: Mapping[str, Any], positions: Sequence[int]) -> str:
    named = [_point(document, position) for position in positions[:_NAMED]]
    rest = len(positions) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")


def _point(document: Mapping[str, Any], position: int) -> str:
    """The hyper-parameters in which a point differs from the choice: `lr 0.5 weight_decay 0.02`; points that a user gives may lack some."""
    choice, point = document["choice"], document["grid"][position]["hyperparameters"]
    differs = [f"{name} {value}" for name, value in point.items() if name not in choice or value != choice[name]]
    return " ".join([*differs, *(f"no {name}" for name in choice if name not in point)])
