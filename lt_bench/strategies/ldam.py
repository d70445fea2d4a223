"""Label-distribution-aware margins, with and without deferred re-weighting."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib.class_weights import effective_number_weights, sum_to_classes
from lt_bench.strategies._lib.cosine import CosineStrategy, less_on_true
from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies.contract import Facts, check_range, per_class
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class LDAM(CosineStrategy):
    """LDAM: a margin on the true class that grows with its rarity, on scaled cosines.

    ``l_i = CE(T(z_i), y)``, z = s cos(h, w_c), ``T(z)_y = z_y - s m_y``, ``m_c = max_margin (n_min / n_c)^(1/4)`` (kaidic/LDAM-DRW ``losses.py:23-45``).
    Inference is without the margin.

    Published end to end; on frozen features it is adapted: the directions of the stage-1 rows start it, and the recipe is inferred.

    Args:
        facts: what the data know.
        max_margin: of the smallest class, in cosine.
        scale: s.
        recipe: fields of ``Recipe``.
    """

    name = "ldam"
    family = "re-weighting"
    paper = "Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019; code kaidic/LDAM-DRW"
    trains = "directions of the weight rows"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"max_margin": (0.1, 0.5), "scale": (10.0, 30.0), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(self, facts: Facts, *, max_margin: float = 0.5, scale: float = 30.0, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__(facts, scale=scale, **recipe)
        check_range(self.name, "max_margin", max_margin, 0.0, 2.0)
        counts = self.class_counts.clamp_min(1)
        self.margin = nn.Buffer(max_margin * (counts.min() / counts) ** 0.25, persistent=False)

    @shift
    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin, times s, taken from the true logit."""
        return less_on_true(logits, labels, self.scale * per_class(self.margin, labels))


class LDAMDRW(LDAM):
    """LDAM with deferred re-weighting: class-balanced weights in the last part of the fit.

    ``l_i = w_y * CE(T(z_i), y)`` with LDAM's T; w is 1 before the fraction ``deferral`` of the epochs and ``(1 - beta) / (1 - beta^n_c)`` scaled to sum to K
    afterwards. The batch is reduced by its sum of weights. The official schedule defers to epoch 160 of 200 (``cifar_train.py:199-206``; its index
    epoch // 160 fails from epoch 320 on) and drops the learning rate there; here the cosine goes on.

    Published end to end; on frozen features it is adapted: the directions of the stage-1 rows start it, and the recipe is inferred.

    Args:
        facts: what the data know.
        max_margin: of the smallest class, in cosine.
        scale: s.
        beta: of the effective number.
        deferral: from which fraction of the epochs on the weights hold, rounded to an epoch.
        recipe: fields of ``Recipe``.
    """

    name = "ldam_drw"
    reduction = "weights"
    grid = {"max_margin": (0.1, 0.5), "deferral": (0.0, 0.8), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self,
        facts: Facts,
        *,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        deferral: float = 0.8,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, max_margin=max_margin, scale=scale, **recipe)
        check_range(self.name, "beta", beta, 0.0, 1 - 1e-9)
        check_range(self.name, "deferral", deferral, 0.0, 1.0)
        self.late_weight = nn.Buffer(sum_to_classes(effective_number_weights(self.class_counts, beta)), persistent=False)
        self.first_weighted_epoch = nn.Buffer(torch.as_tensor(deferral * self.recipe.epochs).round().long(), persistent=False)
        self.enter(0)

    def enter(self, epoch: int) -> None:
        """Set the class weights of ``epoch``."""
        late = epoch >= self.first_weighted_epoch
        self.class_weight = torch.where(late, self.late_weight, torch.ones_like(self.late_weight))

    def on_train_epoch_start(self) -> None:
        """The learning rate and the class weights of the epoch."""
        super().on_train_epoch_start()
        self.enter(self.current_epoch)
