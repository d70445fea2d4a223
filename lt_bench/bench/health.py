"""Signs that a fit went wrong, in its losses, parameters and predictions. The rules are in docs/records.md.

All signs are read from results that exist anyway; only the stage-1 head takes an extra pass over the training features, once for each cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.base import Source
from lt_bench.engine.evaluate import Measured
from lt_bench.engine.heads.fit import Fitted
from lt_bench.features.audit import NORMS
from lt_bench.results.health import Signs
from lt_bench.strategies._lib.lbfgs import CONVERGED

BLOWN_UP = 100.0
"""Nats that a training sample may cost, in multiples of those that guessing does."""
STANDARD_ERRORS, NEAR = 3.0, 0.1
"""The bounds of guessing: so many standard errors above it, at most this part of the way to no error at all."""


def signs_of(bench: Source, run: Planned, fitted: Fitted, head: int, measured: Mapping[str, Measured]) -> Signs:
    """The signs of one head of a fitted stack.

    Args:
        bench: the source of features.
        run: the planned run.
        fitted: the stack.
        head: position of the head in the stack.
        measured: results of the head on ``train`` and ``test``.
    """
    signs = signs_of_fit(fitted, head) | signs_of_predictions(measured, fitted)
    if run.entry.family == "control":  # which may guess: a random head does by design
        signs = {name: value for name, value in signs.items() if name not in ("chance", "test_chance")}
    if run.entry.initial_head == "joint" and bench.stage1 is not None and is_guessing(bench.stage1):
        signs["stage1_chance"] = bench.stage1.scalars["macro_accuracy"]
    length = _length(measured["train"])
    if length is not None and not NORMS[0] <= length <= NORMS[1] and fitted.strategy.classifier is None and _has_own_rate(run):
        signs["scale"] = length
    return signs


def signs_of_fit(fitted: Fitted, head: int) -> Signs:
    """The signs that losses, parameters and solver show."""
    signs: Signs = {}
    losses = [row["loss"] for row in fitted.history[head]]
    guess = math.log(max(2, fitted.strategy.facts.num_classes))
    lost = next((epoch for epoch, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if lost is not None:
        signs["loss_not_finite"] = lost + 1
    elif losses and losses[-1] - losses[0] > max(abs(losses[0]), guess):
        signs["loss_risen"] = losses[-1]
    if fitted.steps and fitted.is_unchanged(head):
        signs["unchanged"] = fitted.steps
    without = [name for name, value in fitted.strategy.named_parameters() if value.requires_grad and value.grad is None]
    if fitted.steps and without:
        signs["no_gradient"] = ", ".join(without)
    solved = fitted.strategy.solved
    if solved is not None and not solved["gradient_norm"] <= CONVERGED:
        signs["unconverged"] = solved["gradient_norm"]
    return signs


def signs_of_predictions(measured: Mapping[str, Measured], fitted: Fitted) -> Signs:
    """The signs that predictions show; logits are judged on ``train`` if it was measured, else on the first view."""
    signs: Signs = {}
    first = measured["train"] if "train" in measured else next(iter(measured.values()))
    cost = first.scalars["nll"]
    if fitted.strategy.fitting != "none" and not cost <= BLOWN_UP * math.log(max(2, fitted.strategy.facts.num_classes)):
        signs["logits_blown_up"] = cost
    for view, one in measured.items():
        if is_guessing(one):
            signs["chance" if view == "train" else "test_chance"] = one.scalars["macro_accuracy"]
    predicted = {int(end) for one in measured.values() for end in (one.predictions.min(), one.predictions.max())}
    if len(predicted) == 1:
        signs["one_class"] = predicted.pop()
    return signs


def is_guessing(measured: Measured) -> bool:
    """Whether a head is no better than guessing: its macro accuracy no better than a random class, and its accuracy no better than the largest class."""
    counts = measured.vectors["class_total"]
    counts = counts[counts > 0]
    K, n = len(counts), int(counts.sum())
    if K < 2:
        return False
    uniform, largest = 1 / K, counts.max() / n
    of_macro = math.sqrt(uniform * (1 - uniform) * float((1 / counts).sum())) / K
    of_micro = math.sqrt(largest * (1 - largest) / n)
    return _within(measured.scalars["macro_accuracy"], uniform, of_macro) and _within(measured.scalars["accuracy"], largest, of_micro)


def _within(accuracy: float, guess: float, error: float) -> bool:
    return accuracy <= guess + min(STANDARD_ERRORS * error, NEAR * (1 - guess))


def _has_own_rate(run: Planned) -> bool:
    """Whether a run has its strategy's own learning rate for this data set, neither tuned nor given by the user."""
    dataset = run.manifest.dataset
    own = run.entry.resolve(dataset.name, dataset.imbalance_factor)
    return run.tuning.kind != "tuned" and "lr" in own and run.hyperparameters.get("lr") == own["lr"]


def _length(train: Measured) -> float | None:
    """Mean norm of the training features; None where the analysis of the classifier did not measure it."""
    norms, counts = train.vectors.get("feature_norm"), train.vectors["class_total"]
    return None if norms is None else float((norms[counts > 0] * counts[counts > 0]).sum() / counts.sum())
