"""Cosine classifier."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.strategies.base import Facts, Strategy, check_range, stacked_linear
from lt_bench.strategies.heads_shared import NormalisedLinear, on_sphere
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class Cosine(Strategy):
    """Softmax cross-entropy of scaled cosines, without bias, from a random head.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = s * cos(h_i, w_c)``. Official forms: ``normed`` with s = 30 is that of LDAM-DRW, VS and RIDE (``NormedLinear``, rows of length 1
    at the start; the scale stands in the loss of the first two) and, equally, of BCL and ProCo (times 30 behind the layer); ``squashed`` with s = 16 is that of OLTR
    and classifier-balancing (``models/CosNormClassifier.py``): the feature is divided by 1 + ||h||, not by ||h||, and the rows start in +-1 / sqrt(D).

    The methods train end to end; re-training this head alone with this recipe is inferred.

    Args:
        facts: what the data know.
        form: ``normed`` or ``squashed``, see above.
        scale: s.
        recipe: fields of ``Recipe``.
    """

    name = "cosine"
    family = "baseline"
    paper = "Gidaris and Komodakis, CVPR 2018; forms of kaidic/LDAM-DRW, zhmiao/OpenLongTailRecognition-OLTR and FlamieZhu/Balanced-Contrastive-Learning"
    initial_head = "random"
    trains = "weight"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"form": ("normed", "squashed"), "scale": (8.0, 16.0, 30.0), "lr": (0.01, 0.1, 0.5)}

    def __init__(
        self, facts: Facts, *, form: Literal["normed", "squashed"] = "normed", scale: float = 30.0, **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "scale", scale, 1e-3, 1e4)
        self.squash = form == "squashed"
        self.scale = self.one_per_head(scale)
        with torch.no_grad():
            self.bias.zero_()
            if form == "normed":
                self.weight.copy_(F.normalize(self.weight, dim=-1))
        self.bias.requires_grad_(False)

    def directions(self) -> Tensor:
        """s w_c / ||w_c|| (H, K, D)."""
        return F.normalize(self.weight, dim=-1) * self.scale.to(self.weight)[:, None, None]

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines (H, B, K)."""
        return stacked_linear(on_sphere(features, self.squash), self.directions(), None)

    def inference_head(self, head: int = 0) -> nn.Module:
        """The same on one head."""
        return NormalisedLinear(self.directions()[head], squash=self.squash)

    def per_head_classifier(self, head: int = 0) -> Tensor:
        """The scaled directions."""
        return self.directions()[head].detach()
