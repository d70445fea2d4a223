"""Softmax cross-entropy on instance-balanced batches."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy


class CE(Strategy):
    """Re-training with plain softmax cross-entropy: ``l_i = -log softmax(z_i)_y``, from the stage-1 head.

    The schedule is that of LOS (``los``), which is this strategy plus smoothing; the pair separates the effect of the soft targets from that of a short
    fine-tuning. The schedule for this control is inferred: no paper prescribes one.
    """

    name = "ce"
    family = "baseline"
    paper = "control experiment; schedule of LOS (bilibili/LOS main_stage2.py) with epsilon 0"
    recipe = Recipe(lr=5e-4, momentum=0.9, weight_decay=0.0, batch_size=64, epochs=20)
    grid = {"lr": (5e-4, 5e-3, 5e-2, 0.5, 2.0), "weight_decay": (0.0, 5e-3)}
    stackable = True
