"""Health of a fit: the signs that it went wrong, as a record keeps them (`training.health`), and their words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lt_bench.results.record import Figure, RunRecord

Signs = dict[str, Figure]
"""The signs that were seen, each with the figure that shows it; empty for a healthy fit."""

DIVERGED = "diverged"
"""Sign in tunings of a seed whose parameters were not finite at the end of its fit."""
DIVERGENCE = {DIVERGED, "loss_not_finite", "logits_blown_up"}
"""Signs of a point that a tuning never chooses."""
WORDS: dict[str, str] = {
    DIVERGED: "the fit diverged",
    "loss_not_finite": "the training loss of epoch {} is not finite",
    "loss_risen": "the training loss rose to {:.3g}",
    "logits_blown_up": "the logits blew up: a sample costs {:.3g} nats, over 100 times as many as guessing",
    "chance": "macro accuracy on training is {:.2%}, no better than guessing",
    "test_chance": "macro accuracy on held-out samples is {:.2%}, no better than guessing",
    "one_class": "every sample is predicted to be of class {}",
    "unchanged": "no weight changed in {} steps",
    "no_gradient": "the loss does not depend on {}, which is trainable; `lt-bench check` says more",
    "unconverged": "the solver stopped at a gradient norm of {:.1g}; raise --strategy.iterations",
    "stage1_chance": "the stage-1 head has a macro accuracy of {:.2%} on training, no better than guessing",
    "scale": "features are {:.3g} long on average, and the recipe's rates are for other lengths: --standardise, or other rates",
}


def words(signs: Mapping[str, Figure]) -> str:
    """The signs of a fit as one line; a figure that is not finite is given as such."""
    return "; ".join(WORDS[sign].format(float("nan") if figure is None else figure) for sign, figure in signs.items())


def unhealthy(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The records of fits that show a sign."""
    return [record for record in records if record.training.health]


def warnings_of(records: Iterable[RunRecord]) -> list[str]:
    """A line for the fits of each strategy that show the same signs: which seeds, and what the first of them shows."""
    alike: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for record in unhealthy(records):
        alike[record.identity.strategy, record.identity.tuning, *(record.training.health or ())].append(record)
    return [
        f"{strategy} ({kind}), {'seed' if len(of) == 1 else 'seeds'} {', '.join(str(record.identity.seed) for record in of)}: "
        f"the fit looks wrong: {words(of[0].training.health or {})}"
        for (strategy, kind, *_), of in alike.items()
    ]


def signs_in(texts: Iterable[Any]) -> list[str]:
    """The signs in the texts of several fits, sorted, each once; older records have no text and add none."""
    return sorted({sign for text in texts if isinstance(text, str) for sign in text.split()})
