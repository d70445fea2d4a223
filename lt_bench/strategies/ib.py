"""Influence-balanced losses."""

from __future__ import annotations

from typing import Literal

import torch

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.tensors import at_least_float32
from lt_bench.strategies.contract import Batch, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.weights import Influence

CHUNK = 2048


class IB(Strategy):
    """Influence-balanced loss: samples that pull the decision boundary hard count less.

    ``l_i = w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, p = softmax(z), w = 1 / n scaled to sum to K, mean over samples (pseulki/IB-Loss
    ``losses.py:23-35``). Paper against code: the paper reads as if the influence were a weight; the code lets the gradient through it, the default here
    (``detach`` cuts it). Near p_y = 1 the loss is about w_y alpha / (2 ||h||_1), flat: the gradient of certain samples vanishes.

    alpha 1000 belongs to the 64 features of ResNet-32. The authors' advice for others (issue #1) is the alpha for which the loss is as large as cross-entropy:
    ``calibration="ce"`` multiplies alpha by the ratio of the two over the training features under the initial head.

    Published end to end, after a phase of cross-entropy that the stage-1 head stands for here; the recipe is inferred.
    """

    name = "ib"
    family = "re-weighting"
    paper = "Park et al., Influence-Balanced Loss for Imbalanced Visual Classification, ICCV 2021; code pseulki/IB-Loss"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"calibration": ("ce",), "alpha": (1.0, 10.0, 100.0), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    alpha: float = hyper(1000.0, low=1e-12, high=1e12, help="scale of the loss; 1000 belongs to the 64 features of ResNet-32")
    calibration: Literal["none", "ce"] = hyper(
        "none", help="none takes alpha as it is, ce makes alpha 1 a loss as large as cross-entropy at the start"
    )
    detach: bool = hyper(False, help="whether the influence is a constant for the gradient")

    weighting = Influence("alpha", "detach")

    def begin(self, train: FeatureSource) -> None:
        """Calibrate alpha on the first view of the training features."""
        if self.calibration == "none":
            return
        assert isinstance(self.weighting, Influence)
        used = self.weighting.used_alpha
        entropy, influenced = torch.zeros(2, *used.shape, dtype=torch.float64, device=used.device)
        used.fill_(1)
        rows = torch.arange(len(train), device=train.device)
        for features, labels, numbers in zip(
            train.view(train.views[0]).split(CHUNK), train.labels.split(CHUNK), rows.split(CHUNK), strict=True
        ):
            one_for_all = features.to(self.weight.dtype).expand(*(1 for _ in self.leading), *features.shape)
            batch = Batch(one_for_all, labels.expand(*self.leading, -1), numbers.expand(*self.leading, -1))
            logits = self.logits(one_for_all)
            entropy += smoothed_cross_entropy(at_least_float32(logits), batch.labels, 0.0).sum(-1, keepdim=True)
            influenced += self.loss(logits, batch).sum(-1, keepdim=True)
        used.copy_(torch.as_tensor(self.alpha, dtype=used.dtype, device=used.device) * (entropy / influenced))


class IBCB(IB):
    """Influence-balanced loss with class-balanced weights.

    ``l_i = w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, ``w_c = (1 - beta) / (1 - beta^n_c)`` scaled to sum to K; see ``ib``. Adapted to frozen
    features, the recipe is inferred.
    """

    name = "ib_cb"

    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number")

    weighting = Influence("alpha", "detach", "class_balanced", "beta")


class IBFL(IB):
    """Influence-balanced focal loss.

    ``l_i = (1 - p_i)^gamma * w_y * CE(z_i, y) * alpha / (||p_i - e_y||_1 ||h_i||_1 + 0.001)``, p_i = exp(-w_y CE) as in the code, w = 1 / n scaled to sum to K; see
    ``ib``. Adapted to frozen features, the recipe is inferred.
    """

    name = "ib_fl"

    gamma: float = hyper(1.0, low=0, high=10, help="focusing")

    weighting = Influence("alpha", "detach", gamma="gamma")
