"""Cosine classifier."""

from __future__ import annotations

from typing import Literal, Unpack

from lt_bench.strategies._lib.cosine import CosineStrategy
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class Cosine(CosineStrategy):
    """Softmax cross-entropy of scaled cosines, without bias, from a random head.

    ``l_i = CE(z_i, y)``, ``z_c = s h w_c / (||h|| ||w_c||)``. Official forms: ``normed`` with s = 30 is that of LDAM-DRW, VS and RIDE (``NormedLinear``; rows start at
    length 1) and equally of BCL and ProCo (times 30 behind the layer); ``squashed`` with s = 16 is that of OLTR and classifier-balancing
    (``models/CosNormClassifier.py``), where the feature is divided by 1 + ||h|| instead of ||h||.

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
    trains = "directions of the weight rows"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"form": ("normed", "squashed"), "scale": (8.0, 16.0, 30.0), "lr": (0.01, 0.1, 0.5)}

    def __init__(
        self, facts: Facts, *, form: Literal["normed", "squashed"] = "normed", scale: float = 30.0, **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, scale=scale, **recipe)
        self.squash = form == "squashed"
