"""The parts of the contract that a class overrides, which decide the gradients that a fit may use."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.slots.weights import Weighting

STEP = ("redraw", "augment", "before_update")
OWN_TRAINING = (
    "training_step", "configure_optimizers", "objective", "backward", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step",
    "configure_gradient_clipping", "configure_callbacks", "configure_model", "setup",
)  # fmt: skip
"""Methods of Lightning's and the contract's plain fit that the engine's fit does not call."""
HOOKS = tuple(name for name in dir(LightningModule) if name.startswith("on_") and "checkpoint" not in name)


class Overrides:
    """Facts about a class of strategies that follow from the methods it overrides.

    Args:
        of: the class of the strategy.

    Attributes:
        own_training: the class trains in its own way (its own ``training_step``, optimizer or hooks of Lightning), so only a plain Trainer can fit it.
        shifts: ``transform`` only adds constants to the logits.
        modulates: ``modulate`` does something.
        weighs: ``sample_weight`` does something.
        needs_logits: logits are read after the softmax, so they must not be overwritten.
        further: there is a term beside the sum of losses.
        own_loss: the loss is not a function of cross-entropy with a gradient in closed form, so autograd differentiates it.
        directions: logits are made of the weight's rows brought to one length.
        linear: logits are linear in the features, by weight and bias or by those directions.
        pools: logits are a product of the features as they are with weight and bias and the step is the contract's, so that heads of several such
            strategies can be one product.
        plain: nothing but a linear head under cross-entropy happens in a step.
        captured: a step can be captured as a CUDA graph: ``capturable`` says so or, where that is None, the step is plain.
        redraws: the strategy draws batches itself.
        augments: the strategy mixes or makes samples.
        reads_rows: an overridden method may read row numbers.
        differs_by_epoch: something else than the learning rate may change between epochs.
    """

    def __init__(self, of: type[Strategy]) -> None:
        def overridden(*names: str) -> bool:
            return any(getattr(of, name) is not getattr(Strategy, name) for name in names)

        weighting = of.weighting
        assert weighting is None or isinstance(weighting, Weighting)
        self.own_training = overridden(*OWN_TRAINING, *HOOKS)
        self.shifts = not overridden("transform") or getattr(of.transform, "is_shift", False)
        self.modulates = overridden("modulate") or (weighting is not None and type(weighting).modulate is not Weighting.modulate)
        self.weighs = overridden("sample_weight")
        self.needs_logits = self.weighs or of.needs_whole_batch or overridden("transform", "observe", *STEP)
        self.further = overridden("batch_statistic", "regulariser")
        self.own_loss = overridden("loss", "kernel") or (self.weighs and not getattr(of.sample_weight, "is_constant", False))
        self.linear = not overridden("logits") and of.trainable is None
        self.directions = self.linear and of.classifier is not None
        self.pools = (
            of.stackable and self.linear and not self.directions and not self.own_training and not overridden("sample_weights", *STEP)
        )
        more = self.modulates or self.weighs or self.further or of.projection is not None or overridden("project", "observe")
        self.plain = self.pools and self.shifts and not self.own_loss and not more
        self.captured = self.plain if of.capturable is None else of.capturable
        self.redraws = overridden("redraw")
        self.augments = overridden("augment")
        self.reads_rows = overridden("augment", "loss", "modulate", "sample_weight", "observe", "before_update")
        self.differs_by_epoch = overridden("end_epoch", "begin_epoch") or (weighting is not None and weighting.differs_by_epoch)
