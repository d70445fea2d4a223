"""SGD over a stack of heads, each with its own learning rate, momentum and weight decay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.sgd import sgd

from lt_bench.strategies.recipe import Recipe

Rates = tuple[float, float, float]
"""Learning rate, momentum and weight decay."""
Run = slice | EllipsisType
"""Consecutive heads of a parameter, or all of one that is no stack, which may be a scalar."""


class HeadSGD(SGD):
    """torch's fused SGD on the heads of stacked parameters.

    Every stacked parameter (H, ...) is handed to torch as H slices that share its storage, grouped by (lr, momentum, weight decay), so that a stack
    updates as its heads would alone, in one kernel a group.

    Args:
        parameters: stacked parameters, first dimension H; of any shape where ``heads`` is None.
        recipe: the rates, one value or H of them.
        heads: H, None for a strategy that is no stack.
        relative_rates: factor on the recipe's rate, a number or (H, 1), of each parameter that learns at another rate.
        network: parameters that are no stack, of a network that is fitted with its one head, at the rates of that head.
        captured: keep learning rates on the device, where a captured step reads them.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        recipe: Recipe,
        heads: int | None,
        relative_rates: Mapping[Tensor, float | Tensor] | None = None,
        *,
        network: Iterable[Tensor] = (),
        captured: bool = False,
    ) -> None:
        self._trained = [parameter for parameter in parameters if parameter.requires_grad]
        self._slices: list[tuple[Tensor, Tensor, Run]] = []
        options = [
            self._group(rates, [self._view(parameter, run) for parameter, run in members], recipe, captured)
            for rates, members in _members(self._trained, recipe, heads, relative_rates or {}, tuple(network)).items()
        ]
        self._seen: list[Tensor | None] = [None] * len(self._slices)
        self._lists: list[tuple[list[Tensor], list[Tensor], list[Tensor | None]]] = []
        super().__init__(options, lr=0.1, fused=True)

    def _group(self, rates: Rates, views: list[Tensor], recipe: Recipe, captured: bool) -> dict[str, Any]:
        """A parameter group of torch's."""
        lr, momentum, weight_decay = rates
        nesterov = recipe.nesterov and momentum > 0  # without momentum there is nothing to look ahead to
        rate = torch.tensor(lr, device=views[0].device) if captured else lr
        return {"params": views, "lr": rate, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov, "initial_lr": lr}

    def _view(self, parameter: Tensor, run: Run) -> Tensor:
        view = parameter.detach()[run]
        self._slices.append((parameter, view, run))
        return view

    def scale(self, factor: float) -> None:
        """Set every learning rate to ``factor`` times that of its recipe."""
        for group in self.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["initial_lr"] * factor)
            else:
                group["lr"] = group["initial_lr"] * factor

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every head from the gradients of the stacked parameters."""
        loss = None if closure is None else closure()
        self.update()
        return loss

    def update(self) -> None:
        """``step`` without torch's hooks and profiler marks, which cost more than the update of a small head; call it without gradients."""
        changed = False
        for number, (parameter, view, run) in enumerate(self._slices):
            if parameter.grad is not self._seen[number]:  # a gradient that is kept in place is sliced once
                self._seen[number], changed = parameter.grad, True
                view.grad = None if parameter.grad is None else parameter.grad[run]
        if changed or not self._lists:
            self._lists = [self._listed(group) for group in self.param_groups]
        for group, (views, gradients, momenta) in zip(self.param_groups, self._lists, strict=True):
            sgd(
                views, gradients, momenta, fused=True, lr=group["lr"], momentum=group["momentum"], weight_decay=group["weight_decay"],
                dampening=0.0, nesterov=group["nesterov"], maximize=False,
            )  # fmt: skip
            if group["momentum"] != 0 and changed:
                for view, momentum in zip(views, momenta, strict=True):
                    self.state[view]["momentum_buffer"] = momentum

    def _listed(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
        """Arguments of torch's functional SGD for a group: the parameters with a gradient, the gradients, and the momenta (None before the first step)."""
        views = [view for view in group["params"] if view.grad is not None]
        return views, [view.grad for view in views], [self.state[view].get("momentum_buffer") for view in views]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self._trained:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()


def _members(
    trained: list[Tensor], recipe: Recipe, heads: int | None, relative: Mapping[Tensor, float | Tensor], network: tuple[Tensor, ...]
) -> dict[Rates, list[tuple[Tensor, Run]]]:
    """Parts of the parameters, grouped by learning rate, momentum and weight decay."""
    rates: list[Rates] = list(zip(*(recipe.per_head(name, heads or 1) for name in ("lr", "momentum", "weight_decay")), strict=True))
    groups: dict[Rates, dict[Tensor, list[int]]] = defaultdict(lambda: defaultdict(list))
    for parameter in trained:
        factors = torch.as_tensor(relative.get(parameter, 1.0), dtype=torch.float64).flatten().expand(heads or 1).tolist()
        for head, ((lr, momentum, weight_decay), factor) in enumerate(zip(rates, factors, strict=True)):
            groups[lr * factor, momentum, weight_decay][parameter].append(head)
    if network:
        groups[rates[0]]  # there is such a group, even where no parameter of the head learns at the recipe's rate
    members: dict[Rates, list[tuple[Tensor, Run]]] = {}
    for key, parameters in groups.items():
        members[key] = [(p, run) for p, of in parameters.items() for run in ([...] if heads is None else _runs(p, of))]
        if key == rates[0]:
            members[key] += [(parameter, ...) for parameter in network]
    return members


def _runs(parameter: Tensor, members: list[int]) -> list[slice]:
    """Maximal runs of consecutive head numbers, so that heads with equal rates are updated as one block; single ones where heads do not lie next to each other."""
    runs: list[slice] = []
    for head in members:
        if runs and runs[-1].stop == head and parameter.is_contiguous():
            runs[-1] = slice(runs[-1].start, head + 1)
        else:
            runs.append(slice(head, head + 1))
    return runs
