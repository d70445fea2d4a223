"""The gradient of one batch for a stack of heads: in closed form for linear heads and cross-entropy, by autograd for the rest of a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.core.processes import Processes
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.engine.heads.terms import Terms
from lt_bench.strategies._lib.cross_entropy import CrossEntropy
from lt_bench.strategies._lib.tensors import at_least_float32, inverse_lengths, not_of_short, per_class, product, stacked_linear
from lt_bench.strategies.contract import Batch, Strategy


@dataclass(frozen=True, slots=True)
class Share:
    """This process's share of a global batch.

    Attributes:
        batch: features (1, S or H; B; D), labels (H, B) and rows (H, B); without the leading dimensions for a strategy that is no stack.
        labels: (H, B) of all processes.
        processes: of the fit.
    """

    batch: Batch
    labels: Tensor
    processes: Processes


def trains_head(strategy: Strategy) -> bool:
    """Whether both weight and bias are fitted."""
    return strategy.weight.requires_grad and strategy.bias.requires_grad


class Gradients:
    """Sets ``.grad`` of every trained parameter of a strategy to the gradient of the global batch's objective, the same on all processes.

    Slots that a stackable strategy does not override have gradients in closed form: a product for linear logits, softmax - q for cross-entropy.
    Autograd sees only the overridden slots, and all of a strategy that is no stack. Gradients of a linear head lie in buffers that every step reuses.

    Args:
        strategy: on its device already.
        network: parameters behind the features that are trained too.
    """

    def __init__(self, strategy: Strategy, network: tuple[Tensor, ...] = ()) -> None:
        self._strategy, overrides = strategy, Overrides(type(strategy))
        stacked = strategy.heads is not None
        self._trained = [*(parameter for parameter in strategy.parameters() if parameter.requires_grad), *network]
        self._shifts, self._modulates, self._weighs = overrides.shifts, overrides.modulates, overrides.weighs
        self._further = overrides.further
        own = overrides.own_loss or (strategy.class_weight is not None and strategy.class_weight.requires_grad)
        # A modulation may read the features; autograd then has to reach a network that is trained too.
        self.written_down = stacked and not own and not (network and self._modulates)
        # Row lengths that are trained are left to autograd.
        classifier = () if strategy.classifier is None else tuple(strategy.classifier.parameters())
        self._directions = overrides.directions and strategy.weight.requires_grad and not classifier
        self.linear = stacked and overrides.linear and not network and (self._directions or trains_head(strategy))
        self._spares_logits = self.linear and not overrides.needs_logits
        self._overwrites = self._spares_logits and not self._directions
        self.plain = overrides.plain and self.linear and self.written_down and len(self._trained) == 2
        self._buffers: dict[Tensor, Tensor] = {}
        if self.linear:
            written = (strategy.weight,) if self._directions else (strategy.weight, strategy.bias)
            self._buffers = {parameter: torch.empty_like(parameter) for parameter in written}

    def __call__(self, share: Share) -> tuple[Tensor | None, Tensor]:
        """Logits (H, B, K), None where nothing reads them, and this process's share of the objective (H,) without the regulariser, both detached."""
        if self._directions and self.linear:
            logits, objective = self._through_directions(share)
        elif self.linear:
            logits, objective = self._through_linear(share)
        else:
            logits = self._strategy.logits(share.batch.features)
            objective, terms = self._terms(logits, share)
            self.add(terms.gradients(self._trained))
        if share.processes.world > 1:
            for parameter in self._trained:
                if parameter.grad is not None:
                    share.processes.all_reduce(parameter.grad)
        return None if self._spares_logits else logits.detach(), objective

    def _through_linear(self, share: Share) -> tuple[Tensor, Tensor]:
        """Gradients of a linear head: the gradient for the logits, then one more product with the features."""
        strategy, features = self._strategy, share.batch.features
        with torch.no_grad():
            logits = stacked_linear(features, strategy.weight, strategy.bias)
        objective, residual, direct = self.residual(logits, share)
        with torch.no_grad():
            product(residual, features, strategy.weight.shape, self._buffers[strategy.weight])
            torch.sum(residual, 1, out=self._buffers[strategy.bias])
        self.add(direct)
        return logits, objective

    def _through_directions(self, share: Share) -> tuple[Tensor, Tensor]:
        """Gradients of a head with rows w of a given length: z = (s / ||w||) w.x, so the part of the gradient along w is removed.

        The rows are neither normalised nor copied; the scale multiplies logits and their gradients (H, B, K), not rows (H, K, D).
        """
        strategy, weight, classifier = self._strategy, self._strategy.weight, self._strategy.classifier
        assert classifier is not None
        inputs, length = classifier.inputs(share.batch.features), classifier.row_length()
        with torch.no_grad():
            inverse = inverse_lengths(weight)
            scale = (inverse * length).transpose(1, 2)
            logits = stacked_linear(inputs, weight, None).mul_(scale)
        objective, residual, direct = self.residual(logits, share)
        with torch.no_grad():
            along = torch.linalg.vecdot(residual, logits, dim=1).unsqueeze(-1) * inverse.square()
            product(residual * scale, inputs, strategy.weight.shape, self._buffers[weight]).addcmul_(
                weight, not_of_short(along, inverse), value=-1
            )
        self.add(direct)
        return logits, objective

    def residual(self, logits: Tensor, share: Share) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """This process's share of the objective (H,) of linear logits (H, B, K), its gradient for the logits, and gradients of other trained parameters.

        The gradient overwrites the logits where nothing reads these afterwards.
        """
        objective, terms = self._terms(logits, share)
        residual, *direct = terms.gradients((logits, *self._trained))
        assert residual is not None
        return objective, residual, direct

    def place(self, of_weight: Tensor, of_bias: Tensor) -> None:
        """Use these tensors for the gradients of weight and bias; a shared product fills them before ``add``."""
        self._buffers = {self._strategy.weight: of_weight, self._strategy.bias: of_bias}

    @property
    def beside_head(self) -> list[Tensor]:
        """Gradients of the trained parameters without a buffer, those beside weight and bias."""
        return [p.grad for p in self._trained if p not in self._buffers and p.grad is not None]

    def _terms(self, logits: Tensor, share: Share) -> tuple[Tensor, Terms]:
        """The objective (H,) without the regulariser, and the terms to differentiate, with the gradients for the logits that are known."""
        strategy, terms, world = self._strategy, Terms(), share.processes.world
        if self.linear and not (self.written_down and self._shifts and not self._further):
            logits.requires_grad_()
        objective = self._written(logits, share, terms) if self.written_down else self._left_to_autograd(logits, share, terms)
        if strategy.needs_whole_batch:
            statistic = strategy.batch_statistic(share.processes.gathered(logits, share.labels.shape[-1], -2), share.labels)
            if statistic is not None:
                terms.add((statistic / world).sum())
                objective = objective + statistic.detach() / world
        if self._further:
            penalty = strategy.regulariser()
            if penalty is not None:
                terms.add((penalty / world).sum())
        return objective, terms

    def _left_to_autograd(self, logits: Tensor, share: Share, terms: Terms) -> Tensor:
        """Gradients of a strategy that overrides slots of the loss itself, by autograd."""
        strategy = self._strategy
        objective = strategy.loss(logits, share.batch).sum(-1) / strategy.denominator(share.labels)
        terms.add(objective.sum())
        return objective.detach()

    def _written(self, logits: Tensor, share: Share, terms: Terms) -> Tensor:
        """Gradients of a loss that is a function of cross-entropy: autograd sees at most the transform, and one number per sample."""
        strategy, batch = self._strategy, share.batch
        transformed = self._transformed(logits, batch.labels)
        target = strategy.target(batch.labels)
        with torch.no_grad():
            overwrite = self._overwrites and not (isinstance(target, Tensor) and target.requires_grad)
            entropy = CrossEntropy(transformed.detach(), batch.labels, target, in_place=overwrite)
            losses, denominator = entropy.losses, strategy.denominator(share.labels)
            per_sample = self._per_sample(transformed.detach(), losses.dtype, batch)
        if self._modulates:
            losses.requires_grad_()
            modulated = strategy.modulate(losses, batch)
            objective = (modulated if per_sample is None else modulated * per_sample).sum(-1) / denominator
            slope = terms.slope(objective.sum(), losses, self._trained)
        else:
            objective = (losses if per_sample is None else losses * per_sample).sum(-1) / denominator
            slope = _over(1.0 if per_sample is None else per_sample, denominator)
        with torch.no_grad():
            if isinstance(target, Tensor) and target.requires_grad:
                terms.add(target, (slope * entropy.of_smoothing).to(target).sum_to_size(target.shape))
            residual = entropy.residual(slope.to(losses.dtype) if isinstance(slope, Tensor) else slope)
            if self._shifts:
                terms.known(logits, residual.to(logits.dtype))
            else:
                terms.add(transformed, residual)
        return objective.detach()

    def _transformed(self, logits: Tensor, labels: Tensor) -> Tensor:
        """T of the logits; refuses another shape, and a shift that is trained."""
        strategy = self._strategy
        transformed = strategy.transform(at_least_float32(logits.detach() if self._shifts else logits), labels)
        name = f"{type(strategy).__name__}.transform"
        if transformed.shape != logits.shape:
            raise UserError(
                f"{name} returned a tensor of shape {tuple(transformed.shape)}, expected that of the logits it was given, {tuple(logits.shape)}"
            )
        if self._shifts and transformed.requires_grad:
            raise UserError(f"{name} depends on what is trained, and is marked as a shift, which is constant: leave out @shift")
        return transformed

    def _per_sample(self, transformed: Tensor, dtype: torch.dtype, batch: Batch) -> Tensor | None:
        """The constant factor of each loss (H, B); None for 1."""
        strategy = self._strategy
        of_class = None if strategy.class_weight is None else per_class(strategy.class_weight.to(dtype), batch.labels)
        of_sample = strategy.sample_weight(transformed, batch) if self._weighs else None
        return of_sample if of_class is None else of_class if of_sample is None else of_sample * of_class

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Set ``.grad``: autograd's gradients, added to the buffers where there are any. The fused optimizer needs a gradient in its parameter's memory layout."""
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            buffer = self._buffers.get(parameter)
            if buffer is not None:
                parameter.grad = buffer
                if gradient is not None:
                    buffer += gradient
            else:
                if gradient is not None and gradient.stride() != parameter.stride():
                    gradient = torch.empty_like(parameter).copy_(gradient)
                parameter.grad = gradient


def _over(value: Tensor | float, denominator: Tensor | float) -> Tensor | float:
    return value / (denominator.unsqueeze(-1) if isinstance(denominator, Tensor) else denominator)
