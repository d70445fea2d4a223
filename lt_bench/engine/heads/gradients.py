"""The gradient of one batch for a stack of heads: written down for linear heads and cross-entropy, autograd's for whatever else a strategy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.engine.heads.overrides import Slots
from lt_bench.engine.heads.terms import Terms, total
from lt_bench.strategies._lib.cross_entropy import CrossEntropy
from lt_bench.strategies._lib.tensors import at_least_float32, gathered, inverse_lengths, not_of_short, per_class, stacked_linear

if TYPE_CHECKING:
    from lt_bench.strategies.contract import Strategy


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


def trains_head(strategy: Strategy) -> bool:
    """Whether both weight and bias are fitted."""
    return strategy.weight.requires_grad and strategy.bias.requires_grad


class Gradients:
    """Sets ``.grad`` of every trained parameter of a strategy to the gradient of the global batch's objective, the same on all processes.

    A slot that a strategy leaves as it is has its gradient written down: that of linear logits is a product, that of cross-entropy is softmax - q. Autograd
    sees only the slots that were overridden. The gradient of a linear head lies in buffers that are kept.

    Args:
        strategy: whose slots are looked at; on its device already, its training features attached.
        base: the class that defines the slots.
    """

    def __init__(self, strategy: Strategy, base: type[Strategy]) -> None:
        self._strategy, slots = strategy, Slots(type(strategy), base)
        network = () if strategy.train_split is None else strategy.train_split.trained
        self._trained = [*(parameter for parameter in strategy.parameters() if parameter.requires_grad), *network]
        self._shifts, self._shapes, self._further, self._weighs = slots.shifts, slots.shapes, slots.further, slots.weighs
        own = slots.own_loss or (strategy.class_weight is not None and strategy.class_weight.requires_grad)
        # Into a network that is trained too, autograd goes all the way; and what looks at its features is autograd's.
        self.written_down = not own and not (network and self._shapes)
        self._maps = slots.maps
        self._directions = slots.directions and strategy.weight.requires_grad and strategy.row_length() is not None
        self.linear = slots.linear and not network and (self._maps or self._directions or trains_head(strategy))
        self._spares_logits = self.linear and not slots.looks
        self._overwrites = self._spares_logits and not self._directions
        self.plain = slots.plain and self.linear and self.written_down and len(self._trained) == 2
        self._kept: dict[Tensor, Tensor] = {}
        if self.linear and not self._maps:
            written = (strategy.weight,) if self._directions else (strategy.weight, strategy.bias)
            self._kept = {parameter: torch.empty_like(parameter) for parameter in written}

    def __call__(self, batch: Batch) -> tuple[Tensor | None, Tensor]:
        """Logits (H, B, K), None where nothing looks at them, and this process's share of the objective (H,) without the regulariser, both detached."""
        if self._directions and self.linear:
            logits, objective = self._through_directions(batch)
        elif self.linear:
            logits, objective = self._through_linear(batch)
        else:
            logits = self._strategy.logits(batch.features)
            objective, terms = self._terms(logits, batch)
            self.add(terms.gradients(self._trained))
        if batch.world > 1:
            for parameter in self._trained:
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
        return None if self._spares_logits else logits.detach(), objective

    def _through_linear(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Where logits are one product of what the features give: the gradient for the logits, then one more product."""
        strategy = self._strategy
        inputs = strategy.inputs(batch.features)
        refuse_trained(inputs, strategy, "inputs", "override logits instead")
        with torch.set_grad_enabled(self._maps):
            weight, bias = strategy.linear_map()
        with torch.no_grad():
            logits = stacked_linear(inputs, weight, bias)
        objective, residual, direct = self.residual(logits, batch)
        with torch.no_grad():
            of_weight = self._kept.get(weight, None) if not self._maps else None
            of_weight = product(residual, inputs, weight.shape, of_weight)
            of_bias = None if bias is None else torch.sum(residual, 1, out=self._kept.get(bias))
        if not self._maps:
            self.add(direct)
            return logits, objective
        mapped = Terms()
        for value, gradient in ((weight, of_weight), (bias, of_bias)):
            if value is not None and value.requires_grad:
                mapped.add(value, gradient)
        self.add([total(one, other) for one, other in zip(mapped.gradients(self._trained), direct, strict=True)])
        return logits, objective

    def _through_directions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Where logits are made of rows w of a given length: z = (s / ||w||) w.x, so what changes the length of a row is taken from the gradient, a multiple of w.

        The rows themselves are neither normalised nor copied; what is scaled has a number for each sample in place of each dimension.
        """
        strategy, weight = self._strategy, self._strategy.weight
        inputs, length = strategy.inputs(batch.features), strategy.row_length()
        refuse_trained(inputs, strategy, "inputs", "override logits instead")
        assert length is not None
        if isinstance(length, Tensor):
            refuse_trained(length, strategy, "row_length", "override linear_map instead")
        with torch.no_grad():
            inverse = inverse_lengths(weight)
            scale = (inverse * length).transpose(1, 2)
            logits = stacked_linear(inputs, weight, None).mul_(scale)
        objective, residual, direct = self.residual(logits, batch)
        with torch.no_grad():
            along = torch.linalg.vecdot(residual, logits, dim=1).unsqueeze(-1) * inverse.square()
            product(residual * scale, inputs, weight.shape, self._kept[weight]).addcmul_(weight, not_of_short(along, inverse), value=-1)
        self.add(direct)
        return logits, objective

    def residual(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """Of linear logits (H, B, K): this process's share of the objective (H,), its gradient for them, and what trained parameters get beside it.

        The gradient lies in the place of the logits where nothing else looks at them.
        """
        objective, terms = self._terms(logits, batch)
        residual, *direct = terms.gradients((logits, *self._trained))
        assert residual is not None
        return objective, residual, direct

    def keep(self, of_weight: Tensor, of_bias: Tensor) -> None:
        """Let the gradients of weight and bias lie in these places, where somebody else writes them before ``add``."""
        self._kept = {self._strategy.weight: of_weight, self._strategy.bias: of_bias}

    @property
    def beside_head(self) -> list[Tensor]:
        """Gradients of what is trained beside weight and bias."""
        return [p.grad for p in self._trained if p not in self._kept and p.grad is not None]

    def _terms(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Terms]:
        """The objective (H,) without the regulariser, and what is to be differentiated; gradients for the logits that are known already lie in it."""
        strategy, terms = self._strategy, Terms()
        if self.linear and not (self.written_down and self._shifts and not self._further):
            logits.requires_grad_()
        objective = self._written(logits, batch, terms) if self.written_down else self._left_to_autograd(logits, batch, terms)
        if strategy.needs_whole_batch:
            everything = gathered(logits, batch.rank, batch.world, batch.labels_of_all.shape[-1])
            statistic = strategy.batch_statistic(everything, batch.labels_of_all)
            if statistic is not None:
                terms.add((statistic / batch.world).sum())
                objective = objective + statistic.detach() / batch.world
        if self._further:
            penalty = strategy.regulariser()
            if penalty is not None:
                terms.add((penalty / batch.world).sum())
        return objective, terms

    def _left_to_autograd(self, logits: Tensor, batch: Batch, terms: Terms) -> Tensor:
        """Where slots of the loss itself were overridden."""
        strategy = self._strategy
        objective = strategy.loss(logits, batch.labels, batch.features).sum(-1) / strategy.denominator(batch.labels_of_all)
        terms.add(objective.sum())
        return objective.detach()

    def _written(self, logits: Tensor, batch: Batch, terms: Terms) -> Tensor:
        """Where the loss is a function of cross-entropy: autograd sees at most the transform, and one number per sample."""
        strategy, labels = self._strategy, batch.labels
        transformed = strategy.transform(at_least_float32(logits.detach() if self._shifts else logits), labels)
        if transformed.shape != logits.shape:
            raise UserError(
                f"{type(strategy).__name__}.transform returned a tensor of shape {tuple(transformed.shape)}, expected that of the logits it was given, "
                f"{tuple(logits.shape)}"
            )
        if self._shifts:
            refuse_trained(transformed, strategy, "transform", "leave out @shift")
        smoothing = strategy.smoothing(labels)
        with torch.no_grad():
            overwrite = self._overwrites and not (isinstance(smoothing, Tensor) and smoothing.requires_grad)
            entropy = CrossEntropy(transformed.detach(), labels, smoothing, in_place=overwrite)
            losses, denominator = entropy.losses, strategy.denominator(batch.labels_of_all)
            per_sample = self._per_sample(transformed.detach(), losses.dtype, batch)
        if self._shapes:
            losses.requires_grad_()
            shaped = strategy.of_cross_entropy(losses, labels, batch.features)
            objective = (shaped if per_sample is None else shaped * per_sample).sum(-1) / denominator
            slope = terms.slope(objective.sum(), losses, self._trained)
        else:
            objective = (losses if per_sample is None else losses * per_sample).sum(-1) / denominator
            slope = _over(1.0 if per_sample is None else per_sample, denominator)
        with torch.no_grad():
            if isinstance(smoothing, Tensor) and smoothing.requires_grad:
                terms.add(smoothing, (slope * entropy.of_smoothing).to(smoothing).sum_to_size(smoothing.shape))
            residual = entropy.residual(slope.to(losses.dtype) if isinstance(slope, Tensor) else slope)
            if self._shifts:
                terms.known(logits, residual.to(logits.dtype))
            else:
                terms.add(transformed, residual)
        return objective.detach()

    def _per_sample(self, transformed: Tensor, dtype: torch.dtype, batch: Batch) -> Tensor | None:
        """What each loss counts (H, B), a constant; None for 1."""
        strategy = self._strategy
        weight = None if strategy.class_weight is None else per_class(strategy.class_weight.to(dtype), batch.labels)
        focus = strategy.focus(transformed, batch.labels, batch.features) if self._weighs else None
        return focus if weight is None else weight if focus is None else focus * weight

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Autograd's part, to what is written already. The fused optimizer reads a gradient in the order of its parameter, so it has to lie in that order."""
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            kept = self._kept.get(parameter)
            if kept is not None:
                parameter.grad = kept
                if gradient is not None:
                    kept += gradient
            else:
                if gradient is not None and gradient.stride() != parameter.stride():
                    gradient = torch.empty_like(parameter).copy_(gradient)
                parameter.grad = gradient


def product(residual: Tensor, features: Tensor, shape: torch.Size, out: Tensor | None = None) -> Tensor:
    """The gradient of weights (H, K, D), given that of logits (H, B, K) that they made of features (S, B, D)."""
    H, K, D = shape
    S, B, _ = features.shape
    columns = residual.transpose(1, 2).reshape(S, H // S * K, B)
    found = torch.bmm(columns, features, out=None if out is None else out.view(S, H // S * K, D))
    return found.view(shape)


def refuse_trained(tensor: Tensor, strategy: Strategy, slot: str, instead: str) -> None:
    """Refuse a slot that is promised to be made of nothing that is trained, where it would silently get no gradient.

    Raises:
        UserError: it depends on a parameter.
    """
    if tensor.requires_grad:
        raise UserError(f"{strategy.name or type(strategy).__name__}: {slot} depends on what is trained, and is promised not to: {instead}")


def _over(value: Tensor | float, denominator: Tensor | float) -> Tensor | float:
    return value / (denominator.unsqueeze(-1) if isinstance(denominator, Tensor) else denominator)
