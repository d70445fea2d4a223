"""Test data of the contract suite: small invented data, and strategies built and fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Fitted, fit_heads
from lt_bench.engine.heads.plain import fit_plain
from lt_bench.engine.heads.stacks import HeadJob, head_of, is_stacked, strategy_of
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Batch, Facts, Strategy
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.hyper import Hyperparameter

COUNTS = (17, 9, 4, 1)
DIM = 3
EPOCHS = 5
"""Enough for what begins late in a fit, such as deferred re-weighting."""


class BrokenError(Exception):
    """A strategy breaks the contract; says how, in plain words."""


def require(holds: bool | Tensor, otherwise: str) -> None:
    """Raise ``BrokenError(otherwise)`` unless the condition holds."""
    if not bool(holds):
        raise BrokenError(otherwise)


def require_shape(what: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape than ``expected``."""
    require(tuple(tensor.shape) == expected, f"{what} has shape {tuple(tensor.shape)}, expected {expected}")


def require_same_head(what: str, head: Strategy, other: Strategy, on: Problem, tolerance: float) -> None:
    """Refuse heads that differ in a parameter, a buffer, or the logits that they give at inference."""
    state, expected = head.state_dict(), other.state_dict()
    for name, tensor in expected.items():
        require(name in state and state[name].shape == tensor.shape, f"{name} {what}: the shapes differ")
        if tensor.is_floating_point():
            require_close(f"{name} {what}", state[name].nan_to_num(), tensor.nan_to_num(), tolerance)
    features = on.batch(6, torch.float64).features
    with torch.no_grad():
        require_close(
            f"the logits of the inference head {what}", head.inference_head()(features), other.inference_head()(features), tolerance
        )


def require_close(what: str, one: Tensor, other: Tensor, tolerance: float) -> None:
    """Refuse values that differ by more than ``tolerance``, relative to the larger of 1 and their size."""
    one, other = one.detach().double(), other.detach().double()
    gap = float(((one - other).abs() / other.abs().clamp_min(1)).amax()) if one.numel() else 0.0
    require(gap <= tolerance, f"{what} differ by {gap:.2g}, allowed is {tolerance:g}")


@dataclass(frozen=True)
class Problem:
    """An invented data set: features that are weakly told apart, two views, and a stage-1 head."""

    facts: Facts
    train: FeatureSplit

    def batch(self, size: int, dtype: torch.dtype, leave_out: int | None = None) -> Batch:
        """A batch with labels that cycle through all classes but ``leave_out``, and with random features."""
        classes = torch.tensor([c for c in range(self.facts.num_classes) if c != leave_out])
        labels = classes[torch.arange(size) % classes.numel()]
        generator = torch.Generator().manual_seed(size)
        features = torch.rand(size, self.facts.dim, generator=generator, dtype=torch.float64).to(dtype)
        first = torch.tensor(self.facts.class_counts).cumsum(0) - torch.tensor(self.facts.class_counts)
        return Batch(features, labels, first[labels])


def problem(counts: Sequence[int] = COUNTS, dim: int = DIM) -> Problem:
    """Training data of these class counts; deterministic."""
    K = len(counts)
    generator = torch.Generator().manual_seed(K)
    labels = torch.repeat_interleave(torch.arange(K), torch.tensor(counts))
    means = torch.rand(K, dim, generator=generator)
    plain = (means[labels] + 0.3 * torch.randn(labels.numel(), dim, generator=generator)).relu()
    views = torch.cat([plain, (plain + 0.1 * torch.randn(plain.shape, generator=generator)).relu()])
    split = FeatureSplit("train", ("plain", "aug1"), (views,), labels, torch.arange(labels.numel()))
    head = Head(torch.randn(K, dim, generator=generator), torch.randn(K, generator=generator))
    return Problem(Facts(dim, tuple(counts), head, 1), split)


def with_empty_class(on: Problem, number: int) -> Problem:
    """The problem with an empty class inserted as ``number``: later classes move up by one, and the stage-1 head has a long row for the empty class."""
    counts, head = list(on.facts.class_counts), on.facts.head
    counts.insert(number, 0)
    assert head is not None
    row, bias = torch.full((1, on.facts.dim), 5.0), torch.full((1,), 5.0)
    weights = torch.cat([head.weight[:number], row, head.weight[number:]])
    biases = torch.cat([head.bias[:number], bias, head.bias[number:]])
    facts = replace(on.facts, class_counts=tuple(counts), head=Head(weights, biases))
    return Problem(facts, replace(on.train, labels=on.train.labels + (on.train.labels >= number)))


def hyperparameters(entry: Entry, **changes: Any) -> dict[str, Any]:
    """The defaults, with a short fit."""
    short = {"epochs": EPOCHS, "batch_size": 16} if entry.fitting == "sgd" else {}
    return entry.resolve("none", None, {**short, **changes})


def job(entry: Entry, repetition: int = 0, **changes: Any) -> HeadJob:
    """One job, with the defaults but for ``changes``."""
    return HeadJob(entry, hyperparameters(entry, **changes), repetition)


def varied(entry: Entry, on: Problem) -> list[HeadJob]:
    """Jobs on the plain view: one with the defaults, one for each float hyper-parameter with another value, and one with another learning rate and weight decay.

    A plain loader has rows of one view.
    """
    plain: dict[str, Any] = {"views": "plain"}
    jobs = [job(entry, **plain)]
    declared = [one for one in entry.hyperparameters if one.type is float]
    for number, one in enumerate(declared, start=1):
        for value in other_values(one):
            attempt = job(entry, number % 2, **plain, **{one.name: value})
            try:
                strategy_of([attempt], on.facts, torch.float64)
            except UserError:
                continue  # contradicts another hyper-parameter
            jobs.append(attempt)
            break
    rates = {"lr": entry.recipe.rate("lr") / 2, "weight_decay": 0.01}
    return sorted([*jobs, job(entry, 1, **plain, **rates)], key=lambda one: one.repetition)


_varied_fits: list[tuple[Entry, list[Fitted]]] = []
"""Fits of the strategy that was asked for last: two checks compare others with them."""


def varied_fits(entry: Entry) -> list[Fitted]:
    """The ``varied`` jobs on ``problem()``, each fitted by itself in float64; not to be changed."""
    if not _varied_fits or _varied_fits[0][0] != entry:
        on = problem()
        _varied_fits[:] = [(entry, [fit(on, [one], torch.float64)[0] for one in varied(entry, on)])]
    return _varied_fits[0][1]


def other_values(one: Hyperparameter) -> list[float]:
    """Values inside the range of a hyper-parameter, other than its default."""
    low, high = 0.0 if one.low is None else one.low, one.default * 2 + 1 if one.high is None else one.high
    values = [*one.grid, one.default * 0.75, one.default * 0.5, low + (min(high, low + 2.0) - low) * 0.4]
    return [float(value) for value in values if low <= value <= high and value != one.default]


def build(entry: Entry, on: Problem, dtype: torch.dtype, jobs: Sequence[HeadJob] | None = None) -> Strategy:
    """The strategy before its first step: of one head, or of a stack of ``jobs``."""
    jobs = jobs or [job(entry)]
    strategy = one_head(on, jobs[0], dtype) if len(jobs) == 1 else strategy_of(jobs, on.facts, dtype)
    strategy.held_out = on.train
    strategy.begin_fit(on.train)
    strategy.start_epoch(0)
    restart(strategy)
    return strategy


def one_head(on: Problem, one: HeadJob, dtype: torch.dtype) -> Strategy:
    """The strategy of one head before its fit."""
    return head_of(strategy_of([one], on.facts, dtype), 0, one.entry.class_for(one.hyperparameters)[1])


def fit_plainly(on: Problem, one: HeadJob, dtype: torch.dtype) -> tuple[Strategy, list[dict[str, float]]]:
    """One head fitted by a plain Trainer, and its history."""
    strategy = one_head(on, one, dtype)
    strategy.held_out = on.train
    rows, *_ = fit_plain(strategy, on.train, one.repetition)
    return strategy, rows


def fit(on: Problem, jobs: Sequence[HeadJob], dtype: torch.dtype = torch.float32) -> list[Fitted]:
    """Fit the jobs on the problem: as one stack, or one by one where the strategy is never stacked."""
    parts = [list(jobs)] if is_stacked(jobs[0].entry) else [[one] for one in jobs]
    return [fit_heads([part], on.facts, on.train, dtype=dtype, held_out=on.train)[0] for part in parts]


def restart(strategy: Strategy) -> None:
    """Start the random numbers of the losses over, for a whole batch on one process."""
    strategy.draws.start(0, 0)
    strategy.draws.share(0, 0, 1)


def trainable(strategy: Strategy) -> dict[str, torch.nn.Parameter]:
    """Parameters that are fitted, by name."""
    return {name: parameter for name, parameter in strategy.named_parameters() if parameter.requires_grad}
