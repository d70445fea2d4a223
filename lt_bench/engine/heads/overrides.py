"""Which slots of the formula a class of strategies fills by itself: what a fit may take a shorter way for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_bench.strategies.contract import Strategy

OF_STEP = ("fit_step", "batch_of", "step_on", "differentiate", "finish_step")
STEP = (*OF_STEP, "training_step", "configure_optimizers")
FORWARDED = ("on_train_epoch_start", "on_train_epoch_end")
"""Hooks of Lightning that a pool calls for its members."""


class Slots:
    """What is known of a strategy before one is made.

    Args:
        of: the class of the strategy.
        base: the class that defines the slots.

    Attributes:
        shifts: ``transform`` only adds constants to the logits.
        shapes: ``of_cross_entropy`` does something.
        weighs: ``focus`` does something.
        looks: something else than softmax and its gradient is given the logits of a step, so that they must not be overwritten.
        further: there is a term beside the sum of losses.
        own_loss: the loss is no function of cross-entropy that autograd could be spared of.
        maps: the logits are linear in the features through a ``linear_map`` of the strategy's own.
        directions: they are made of the weight's rows brought to ``row_length``.
        linear: they are linear in the features, through that or weight and bias.
        pools: they are a product of the features as they are with weight and bias, a step is the base's, and no hook of Lightning's is used that a pool does not
            call, so that heads of several such strategies can be one product.
        plain: nothing but a linear head under cross-entropy happens in a step.
        captured: a step can be captured as a CUDA graph, by ``capturable`` or for being plain.
    """

    def __init__(self, of: type[Strategy], base: type[Strategy]) -> None:
        def overridden(*names: str) -> bool:
            return any(getattr(of, name) is not getattr(base, name) for name in names)

        self.shifts = not overridden("transform") or getattr(of.transform, "is_shift", False)
        self.shapes, self.weighs = overridden("of_cross_entropy"), overridden("focus")
        self.looks = self.weighs or of.needs_whole_batch or overridden("transform", "observe", *STEP)
        self.further = overridden("batch_statistic", "regulariser")
        self.own_loss = overridden("loss", "kernel") or (self.weighs and not getattr(of.focus, "is_constant", False))
        self.maps, self.linear = overridden("linear_map"), not overridden("logits")
        self.directions = overridden("row_length") and self.linear and not self.maps
        hooks = [
            name for name in dir(base) if name.startswith("on_") and name not in FORWARDED and "checkpoint" not in name
        ]  # a pool has none
        self.pools = self.linear and not overridden("linear_map", "row_length", "inputs", "setup", *STEP, *hooks)
        more = self.shapes or self.weighs or self.further or overridden("project", "observe")
        self.plain = self.pools and self.shifts and not self.own_loss and not more
        self.captured = self.plain if of.capturable is None else of.capturable
