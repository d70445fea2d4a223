"""Re-training under strong weight decay."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy


class WeightDecay(Strategy):
    """Plain cross-entropy from the stage-1 head under strong weight decay.

    ``l_i = CE(z_i, y) `` with the penalty lambda / 2 (||W||^2 + ||b||^2), lambda 0.1: the second stage of weight balancing without its class weights and MaxNorm. The
    decay shortens long rows most and so balances them. The optimisation is that of ``weight_balancing`` (lr 0.01, batch 64, 10 epochs with cosine; its loss there
    is about K times smaller, so the same lambda is far stronger); for this loss it is inferred.
    """

    name = "weight_decay"
    family = "parameter regularisation"
    paper = "Alshammari et al., Long-Tailed Recognition via Weight Balancing, CVPR 2022; code ShadeAlsha/LTR-weight-balancing"
    recipe = Recipe(lr=0.01, momentum=0.9, weight_decay=0.1, batch_size=64, epochs=10)
    grid = {"lr": (0.001, 0.01, 0.05), "weight_decay": (1e-3, 5e-3, 0.02, 0.1, 0.5)}
    stackable = True
