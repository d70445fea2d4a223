"""Influence-balanced losses."""

from __future__ import annotations

from typing import Literal, Unpack

from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import effective_number_weights, kept, sum_to_classes
from lt_bench.strategies._lib.focal import focusing
from lt_bench.strategies._lib.influence import InfluenceBalanced
from lt_bench.strategies.contract import Facts, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class IB(InfluenceBalanced):
    """Influence-balanced loss: samples that pull the decision boundary hard count less.

    ``l_i = w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, p = softmax(z), w = 1 / n scaled to sum to K, mean over samples (pseulki/IB-Loss
    ``losses.py:23-35``). Paper against code: the paper reads as if the influence were a weight; the code lets the gradient through it, the default here
    (``detach`` cuts it). Near p_y = 1 the loss is about w_y alpha / (2 ||h||_1), flat: the gradient of certain samples vanishes.

    alpha 1000 belongs to the 64 features of ResNet-32. The authors' advice for others (issue #1) is the alpha for which the loss is as large as cross-entropy:
    ``calibration="ce"`` multiplies alpha by the ratio of the two over the training features under the initial head.

    Published end to end, after a phase of cross-entropy that the stage-1 head stands for here; the recipe is inferred.

    Args:
        facts: what the data know.
        alpha: see above.
        calibration: ``none`` takes alpha as it is, ``ce`` makes alpha 1 a loss as large as cross-entropy at the start.
        detach: whether the influence is a constant for the gradient.
        recipe: fields of ``Recipe``.
    """

    name = "ib"
    family = "re-weighting"
    paper = "Park et al., Influence-Balanced Loss for Imbalanced Visual Classification, ICCV 2021; code pseulki/IB-Loss"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"calibration": ("ce",), "alpha": (1.0, 10.0, 100.0), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self,
        facts: Facts,
        *,
        alpha: float = 1000.0,
        calibration: Literal["none", "ce"] = "none",
        detach: bool = False,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, alpha=alpha, calibration=calibration, detach=detach, **recipe)


class IBCB(IB):
    """Influence-balanced loss with class-balanced weights.

    ``l_i = w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K; see ``ib``. Adapted to frozen
    features, the recipe is inferred.

    Args:
        facts: what the data know.
        alpha: see ``ib``.
        calibration: ``none`` takes alpha as it is, ``ce`` makes alpha 1 a loss as large as cross-entropy at the start.
        detach: whether the influence is a constant for the gradient.
        beta: of the effective number.
        recipe: fields of ``Recipe``.
    """

    name = "ib_cb"

    def __init__(
        self,
        facts: Facts,
        *,
        alpha: float = 1000.0,
        calibration: Literal["none", "ce"] = "none",
        detach: bool = False,
        beta: float = 0.9999,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, alpha=alpha, calibration=calibration, detach=detach, **recipe)
        check_range(self.name, "beta", beta, 0.0, 1 - 1e-9)
        self.balance = nn.Buffer(sum_to_classes(effective_number_weights(self.class_counts, beta)), persistent=False)


class IBFL(IB):
    """Influence-balanced focal loss.

    ``l_i = (1 - p_i)^gamma * w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, p_i = exp(-w_y CE) as in the code, w = 1 / n scaled to sum to K; see
    ``ib``. Adapted to frozen features, the recipe is inferred.

    Args:
        facts: what the data know.
        alpha: see ``ib``.
        calibration: ``none`` takes alpha as it is, ``ce`` makes alpha 1 a loss as large as cross-entropy at the start.
        detach: whether the influence is a constant for the gradient.
        gamma: focusing.
        recipe: fields of ``Recipe``.
    """

    name = "ib_fl"

    def __init__(
        self,
        facts: Facts,
        *,
        alpha: float = 1000.0,
        calibration: Literal["none", "ce"] = "none",
        detach: bool = False,
        gamma: float = 1.0,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, alpha=alpha, calibration=calibration, detach=detach, **recipe)
        check_range(self.name, "gamma", gamma, 0.0, 10.0)
        self.gamma = kept(gamma)

    def weighted(self, losses: Tensor, labels: Tensor) -> Tensor:
        """w_y times cross-entropy, focused."""
        weighted = super().weighted(losses, labels)
        return focusing(weighted, self.gamma) * weighted
