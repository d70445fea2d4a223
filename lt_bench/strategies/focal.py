"""Focal losses, plain and class-balanced."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import effective_number_weights, kept, sum_to_classes
from lt_bench.strategies._lib.focal import focusing
from lt_bench.strategies.contract import Facts, Strategy, check_range, per_class
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class Focal(Strategy):
    """Focal loss on softmax outputs: easy samples count less.

    ``l_i = (1 - p_y)^gamma * CE(z_i, y)``, p = softmax(z_i), the factor with its gradient, mean over samples (kaidic/LDAM-DRW ``losses.py:7-21``). The long-tailed
    codes set gamma 1; pseulki/IB-Loss multiplies the loss by 10 besides, which is a learning rate 10 times higher. The class-balanced paper tries 0.5, 1 and 2.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        gamma: focusing.
        recipe: fields of ``Recipe``.
    """

    name = "focal"
    family = "re-weighting"
    paper = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; code kaidic/LDAM-DRW"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"gamma": (0.5, 1.0, 2.0), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(self, facts: Facts, *, gamma: float = 1.0, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "gamma", gamma, 0.0, 10.0)
        self.gamma = kept(gamma)

    def of_cross_entropy(self, losses: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """(1 - p)^gamma times cross-entropy."""
        return focusing(losses, self.gamma) * losses


class CBFocal(Focal):
    """Focal loss with class-balanced weights.

    ``l_i = (1 - p_i)^gamma * w_y * CE(z_i, y)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K, mean over samples. Paper against code: the code everyone
    copies (kaidic/LDAM-DRW ``losses.py:7-21``) computes p from the weighted loss, p_i = exp(-w_y CE), so that the weight changes the focus (``weighted``, the
    default); in the paper p is the true-class probability (``plain``). Dividing by N where ``cb`` divides by the sum of weights, its effective learning rate is
    another than that of ``cb``.

    Published end to end; the recipe for a head alone, from the stage-1 head, is inferred.

    Args:
        facts: what the data know.
        gamma: focusing.
        beta: of the effective number.
        probability: that of the focusing factor, ``weighted`` (code) or ``plain`` (paper).
        recipe: fields of ``Recipe``.
    """

    name = "cb_focal"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code kaidic/LDAM-DRW"
    grid = {"gamma": (0.5, 1.0, 2.0), "beta": (0.999, 0.9999), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self,
        facts: Facts,
        *,
        gamma: float = 1.0,
        beta: float = 0.9999,
        probability: Literal["weighted", "plain"] = "weighted",
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, gamma=gamma, **recipe)
        check_range(self.name, "beta", beta, 0.0, 1 - 1e-9)
        self.probability = probability
        self.balance = nn.Buffer(sum_to_classes(effective_number_weights(self.class_counts, beta)), persistent=False)

    def of_cross_entropy(self, losses: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """The focused and weighted cross-entropy."""
        weighted = losses * per_class(self.balance.to(losses), labels)
        return focusing(weighted if self.probability == "weighted" else losses, self.gamma) * weighted


class CBFocalSigmoid(CBFocal):
    """Focal loss on sigmoid outputs with class-balanced weights: the form of the class-balanced paper.

    ``l_i = w_y * sum_k (1 - p_ik)^gamma * (-log p_ik)``, p_ik = sigmoid(z_ik) for k = y and 1 - sigmoid(z_ik) elsewhere, mean over samples (vandit15's port of
    richardaecn/class-balanced-loss). As there, the classifier is new and its bias starts at -log(K - 1); that the bias escapes weight decay there is left out.

    Published end to end; the recipe for a head alone is inferred.

    Args:
        facts: what the data know.
        gamma: focusing.
        beta: of the effective number.
        recipe: fields of ``Recipe``.
    """

    name = "cb_focal_sigmoid"
    paper = "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; code richardaecn/class-balanced-loss, vandit15's port"
    initial_head = "random"

    def __init__(self, facts: Facts, *, gamma: float = 1.0, beta: float = 0.9999, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, gamma=gamma, beta=beta, **recipe)

    def initial_parameters(self) -> tuple[Tensor, Tensor]:
        """Random rows, every class as likely as 1 / K."""
        weight, bias = super().initial_parameters()
        return weight, torch.full_like(bias, -math.log(self.facts.num_classes - 1))

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The focused binary cross-entropies of all classes, weighted by the true one."""
        gamma = self.gamma.unsqueeze(-1) if isinstance(self.gamma, Tensor) else self.gamma
        index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        wrong = logits.scatter(-1, index, -logits.gather(-1, index))  # logit of the wrong answer, for every class
        losses = (F.softplus(wrong) * torch.exp(-gamma * F.softplus(-wrong))).sum(-1)
        return losses * per_class(self.balance.to(losses), labels)

    def of_cross_entropy(self, losses: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """Focus and weight are in the kernel, whose losses are no cross-entropy."""
        return losses
