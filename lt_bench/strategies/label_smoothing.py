"""Label smoothing."""

from __future__ import annotations

from typing import Literal, Unpack

from torch import Tensor

from lt_bench.strategies._lib.class_weights import kept
from lt_bench.strategies._lib.smoothing import torch_epsilon
from lt_bench.strategies.contract import Facts, Strategy, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class LabelSmoothing(Strategy):
    """Re-training with mildly smoothed targets: ``l_i = -sum_k q_k log softmax(z_i)_k``, from the stage-1 head.

    ``torch``: q_y = 1 - epsilon + epsilon / K, epsilon / K elsewhere (``CrossEntropyLoss(label_smoothing=epsilon)``); ``others``: q_y = 1 - epsilon and
    epsilon / (K - 1) elsewhere, as nwjun/FFDS-Loss writes it. Epsilon 0.1 is that of the Inception paper. Smoothing as strong as 0.98 is ``los``.

    The paper trains end to end; the recipe for a head alone is inferred.

    Args:
        facts: what the data know.
        epsilon: smoothing, 0 to 1.
        convention: ``torch`` or ``others``, see above.
        recipe: fields of ``Recipe``.
    """

    name = "label_smoothing"
    family = "label softening"
    paper = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"epsilon": (0.05, 0.1, 0.2, 0.4), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self, facts: Facts, *, epsilon: float = 0.1, convention: Literal["torch", "others"] = "torch", **recipe: Unpack[RecipeOptions]
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "epsilon", epsilon, 0.0, 1.0)
        self.epsilon = kept(torch_epsilon(epsilon, convention, facts.num_classes))

    def smoothing(self, labels: Tensor) -> Tensor | float:
        """Torch's epsilon."""
        return self.epsilon
