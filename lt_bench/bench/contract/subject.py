"""What the contract suite puts a strategy before: small invented data, and the strategy built and fitted on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lt_bench.engine.heads.fit import Fitted, fit_stack
from lt_bench.engine.heads.stacks import HeadJob, stacked_hyperparameters
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.noise import Draws
from lt_bench.strategies.registry import Entry

COUNTS = (17, 9, 4, 1)
DIM = 3
EPOCHS = 5
"""Enough for what begins late in a fit, such as deferred re-weighting."""


class BrokenError(Exception):
    """A strategy breaks the contract; says how, in plain words."""


def require(holds: bool | Tensor, otherwise: str) -> None:
    """Raise ``BrokenError(otherwise)`` unless it holds."""
    if not bool(holds):
        raise BrokenError(otherwise)


@dataclass(frozen=True)
class Problem:
    """An invented data set: features that are weakly told apart, two views, and a stage-1 head."""

    facts: Facts
    train: FeatureSplit

    def sample(self, size: int, dtype: torch.dtype, leave_out: int | None = None) -> tuple[Tensor, Tensor]:
        """Features (size, D) and labels (size,), every class in turn but ``leave_out``."""
        classes = torch.tensor([c for c in range(self.facts.num_classes) if c != leave_out])
        labels = classes[torch.arange(size) % classes.numel()]
        generator = torch.Generator().manual_seed(size)
        return torch.rand(size, self.facts.dim, generator=generator, dtype=torch.float64).to(dtype), labels


def problem(counts: Sequence[int] = COUNTS, dim: int = DIM, heads: int = 1) -> Problem:
    """Training data of these class counts; deterministic."""
    K = len(counts)
    generator = torch.Generator().manual_seed(K)
    labels = torch.repeat_interleave(torch.arange(K), torch.tensor(counts))
    means = torch.rand(K, dim, generator=generator)
    plain = (means[labels] + 0.3 * torch.randn(labels.numel(), dim, generator=generator)).relu()
    views = torch.cat([plain, (plain + 0.1 * torch.randn(plain.shape, generator=generator)).relu()])
    split = FeatureSplit("train", ("plain", "aug1"), (views,), labels, torch.arange(labels.numel()))
    head = Head(torch.randn(K, dim, generator=generator), torch.randn(K, generator=generator))
    return Problem(Facts(dim, tuple(counts), head, tuple(range(1, heads + 1))), split)


def hyperparameters(entry: Entry, **changes: Any) -> dict[str, Any]:
    """The defaults, with a short fit."""
    short = {"epochs": EPOCHS, "batch_size": 8} if entry.fitting == "sgd" else {}
    return entry.resolve("none", None, {**short, **changes})


def default(entry: Entry, **changes: Any) -> list[HeadJob]:
    """One job, with the defaults but for ``changes`` (a change of the fit is without meaning where nothing is fitted by batches)."""
    known = {name: value for name, value in changes.items() if entry.fitting == "sgd" or name != "batch_size"}
    return [HeadJob(entry, hyperparameters(entry, **known), 0)]


def varied(entry: Entry, heads: int) -> list[HeadJob]:
    """One job per head, each with other values of the hyper-parameters that may differ within a stack: floats of the grid, and the rates."""
    floats = {h.name for h in entry.hyperparameters if h.type is float} | {"lr", "weight_decay"}
    jobs = []
    for head in range(heads):
        changes = {name: values[head % len(values)] for name, values in entry.grid.items() if name in floats}
        jobs.append(HeadJob(entry, hyperparameters(entry, **changes), head))
    return jobs


def build(entry: Entry, on: Problem, dtype: torch.dtype, jobs: Sequence[HeadJob] | None = None) -> Strategy:
    """The strategy as it is before the first step: attached, begun, its noise started."""
    jobs = jobs or [HeadJob(entry, hyperparameters(entry), head) for head in range(len(on.facts.init_seeds))]
    strategy = entry.load()(on.facts, **stacked_hyperparameters(jobs, dtype)).to(dtype)
    strategy.attach(on.train, Draws(tuple(job.repetition for job in jobs)))
    with torch.no_grad():
        strategy.begin(on.train)
    strategy.draws.start(0, 0)
    return strategy


def fit(on: Problem, jobs: Sequence[HeadJob], dtype: torch.dtype = torch.float32) -> Fitted:
    """The strategy fitted on the problem."""
    seeds = tuple(on.facts.init_seeds[job.repetition % len(on.facts.init_seeds)] for job in jobs)
    return fit_stack(jobs, dataclasses.replace(on.facts, init_seeds=seeds), on.train, dtype=dtype)


def restart(strategy: Strategy, repetitions: tuple[int, ...] = (0,)) -> None:
    """The same noise again for the next loss, for a whole batch on one process."""
    strategy.draws = Draws(repetitions)
    strategy.draws.start(0, 0)


def objective(strategy: Strategy, features: Tensor, labels: Tensor) -> Tensor:
    """What one step minimises, per head (H,), from features (1 or H, B, D) and labels (1 or H, B)."""
    logits, spread = strategy.logits(features), strategy.spread(labels)
    total = strategy.loss(logits, spread, features).sum(-1) / strategy.denominator(spread)
    if strategy.needs_whole_batch:
        statistic = strategy.batch_statistic(logits, spread)
        total = total if statistic is None else total + statistic
    penalty = strategy.regulariser()
    return total if penalty is None else total + penalty


def trainable(strategy: Strategy) -> dict[str, torch.nn.Parameter]:
    """Parameters that are fitted, by name."""
    return {name: parameter for name, parameter in strategy.named_parameters() if parameter.requires_grad}
