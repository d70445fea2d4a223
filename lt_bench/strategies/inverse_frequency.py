"""Cross-entropy weighted by simple functions of class frequency."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.weights import Inverse, LogInverse


class InverseFrequency(Strategy):
    """Cross-entropy weighted by the inverse class size.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = 1 / n_c`` scaled to sum to K (pseulki/IB-Loss ``cifar_train.py:154-155``, train rule IBReweight). The batch is reduced
    as torch's weighted mean, by its sum of weights, where the scale of w cancels; BagofTricks-LT's (n_min / n_c) is then the same. Under ``samples`` the
    gradient is smaller by the mean weight of the training set, so a learning rate carries over divided by it.

    The published uses are end to end; the recipe for a head alone, from the stage-1 head, is inferred.
    """

    name = "inverse_frequency"
    family = "re-weighting"
    paper = "Huang et al., Learning Deep Representation for Imbalanced Classification, CVPR 2016; code pseulki/IB-Loss, zhangyongshun/BagofTricks-LT (CSCE)"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3, 2e-2)}
    stackable = True

    reduction: Literal["samples", "weights"] = hyper(
        "weights", help="divide the batch's loss by its sum of weights, or by its number of samples"
    )

    weighting = Inverse(1.0, "reduction")


class SqrtInverse(InverseFrequency):
    """Cross-entropy weighted by the inverse square root of the class size.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = n_c^(-1/2)`` scaled to sum to K; BagofTricks-LT's (n_min / n_c)^(1/2) up to scale, which the weighted mean cancels. The
    recipe for a head alone is inferred.
    """

    name = "sqrt_inverse"
    paper = "Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, ECCV 2018; code zhangyongshun/BagofTricks-LT (CSCE, gamma 0.5)"

    weighting = Inverse(0.5, "reduction")


class LogReweight(InverseFrequency):
    """Weighted softmax: weights that grow with the logarithm of rarity.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = 1 - log(pi_c / pi_max)``, 1 for the largest class and 5.6 for a hundred times rarer one; not scaled. The recipe for a head
    alone is inferred.
    """

    name = "log_reweight"
    paper = "'Weighted softmax' of the survey of Zhang et al., Deep Long-Tailed Learning, TPAMI 2023; its code, WeightedSoftmaxLoss.py, on hyperconnect/LADE"

    weighting = LogInverse("reduction")
