"""The checks of the contract, one function each; the first line of its docstring says what it asks for."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from lt_bench.bench.contract.subject import (
    COUNTS,
    Problem,
    build,
    fit,
    fit_plainly,
    job,
    problem,
    require,
    require_close,
    require_same_head,
    require_shape,
    restart,
    trainable,
    varied_fits,
    with_empty_class,
)
from lt_bench.core.errors import FAILURES_OF_CODE, described
from lt_bench.engine.heads.fit import Fitted
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.contract import Batch, Strategy
from lt_bench.strategies.entry import Entry

# ---- values --------------------------------------------------------------------------------------------------------------------------------------


def grid_and_settings(entry: Entry) -> None:
    """The grid and the settings name hyper-parameters that exist, with values that are accepted."""
    on = problem()
    for name, values in entry.grid.items():
        for value in values:
            build(entry, on, torch.float32, [job(entry, **{name: value})])
    for dataset in entry.settings:
        build(entry, on, torch.float32, [HeadJob(entry, entry.resolve(dataset), 0)])


# ---- the fit -------------------------------------------------------------------------------------------------------------------------------------


def plain_trainer(entry: Entry) -> None:
    """A plain Trainer of Lightning trains one head, and its loss is finite."""
    _, rows = fit_plainly(problem(), job(entry), torch.float32)
    require(len(rows) > 0 and all(math.isfinite(row["loss"]) for row in rows), "the training loss of a plain Trainer is not finite")


def fast_as_plain(entry: Entry) -> None:
    """The engine's fast fit ends where the plain Trainer ends, in float64, with every hyper-parameter varied."""
    on = problem()
    for fitted in varied_fits(entry):
        plain, _ = fit_plainly(on, fitted.jobs[0], torch.float64)
        require_same_head("fitted by the engine and by a plain Trainer", fitted.head(), plain, on, 1e-9)


def stack(entry: Entry) -> None:
    """Heads of a stack, each with another value of one hyper-parameter, are fitted as they would be alone (stackable = True)."""
    on, alone = problem(), varied_fits(entry)
    jobs = [fitted.jobs[0] for fitted in alone]
    _require_as_alone(on, jobs, alone)
    of_one_order = [jobs[0], replace(jobs[-1], repetition=jobs[0].repetition)]
    _require_as_alone(on, of_one_order, [alone[0], fit(on, of_one_order[1:], torch.float64)[0]])


def _require_as_alone(on: Problem, jobs: Sequence[HeadJob], alone: Sequence[Fitted]) -> None:
    advice = "in a stack a hyper-parameter that differs between heads is a tensor (H, 1), and parameters have a leading H (self.leading); write for that, or leave out stackable = True"
    try:
        stacked_fit = fit(on, jobs, torch.float64)[0]
    except FAILURES_OF_CODE as error:
        require(False, f"{described(error)}; {advice}")
        raise
    for number, single in enumerate(alone):
        for name, stacked in stacked_fit.strategy.named_parameters():
            shape = tuple(dict(single.strategy.named_parameters())[name].shape)
            require(
                tuple(stacked.shape[:1]) == (len(jobs),) and shape == (1, *stacked.shape[1:]),
                f"{name} has shape {tuple(stacked.shape)} in a stack of {len(jobs)} heads: {advice}",
            )
        require_same_head(f"of head {number} fitted in a stack and alone", stacked_fit.head(number), single.head(), on, 1e-7)


def fits(entry: Entry) -> None:
    """A fit changes what is trainable and nothing else, and no loss of it is NaN."""
    on = problem()
    before, fitted = build(entry, on, torch.float32), fit(on, [job(entry)])[0]
    after = dict(fitted.head().named_parameters())
    for name, parameter in before.named_parameters():
        moved = not torch.equal(parameter, after[name])
        require(moved == parameter.requires_grad, f"{name} is {'frozen but moved' if moved else 'trainable but did not move'} in a fit")
    require(all(math.isfinite(row["loss"]) for row in fitted.history[0]), "the training loss is not finite")


# ---- loss ----------------------------------------------------------------------------------------------------------------------------------------


def per_sample(entry: Entry) -> None:
    """The loss has one value per sample, (B,) for logits (B, K)."""
    on = problem()
    batch, strategy = on.batch(6, torch.float32), build(entry, on, torch.float32)
    logits = strategy.logits(batch.features)
    require_shape("logits of features (B, D)", logits, (6, len(COUNTS)))
    require_shape(f"the loss of logits (B, K) = {tuple(logits.shape)}", strategy.loss(logits, batch), (6,))


def gradients(entry: Entry) -> None:
    """Gradients agree with finite differences in float64, before the first step and after a fit."""
    on = problem()
    batch, fresh = on.batch(9, torch.float64), build(entry, on, torch.float64)
    require(len(trainable(fresh)) > 0, 'nothing has requires_grad; a strategy that fits nothing says fitting = "none"')
    fitted = fit(on, [job(entry)], torch.float64)[0].head()
    fitted.source = on.train
    for when, strategy in (("before the first step", fresh), ("after a fit", fitted)):
        _hold_constants(strategy, batch)
        value, parameters = partial(_objective, strategy, batch), trainable(strategy)
        slopes = torch.autograd.grad(value(), list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), slopes, strict=True):
            if gradient is None:
                require(False, f"{when}, {name} is trainable but the loss does not depend on it; freeze it with requires_grad_(False)")
                continue
            direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
            slope, analytic = _slope_along(value, parameter, direction), float((gradient * direction).sum())
            close = math.isclose(slope, analytic, rel_tol=1e-4, abs_tol=1e-6)
            require(
                close,
                f"{when}, the gradient with respect to {name} is {analytic:.6g} along a direction, finite differences give {slope:.6g}",
            )


def extreme_logits(entry: Entry) -> None:
    """Logits of 10,000 in either direction give finite losses and gradients."""
    on = problem()
    strategy, batch = build(entry, on, torch.float32), on.batch(8, torch.float32)
    for scale, direction in ((1e4, "right"), (-1e4, "wrong")):
        logits = (scale * nn.functional.one_hot(batch.labels, len(COUNTS)).float()).requires_grad_()
        restart(strategy)
        losses = strategy.loss(logits, batch)
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        require(losses.isfinite().all(), f"a very sure, {direction} prediction gives a loss of {losses.max():g}")
        require(gradient.isfinite().all(), f"a very sure, {direction} prediction gives a gradient that is not finite")


# ---- sizes and numbers ---------------------------------------------------------------------------------------------------------------------------


def half_precision(entry: Entry) -> None:
    """float32 and bfloat16 give finite losses and gradients that agree with float64."""
    on = problem()
    values = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        values[dtype] = _step_through(build(entry, on, dtype), on.batch(8, dtype), f"in {dtype}")
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        require_close(f"the objective in {dtype} and in float64", values[dtype], values[torch.float64], tolerance)


def sizes(entry: Entry) -> None:
    """Two classes and a thousand, equal class counts, and a class with one sample give finite losses and gradients."""
    cases = (("K = 2", (5, 2), 3), ("K = 1000", (3, 2) * 500, 2), ("equal class counts", (6, 6, 6), 3), ("one sample each", (1, 1), 2))
    for name, counts, dim in cases:
        on = problem(counts, dim)
        strategy, batch = build(entry, on, torch.float32), on.batch(7, torch.float32)
        _step_through(strategy, batch, f"with {name}")
        _end_epoch(strategy, batch)
        _step_through(strategy, batch, f"with {name}, in the second epoch")


def batches(entry: Entry) -> None:
    """A batch of one, a class that is not in the batch, and an empty share of a batch are taken as they come."""
    on = problem()
    for name, size, absent in (("in a batch of one", 1, None), ("where a class is not in the batch", 6, 0)):
        _step_through(build(entry, on, torch.float32), on.batch(size, torch.float32, absent), name)
    strategy, batch = build(entry, on, torch.float32), on.batch(6, torch.float32)
    strategy.draws.share(1, 1, 2)
    empty = Batch(batch.features[:0], batch.labels[:0], batch.rows[:0])
    losses = strategy.loss(strategy.logits(empty.features), empty)
    require_shape("the loss of an empty share (0, K)", losses, (0,))
    losses.sum().backward()
    strategy.observe(strategy.logits(empty.features).detach(), empty)
    _end_epoch(strategy, batch)


# ---- after the fit -------------------------------------------------------------------------------------------------------------------------------


def inference_head(entry: Entry) -> None:
    """The fitted head is a plain module from (B, D) to (B, K) that gives the logits that were trained, can be saved and is not trainable."""
    large_batches = {"epochs": 1, "batch_size": 250} if entry.fitting == "sgd" else {}
    for counts, dim, short in ((COUNTS, 3, {}), ((5, 2), 3, {}), ((2, 1) * 500, 2, large_batches), ((6, 6, 6), 3, {})):
        on = problem(counts, dim)
        strategy = fit(on, [job(entry, **short)])[0].head()
        _check_module(strategy, on, len(counts))
        if entry.fitting == "sgd":
            features = on.batch(5, torch.float32).features
            what = "logits of the fitted strategy and those of its inference_head, which needs an override of its own where logits are overridden,"
            with torch.no_grad():
                require_close(what, _unadjusted(strategy).inference_head()(features), strategy.logits(features), 1e-4)


def empty_class(entry: Entry) -> None:
    """A class without training rows is never predicted, and leaves the logits of all others as they are."""
    on = problem()
    features = on.batch(12, torch.float64).features
    logits = fit(on, [job(entry)], torch.float64)[0].module()(features)
    for number in (0, 2, len(COUNTS)):
        others = fit(with_empty_class(on, number), [job(entry)], torch.float64)[0].module()(features)
        remaining = [c for c in range(len(COUNTS) + 1) if c != number]
        require_shape("the logits beside a class without training rows", others, (12, len(COUNTS) + 1))
        require(others[:, number].eq(-math.inf).all(), f"class {number} has no training rows, and a logit of {float(others[0, number]):g}")
        require_close("the logits with and without another class that has no training rows", others[:, remaining], logits, 1e-9)


def _unadjusted(strategy: Strategy) -> Strategy:
    """A head without its adjustment at inference."""
    if strategy.at_inference is None:
        return strategy
    cls = type(strategy)
    bare = type(cls.__name__, (cls,), {"name": cls.name, "at_inference": None})(strategy.facts, **strategy.given)
    bare.load_state_dict(strategy.state_dict(), strict=False)
    return bare


def _check_module(strategy: Strategy, on: Problem, num_classes: int) -> None:
    module, features = strategy.inference_head(), on.batch(5, torch.float32).features
    for part in module.modules():
        require(not isinstance(part, Strategy), "inference_head returns a strategy; return nn.Linear, or a plain module that holds tensors")
    logits = module(features)
    require_shape(f"the logits of features {tuple(features.shape)}", logits, (5, num_classes))
    require(logits.isfinite().all(), f"with {num_classes} classes the head gives logits that are not finite")
    require(not logits.requires_grad, "the head is still trainable; detach it (linear_head does)")
    torch.save(module.state_dict(), io.BytesIO())
    rows = strategy.classifier_rows()
    require(rows is None or tuple(rows.shape) == (num_classes, on.facts.dim), "classifier_rows is neither None nor (K, D)")


# ---- helpers -------------------------------------------------------------------------------------------------------------------------------------


def _objective(strategy: Strategy, batch: Batch) -> Tensor:
    """The objective of a step, with the same random numbers every time."""
    restart(strategy)
    batch = strategy.augment(batch)
    return strategy.objective(strategy.logits(batch.features), batch)


def _slope_along(value: Callable[[], Tensor], parameter: nn.Parameter, direction: Tensor, step: float = 1e-6) -> float:
    """Central difference of ``value`` along ``direction``; the parameter is put back."""
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(start + step * direction)
        above = value()
        parameter.copy_(start - step * direction)
        below = value()
        parameter.copy_(start)
    return float((above - below) / (2 * step))


def _hold_constants(strategy: Strategy, batch: Batch) -> None:
    """Freeze the factors that gradients treat as constants, since finite differences would otherwise vary them."""
    with torch.enable_grad():
        restart(strategy)
        logits = strategy.logits(batch.features)
        transformed = strategy.transform(logits, batch.labels)
        weight = strategy.sample_weight(transformed, batch)
        losses = strategy.kernel(transformed.detach(), batch.labels).detach().requires_grad_()
        modulated = strategy.modulate(losses, batch)
    if getattr(type(strategy).transform, "is_shift", False):
        shift = (transformed - logits).detach()
        object.__setattr__(strategy, "transform", lambda logits, labels: logits + shift)
    if weight is not None and not weight.requires_grad:
        object.__setattr__(strategy, "sample_weight", lambda logits, batch: weight)
    if modulated is not losses and modulated.requires_grad and _is_scaled(losses, modulated):
        factor = (modulated / losses.clamp_min(1e-300)).detach()
        object.__setattr__(strategy, "modulate", lambda losses, batch: losses * factor)


def _is_scaled(losses: Tensor, modulated: Tensor) -> bool:
    """Whether ``modulated`` is ``losses`` times constants: its derivative is then the ratio of the two."""
    (slope,) = torch.autograd.grad(modulated.sum(), losses, retain_graph=True)
    return bool(torch.allclose(slope * losses, modulated.detach(), rtol=1e-9, atol=1e-12))


def _step_through(strategy: Strategy, batch: Batch, when: str) -> Tensor:
    """The objective of one batch; refuses an objective or gradients that are not finite."""
    value = _objective(strategy, batch)
    require_shape(f"{when}, the objective", value, ())
    require(value.isfinite(), f"{when}, the loss is {value.item():g}")
    parameters = trainable(strategy)
    for name, gradient in zip(parameters, torch.autograd.grad(value, list(parameters.values()), allow_unused=True), strict=True):
        require(gradient is None or gradient.isfinite().all(), f"{when}, the gradient with respect to {name} is not finite")
    return value.detach()


def _end_epoch(strategy: Strategy, batch: Batch) -> None:
    """The end of an epoch of one batch, as in a fit."""
    with torch.no_grad():
        strategy.observe(strategy.logits(batch.features), batch)
        strategy.end_epoch(0)
        strategy.project("step")
        strategy.project("epoch")
