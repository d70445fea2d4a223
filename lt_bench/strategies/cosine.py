"""Cosine classifier."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine


class CosineClassifier(Strategy):
    """Softmax cross-entropy of scaled cosines, without bias, from a random head.

    ``l_i = CE(z_i, y)``, ``z_c = s h w_c / (||h|| ||w_c||)``. Official forms: ``normed`` with s = 30 is that of LDAM-DRW, VS and RIDE (``NormedLinear``; rows start at
    length 1) and equally of BCL and ProCo (times 30 behind the layer); ``squashed`` with s = 16 is that of OLTR and classifier-balancing
    (``models/CosNormClassifier.py``), where the feature is divided by 1 + ||h|| instead of ||h||.

    The methods train end to end; re-training this head alone with this recipe is inferred.
    """

    name = "cosine"
    family = "baseline"
    paper = "Gidaris and Komodakis, CVPR 2018; forms of kaidic/LDAM-DRW, zhmiao/OpenLongTailRecognition-OLTR and FlamieZhu/Balanced-Contrastive-Learning"
    initial_head = "random"
    trains = "directions of the weight rows"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5)}
    stackable = True

    form: Literal["normed", "squashed"] = hyper(
        "normed", grid=("normed", "squashed"), help="feature divided by its norm, or by 1 + its norm"
    )
    scale: float = hyper(
        30.0, low=1e-3, high=1e3, grid=(8.0, 16.0, 30.0), help="s, part of the logits in training, at inference and in every metric"
    )

    classifier = Cosine("scale", "form")
