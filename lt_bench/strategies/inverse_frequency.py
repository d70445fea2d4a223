"""Cross-entropy weighted by simple functions of class frequency."""

from __future__ import annotations

from typing import Literal, Unpack

from torch import Tensor

from lt_bench.strategies._lib.class_weights import inverse_power_weights
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class InverseFrequency(Strategy):
    """Cross-entropy weighted by the inverse class size.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = 1 / n_c`` scaled to sum to K (pseulki/IB-Loss ``cifar_train.py:154-155``, train rule IBReweight). The batch is reduced
    as torch's weighted mean, by its sum of weights, where the scale of w cancels; BagofTricks-LT's (n_min / n_c) is then the same. Under ``samples`` the
    gradient is smaller by the mean weight of the training set, so a learning rate carries over divided by it.

    The published uses are end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        reduction: divide the batch's loss by the sum of its ``weights``, or by its number of ``samples``.
        recipe: fields of ``Recipe``.
    """

    name = "inverse_frequency"
    family = "re-weighting"
    paper = "Huang et al., Learning Deep Representation for Imbalanced Classification, CVPR 2016; code pseulki/IB-Loss, zhangyongshun/BagofTricks-LT (CSCE)"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3, 2e-2)}

    def __init__(self, facts: Facts, *, reduction: Literal["samples", "weights"] = "weights", **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        self.reduction = reduction
        self.class_weight = self.weights(self.class_counts.clamp_min(1))

    def weights(self, counts: Tensor) -> Tensor:
        """1 / n scaled to sum to K."""
        return inverse_power_weights(counts, 1.0)


class SqrtInverse(InverseFrequency):
    """Cross-entropy weighted by the inverse square root of the class size.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = n_c^(-1/2)`` scaled to sum to K; BagofTricks-LT's (n_min / n_c)^(1/2) up to scale, which the weighted mean cancels. The
    recipe for a head alone is inferred.
    """

    name = "sqrt_inverse"
    paper = "Mahajan et al., Exploring the Limits of Weakly Supervised Pretraining, ECCV 2018; code zhangyongshun/BagofTricks-LT (CSCE, gamma 0.5)"

    def weights(self, counts: Tensor) -> Tensor:
        """n^(-1/2) scaled to sum to K."""
        return inverse_power_weights(counts, 0.5)


class LogReweight(InverseFrequency):
    """Weighted softmax: weights that grow with the logarithm of rarity.

    ``l_i = w_y * CE(z_i, y)``, ``w_c = 1 - log(pi_c / pi_max)``, 1 for the largest class and 5.6 for a hundred times rarer one; not scaled. The recipe for a head
    alone is inferred.
    """

    name = "log_reweight"
    paper = "'Weighted softmax' of the survey of Zhang et al., Deep Long-Tailed Learning, TPAMI 2023; its code, WeightedSoftmaxLoss.py, on hyperconnect/LADE"

    def weights(self, counts: Tensor) -> Tensor:
        """1 - log(n / n_max)."""
        return 1 - (counts / counts.max()).log()
