"""The class shares that the logits of a fitted head assume, as a power of the training frequencies, from the slots of its strategy."""

from __future__ import annotations

from typing import Any

from torch import nn

from lt_bench.strategies.class_checks import METHODS, SLOT_ATTRIBUTES
from lt_bench.strategies.slots.base import Slot

DRAWN = {"instance": 1.0, "square_root": 0.5, "class_balanced": 0.0, "class_aware": 0.0}
"""Samplers whose class shares are a power of the training frequencies pi."""
TRAINING = ("training_step", "configure_optimizers", "forward")
ADJUSTS = ("classifier", "at_inference")
"""Slots that matter to a head that is not trained."""


def power_of_slots(strategy: nn.Module, base: type) -> float | None:
    """a, where cross-entropy makes the logits those of a posterior under shares in proportion to pi^a; None where the slots do not say it.

    Batches are drawn from a prior (1 for instance, 0 for class-balanced sampling), and each entry says what it takes off: ``log_prior(tau)`` in the loss or at inference
    tau, ``inverse(power)`` as weight its power. A head that is not trained starts from stage 1, which cross-entropy on all training images is taken to be.
    It is the prior that training aims at, which a short fine-tuning need not have reached.

    Args:
        strategy: of one head.
        base: the contract, ``Strategy``, any of whose methods may be overridden by an entry alone.
    """
    cls: Any = type(strategy)
    own = (name for name in (*METHODS, *TRAINING) if getattr(cls, name, None) is not getattr(base, name, None))
    if cls.fitting == "solve" or any(not isinstance(getattr(cls, name), Slot) for name in own):
        return None
    start = cls.initial_head if cls.fitting == "none" else cls.sampler
    power = (1.0 if start == "joint" else None) if cls.fitting == "none" else DRAWN.get(start) if isinstance(start, str) else None
    attributes = ADJUSTS if cls.fitting == "none" else SLOT_ATTRIBUTES
    for entry in (strategy._modules.get(attribute) for attribute in attributes):
        taken = 0.0 if entry is None else entry.takes_off() if isinstance(entry, Slot) else None
        power = None if power is None or taken is None else power - taken
    return power
