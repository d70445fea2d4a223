"""The gradient of one batch for a stack of heads: written down for linear heads and cross-entropy, autograd's for whatever else a strategy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lt_bench.strategies.cross_entropy_shared import cross_entropy_and_residual
from lt_bench.strategies.tensors_shared import at_least_float32, gathered, per_class

if TYPE_CHECKING:
    from lt_bench.strategies.base import Strategy


@dataclass(frozen=True, slots=True)
class Batch:
    """This process's share of a global batch.

    Attributes:
        features: (1, S or H; B; D).
        labels: (H, B).
        labels_of_all: (H, B over all processes).
        rank: of this process.
        world: number of processes.
    """

    features: Tensor
    labels: Tensor
    labels_of_all: Tensor
    rank: int = 0
    world: int = 1


class Gradients:
    """Sets ``.grad`` of every trained parameter of a strategy to the gradient of the global batch's objective, the same on all processes.

    A slot that a strategy leaves as it is has its gradient written down: that of linear logits is a product, that of cross-entropy is softmax - q. Autograd
    sees only the slots that were overridden. The gradient of a linear head lies in buffers that are kept.

    Args:
        strategy: whose slots are looked at; on its device already, its training features attached.
        base: the class that defines the slots.
    """

    def __init__(self, strategy: Strategy, base: type[Strategy]) -> None:
        def overridden(*names: str) -> bool:
            return any(getattr(type(strategy), name) is not getattr(base, name) for name in names)

        self._strategy = strategy
        network = () if strategy.train_split is None else strategy.train_split.trained
        self._trained = [*(parameter for parameter in strategy.parameters() if parameter.requires_grad), *network]
        is_shift = not overridden("transform") or getattr(type(strategy).transform, "is_shift", False)
        self.written_down = is_shift and not overridden("loss", "kernel", "focus", "batch_statistic", "regulariser")
        linear = not overridden("logits") and strategy.weight.requires_grad and strategy.bias.requires_grad
        self.linear = linear and not network  # into a network that is trained too, autograd goes all the way
        self.plain = linear and self.written_down and not overridden("fit_step", "project", "observe")
        self._kept: dict[Tensor, Tensor] = {p: torch.empty_like(p) for p in (strategy.weight, strategy.bias)} if self.linear else {}

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (H, B, K), and this process's share of the objective (H,) without the regulariser, both detached."""
        with torch.set_grad_enabled(not self.linear):
            logits = self._strategy.logits(batch.features)
        objective = self._written(logits, batch) if self.written_down else self._by_autograd(logits, batch)
        if batch.world > 1:
            for parameter in self._trained:
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
        return logits.detach(), objective

    def _written(self, logits: Tensor, batch: Batch) -> Tensor:
        """Gradients where the loss is cross-entropy of shifted logits."""
        strategy = self._strategy
        with torch.no_grad():
            transformed = strategy.transform(at_least_float32(logits.detach()), batch.labels)
            losses, residual = cross_entropy_and_residual(transformed, batch.labels, strategy.smoothing(batch.labels))
            denominator = strategy.denominator(batch.labels_of_all)
            if strategy.class_weight is not None:
                weight = per_class(strategy.class_weight.to(losses.dtype), batch.labels)
                losses.mul_(weight)
                residual.mul_(weight.unsqueeze(-1))
            objective = losses.sum(-1) / denominator
            residual = residual.div_(denominator[:, None, None] if isinstance(denominator, Tensor) else denominator).to(logits.dtype)
            if self.linear:
                self._through_linear(residual, batch.features)
        if not self.linear:
            self._set(torch.autograd.grad(logits, self._trained, residual, allow_unused=True))
        return objective

    def _by_autograd(self, logits: Tensor, batch: Batch) -> Tensor:
        """Gradients where slots of the loss were overridden."""
        strategy = self._strategy
        if self.linear:
            logits.requires_grad_()
        objective = strategy.loss(logits, batch.labels, batch.features).sum(-1) / strategy.denominator(batch.labels_of_all)
        if strategy.needs_whole_batch:
            everything = gathered(logits, batch.rank, batch.world, batch.labels_of_all.shape[-1])
            statistic = strategy.batch_statistic(everything, batch.labels_of_all)
            objective = objective if statistic is None else objective + statistic / batch.world
        penalty = strategy.regulariser()
        total = (objective if penalty is None else objective + penalty / batch.world).sum()
        if not self.linear:
            self._set(torch.autograd.grad(total, self._trained, allow_unused=True))
            return objective.detach()
        residual, *direct = torch.autograd.grad(total, (logits, *self._trained), allow_unused=True)
        with torch.no_grad():
            self._through_linear(residual, batch.features)
            self._set(direct)
        return objective.detach()

    def _set(self, gradients: Sequence[Tensor | None]) -> None:
        """Autograd's part. The fused optimizer reads a gradient in the order of its parameter, so it has to lie in that order."""
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            kept = self._kept.get(parameter)
            if kept is None:
                if gradient is not None and gradient.stride() != parameter.stride():
                    gradient = torch.empty_like(parameter).copy_(gradient)
                parameter.grad = gradient
            elif gradient is not None:
                kept += gradient

    def _through_linear(self, residual: Tensor, features: Tensor) -> None:
        """The gradient of the head's weight and bias, given that for the logits (H, B, K)."""
        for parameter, gradient in self._kept.items():
            parameter.grad = gradient
        weight, bias = self._kept.values()
        H, K, D = weight.shape
        S, B, _ = features.shape
        columns = residual.transpose(1, 2).reshape(S, H // S * K, B)
        torch.bmm(columns, features, out=weight.view(S, H // S * K, D))
        torch.sum(residual, 1, out=bias)
