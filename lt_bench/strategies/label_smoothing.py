"""Label smoothing."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.targets import Smooth


class LabelSmoothing(Strategy):
    """Re-training with mildly smoothed targets: ``l_i = -sum_k q_k log softmax(z_i)_k``, from the stage-1 head.

    ``torch``: q_y = 1 - epsilon + epsilon / K, epsilon / K elsewhere (``CrossEntropyLoss(label_smoothing=epsilon)``); ``others``: q_y = 1 - epsilon and
    epsilon / (K - 1) elsewhere, as nwjun/FFDS-Loss writes it. Epsilon 0.1 is that of the Inception paper. Smoothing as strong as 0.98 is ``los``.

    The paper trains end to end; the recipe for a head alone is inferred.
    """

    name = "label_smoothing"
    family = "label softening"
    paper = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    epsilon: float = hyper(0.1, low=0, high=1, grid=(0.05, 0.1, 0.2, 0.4), help="smoothing, 0 to 1")
    convention: Literal["torch", "others"] = hyper("torch", help="spread over all K classes (torch) or over the K - 1 others")

    target = Smooth("epsilon", "convention")
