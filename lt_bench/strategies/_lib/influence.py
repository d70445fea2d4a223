"""The influence-balanced loss that the IB family shares."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from lt_bench.core.errors import UserError
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_weights import inverse_power_weights
from lt_bench.strategies.contract import Facts, Strategy, at_least_float32, check_range, per_class, smoothed_cross_entropy
from lt_bench.strategies.recipe import RecipeOptions

SMALLEST_INFLUENCE = 0.001
CHUNK = 2048

Calibration = Literal["none", "ce"]


class InfluenceBalanced(Strategy):
    """``l_i = w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, w = 1 / n scaled to sum to K.

    Args:
        facts: what the data know.
        alpha: scale of the loss.
        calibration: ``ce`` makes alpha 1 a loss as large as cross-entropy under the initial head.
        detach: whether the influence is a constant for the gradient.
        recipe: fields of ``Recipe``.
    """

    def __init__(self, facts: Facts, *, alpha: float, calibration: Calibration, detach: bool, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "alpha", alpha, 1e-12, 1e12)
        self.calibration, self.detach_influence = calibration, detach
        self.balance = nn.Buffer(inverse_power_weights(self.class_counts, 1.0), persistent=False)
        self.alpha = nn.Buffer(self.one_per_head(alpha).unsqueeze(1).clone(), persistent=False)
        self.used_alpha = nn.Buffer(self.alpha.clone())

    def weighted(self, losses: Tensor, labels: Tensor) -> Tensor:
        """w_y times cross-entropy."""
        return losses * per_class(self.balance.to(losses), labels)

    def of_cross_entropy(self, losses: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """Cross-entropy over influence, per sample; ||p - e_y||_1 is 2 (1 - p_y), so no pass over the classes is needed for it.

        Raises:
            UserError: without features.
        """
        if features is None:
            raise UserError(f"{self.name}: the influence of a sample needs its features; call loss(logits, labels, features)")
        norms = features.to(losses.dtype).abs().sum(-1)
        influence = -2 * torch.expm1(-losses) * (norms if norms.dim() == 1 else self.spread(norms)) + SMALLEST_INFLUENCE
        alpha = self.used_alpha if losses.dim() > 1 else self.used_alpha[0]
        return self.weighted(losses, labels) * alpha.to(losses) / (influence.detach() if self.detach_influence else influence)

    @torch.no_grad()
    def begin(self, train: FeatureSource) -> None:
        """Calibrate alpha on the first view of the training features."""
        if self.calibration == "none":
            return
        self.to(train.device).used_alpha.fill_(1)
        entropy, influenced = torch.zeros(2, self.heads, dtype=torch.float64, device=train.device)
        for rows, labels in zip(train.view(train.views[0]).split(CHUNK), train.labels.split(CHUNK), strict=True):
            features = rows.to(self.weight.dtype).unsqueeze(0)
            logits = self.logits(features)
            entropy += smoothed_cross_entropy(at_least_float32(logits), labels, 0.0).sum(-1)
            influenced += self.loss(logits, labels, features).sum(-1)
        self.used_alpha.copy_(self.alpha * (entropy / influenced).unsqueeze(1))
