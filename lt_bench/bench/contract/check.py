"""``lt-bench check``: the contract that every strategy keeps, tried on small invented data; says in plain words what fails."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor, nn

from lt_bench.bench.contract.resume import resumes
from lt_bench.bench.contract.subject import (
    COUNTS,
    BrokenError,
    build,
    default,
    fit,
    objective,
    problem,
    require,
    restart,
    trainable,
    varied,
)
from lt_bench.bench.options import CheckOptions
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.engine.heads.gradients import Batch, Gradients
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import Entry, find

HEADS = 3


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what it asks for, and what is wrong (None where nothing is)."""

    check: str
    asks: str
    problem: str | None


def check(options: CheckOptions) -> None:
    """Print what holds and what does not.

    Raises:
        UserError: no such strategy, or it breaks the contract.
    """
    if not options.strategy:
        raise UserError("check needs a strategy: a name, or the dotted path of your own, e.g. my_pkg.my_module.MyHead")
    findings = check_strategy(find(options.strategy))
    console = Console(highlight=False)
    for finding in findings:
        console.print(f"  {'ok    ' if finding.problem is None else 'FAILED'}  {finding.asks}", markup=False, soft_wrap=True)
        if finding.problem is not None:
            console.print(f"          {finding.problem}", markup=False, soft_wrap=True)
    failed = sum(finding.problem is not None for finding in findings)
    if failed:
        raise UserError(
            f"{options.strategy}: {failed} of {len(findings)} checks failed, see above; the contract is lt_bench/strategies/contract.py"
        )
    console.print(f"{options.strategy} keeps the contract: {len(findings)} checks", markup=False, soft_wrap=True)


def check_strategy(entry: Entry) -> list[Finding]:
    """All checks that concern a strategy of its kind of fitting."""
    return [check_one(entry, name) for name in checks_of(entry)]


def checks_of(entry: Entry) -> tuple[str, ...]:
    """Names of the checks that concern the strategy."""
    return tuple(CHECKS) if entry.fitting == "sgd" else tuple(name for name in CHECKS if CHECKS[name] in ANY_FITTING)


def check_one(entry: Entry, name: str) -> Finding:
    """Run one check; what the strategy raises is part of the finding."""
    function = CHECKS[name]
    asks = (function.__doc__ or name).strip().splitlines()[0]
    try:
        with torch.random.fork_rng(devices=[]):
            function(entry)
    except BrokenError as error:
        return Finding(name, asks, str(error))
    except (UserError, *FAILURES_OF_CODE) as error:
        return Finding(name, asks, described(error))
    return Finding(name, asks, None)


# ---- values --------------------------------------------------------------------------------------------------------------------------------------


def grid_and_settings(entry: Entry) -> None:
    """The grid and the settings name hyper-parameters that exist, with values that are accepted."""
    on = problem()
    for name, values in entry.grid.items():
        for value in values:
            build(entry, on, torch.float32, default(entry, **{name: value}))
    for dataset in entry.settings:
        build(entry, on, torch.float32, [HeadJob(entry, entry.resolve(dataset), 0)])


# ---- loss ----------------------------------------------------------------------------------------------------------------------------------------


def per_sample(entry: Entry) -> None:
    """The loss has one value per sample: (B,) for logits (B, K), and (H, B) for a stack (H, B, K)."""
    for heads in (1, HEADS):
        on = problem(heads=heads)
        features, labels = on.sample(6, torch.float32)
        strategy = build(entry, on, torch.float32)
        logits = strategy.logits(features.unsqueeze(0))
        require_shape("logits of features (1, B, D)", logits, (heads, 6, len(COUNTS)))
        restart(strategy, tuple(range(heads)))
        stacked = strategy.loss(logits, labels.expand(heads, -1), features.unsqueeze(0))
        require_shape(f"the loss of logits (H, B, K) = {tuple(logits.shape)}", stacked, (heads, 6))
        if heads == 1:
            restart(strategy)
            single = strategy.loss(logits[0], labels, features)
            require_shape(f"the loss of logits (B, K) = {tuple(logits[0].shape)}", single, (6,))
            require_close("the loss of (B, K) and of the same in a stack of one", single, stacked[0], 1e-6)


def gradients(entry: Entry) -> None:
    """Gradients agree with finite differences in float64, before the first step and after a fit."""
    on = problem()
    features, labels = on.sample(9, torch.float64)
    fresh = build(entry, on, torch.float64)
    require(len(trainable(fresh)) > 0, 'nothing has requires_grad; a strategy that fits nothing says fitting = "none"')
    for when, strategy in (("before the first step", fresh), ("after a fit", fit(on, varied(entry, 1), torch.float64).strategy)):
        parameters = trainable(strategy)
        constant_focus(strategy, features, labels)

        def value(strategy: Strategy = strategy) -> Tensor:
            restart(strategy)
            return objective(strategy, features.unsqueeze(0), labels.unsqueeze(0)).sum()

        found = torch.autograd.grad(value(), list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
            require(
                gradient is not None,
                f"{when}, {name} is trainable but the loss does not depend on it; freeze it with requires_grad_(False)",
            )
            assert gradient is not None
            direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
            slope = slope_along(value, parameter, direction)
            analytic = float((gradient * direction).sum())
            require(
                math.isclose(slope, analytic, rel_tol=1e-4, abs_tol=1e-6),
                f"{when}, the gradient with respect to {name} is {analytic:.6g} along a direction, finite differences give {slope:.6g}",
            )


def gradient_of_a_step(entry: Entry) -> None:
    """What a step takes for the gradient is the gradient of the loss: nothing is trained, or left out, past the slots that say so."""
    on = problem()
    features, labels = on.sample(9, torch.float64)
    strategy = build(entry, on, torch.float64)
    parameters = trainable(strategy)
    restart(strategy)
    expected = torch.autograd.grad(
        objective(strategy, features.unsqueeze(0), labels.unsqueeze(0)).sum(), list(parameters.values()), allow_unused=True
    )
    restart(strategy)
    Gradients(strategy, Strategy)(Batch(features.unsqueeze(0), labels.unsqueeze(0), labels.unsqueeze(0)))
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        if gradient is not None:
            found = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
            require_close(f"the gradient of a step with respect to {name} and that of the loss", found, gradient, 1e-6)


def slope_along(value: Callable[[], Tensor], parameter: nn.Parameter, direction: Tensor, step: float = 1e-6) -> float:
    """Central difference of ``value`` along ``direction``; the parameter is put back."""
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(start + step * direction)
        above = value()
        parameter.copy_(start - step * direction)
        below = value()
        parameter.copy_(start)
    return float((above - below) / (2 * step))


def constant_focus(strategy: Strategy, features: Tensor, labels: Tensor) -> None:
    """Where the focusing factor is meant to be a constant for the gradient (it has none), hold it, or finite differences would see it move."""
    restart(strategy)
    logits = strategy.transform(strategy.logits(features.unsqueeze(0)), labels.unsqueeze(0))
    focus = strategy.focus(logits, labels.unsqueeze(0), features.unsqueeze(0))
    if focus is not None and not focus.requires_grad:
        strategy.focus = lambda logits, labels, features: focus


def stack_of_three(entry: Entry) -> None:
    """A stack of three heads with different hyper-parameters, seeds and batches is fitted as the three would be alone."""
    on = problem(heads=HEADS)
    jobs = varied(entry, HEADS)
    together = fit(on, jobs, torch.float64).strategy
    features, _ = on.sample(6, torch.float64)
    for head, job in enumerate(jobs):
        alone = fit(on, [job], torch.float64).strategy
        for name, parameter in alone.named_parameters():
            stacked = tuple(dict(together.named_parameters())[name].shape)
            require(
                stacked[:1] == (HEADS,) and tuple(parameter.shape) == (1, *stacked[1:]),
                f"{name} has shape {stacked} in a stack of {HEADS} heads: every parameter needs one entry for each head in its first dimension (self.heads)",
            )
            require_close(
                f"{name} of head {head} fitted in a stack and alone", dict(together.named_parameters())[name][head], parameter[0], 1e-7
            )
        with torch.no_grad():
            require_close(
                f"the logits of head {head} in a stack and alone",
                together.inference_head(head)(features),
                alone.inference_head()(features),
                1e-7,
            )


# ---- sizes and numbers ---------------------------------------------------------------------------------------------------------------------------


def half_precision(entry: Entry) -> None:
    """float32 and bfloat16 give finite losses and gradients that agree with float64."""
    on = problem()
    values = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        features, labels = on.sample(8, dtype)
        values[dtype] = step_through(build(entry, on, dtype), features, labels, f"in {dtype}")
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        require_close(f"the objective in {dtype} and in float64", values[dtype], values[torch.float64], tolerance)


def sizes(entry: Entry) -> None:
    """Two classes and a thousand, equal class counts, and a class with one sample give finite losses and gradients."""
    for name, counts, dim in (
        ("K = 2", (5, 2), 3),
        ("K = 1000", (3, 2) * 500, 2),
        ("equal class counts", (6, 6, 6), 3),
        ("one sample each", (1, 1), 2),
    ):
        on = problem(counts, dim)
        features, labels = on.sample(7, torch.float32)
        strategy = build(entry, on, torch.float32)
        step_through(strategy, features, labels, f"with {name}")
        end_epoch(strategy, features, labels)
        step_through(strategy, features, labels, f"with {name}, in the second epoch")


def batches(entry: Entry) -> None:
    """A batch of one, a class that is not in the batch, and an empty share of a batch are taken as they come."""
    on = problem()
    for name, size, absent in (("in a batch of one", 1, None), ("where a class is not in the batch", 6, 0)):
        features, labels = on.sample(size, torch.float32, absent)
        step_through(build(entry, on, torch.float32), features, labels, name)
    strategy = build(entry, on, torch.float32)
    features, labels = on.sample(6, torch.float32)
    strategy.draws.share(1, 1, 2)
    nothing = strategy.loss(strategy.logits(features[:0].unsqueeze(0)), labels[:0].unsqueeze(0), features[:0].unsqueeze(0))
    require_shape("the loss of an empty share (1, 0, K)", nothing, (1, 0))
    nothing.sum().backward()
    strategy.observe(strategy.logits(features[:0].unsqueeze(0)).detach(), labels[:0].unsqueeze(0))
    end_epoch(strategy, features, labels)


def extreme_logits(entry: Entry) -> None:
    """Logits of 10,000 in either direction give finite losses and gradients."""
    on = problem()
    strategy = build(entry, on, torch.float32)
    features, labels = on.sample(8, torch.float32)
    for scale in (1e4, -1e4):
        logits = (scale * nn.functional.one_hot(labels, len(COUNTS)).float()).unsqueeze(0).requires_grad_()
        restart(strategy)
        losses = strategy.loss(logits, labels.unsqueeze(0), features.unsqueeze(0))
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        direction = "right" if scale > 0 else "wrong"
        require(losses.isfinite().all(), f"a very sure, {direction} prediction gives a loss of {losses.max():g}")
        require(gradient.isfinite().all(), f"a very sure, {direction} prediction gives a gradient that is not finite")


def saved_and_restored(entry: Entry) -> None:
    """A fit that is saved half way and taken up again by another process ends in the same head."""
    resumes(entry)


# ---- after the fit -------------------------------------------------------------------------------------------------------------------------------


def fits(entry: Entry) -> None:
    """A fit changes what is trainable and nothing else, and no loss of it is NaN."""
    on = problem()
    before = build(entry, on, torch.float32)
    fitted = fit(on, default(entry))
    after = dict(fitted.strategy.named_parameters())
    for name, parameter in before.named_parameters():
        moved = not torch.equal(parameter, after[name])
        require(moved == parameter.requires_grad, f"{name} is {'frozen but moved' if moved else 'trainable but did not move'} in a fit")
    require(all(math.isfinite(row["loss"]) for row in fitted.history[0]), "the training loss is not finite")


def inference_head(entry: Entry) -> None:
    """The head is a plain module from (B, D) to (B, K) that can be saved, is not trainable, and needs nothing of the suite's training."""
    for counts, dim in ((COUNTS, 3), ((5, 2), 3), ((2, 1) * 500, 2), ((6, 6, 6), 3)):
        on = problem(counts, dim)
        strategy = build(entry, on, torch.float32)
        if entry.fitting == "solve":
            strategy.solve(on.train)
        module, features = strategy.inference_head(), on.sample(5, torch.float32)[0]
        for part in module.modules():
            require(
                not isinstance(part, Strategy), "inference_head returns a strategy; return nn.Linear, or a plain module that holds tensors"
            )
        logits = module(features)
        require_shape(f"the logits of features {tuple(features.shape)}", logits, (5, len(counts)))
        require(logits.isfinite().all(), f"with {len(counts)} classes the head gives logits that are not finite")
        require(not logits.requires_grad, "the head is still trainable; detach it (linear_head does)")
        if entry.fitting == "sgd" and type(strategy).inference_head is Strategy.inference_head:
            what = "logits that are trained and those of the base's inference_head, which needs an override of its own where logits or inputs have one,"
            require_close(what, strategy.logits(features.unsqueeze(0))[0].detach(), logits, 1e-4)
        stored = io.BytesIO()
        torch.save(module.state_dict(), stored)
        classifier = strategy.per_head_classifier()
        require(classifier is None or tuple(classifier.shape) == (len(counts), dim), "per_head_classifier is neither None nor (K, D)")


# ---- helpers -------------------------------------------------------------------------------------------------------------------------------------


def step_through(strategy: Strategy, features: Tensor, labels: Tensor, when: str) -> Tensor:
    """The objective of one batch and its gradients; refuses what is not finite."""
    restart(strategy)
    value = objective(strategy, features.unsqueeze(0), labels.unsqueeze(0))
    require_shape(f"{when}, the objective per head", value, (1,))
    require(value.isfinite().all(), f"{when}, the loss is {value.item():g}")
    parameters = trainable(strategy)
    for name, gradient in zip(parameters, torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True), strict=True):
        require(gradient is None or gradient.isfinite().all(), f"{when}, the gradient with respect to {name} is not finite")
    return value.detach()


def end_epoch(strategy: Strategy, features: Tensor, labels: Tensor) -> None:
    """What the engine does at the end of an epoch of one batch."""
    with torch.no_grad():
        strategy.observe(strategy.logits(features.unsqueeze(0)), labels.unsqueeze(0))
        strategy.end_epoch(0)
        strategy.project("step")
        strategy.project("epoch")


def require_shape(what: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """Refuse another shape."""
    require(tuple(tensor.shape) == expected, f"{what} has shape {tuple(tensor.shape)}, expected {expected}")


def require_close(what: str, one: Tensor, other: Tensor, tolerance: float) -> None:
    """Refuse values that differ by more than ``tolerance``, relative to the larger of 1 and their size."""
    one, other = one.detach().double(), other.detach().double()
    gap = float(((one - other).abs() / other.abs().clamp_min(1)).amax()) if one.numel() else 0.0
    require(gap <= tolerance, f"{what} differ by {gap:.2g}, allowed is {tolerance:g}")


CHECKS: dict[str, Callable[[Entry], None]] = {
    function.__name__: function
    for function in (
        grid_and_settings, per_sample, gradients, gradient_of_a_step, stack_of_three, half_precision, sizes, batches, extreme_logits, saved_and_restored, fits, inference_head,
    )
}  # fmt: skip
ANY_FITTING = (grid_and_settings, stack_of_three, inference_head)
"""Checks that also concern strategies without batches."""
