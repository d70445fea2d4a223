"""A fixed simplex as classifier."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.slots.kernels import DotRegression
from lt_bench.strategies.slots.transforms import Simplex


class ETF(Strategy):
    """A fixed equiangular classifier under dot regression: features are mapped to the vertices of a simplex.

    ``l_i = (T(z_i)_y - 1)^2 / 2``, ``T(z)_c = sqrt(K / (K - 1)) (z_c - mean z) / ||z||``, the cosine of z with vertex c.

    In the paper the classifier is fixed and the backbone learns to meet it. Here the backbone is frozen and z = W h + b is the learned map into the space of the
    simplex, whose direction then does not matter; class-aware batches stand for the balance that a loss without repulsion lacks. All of this is inferred. At
    inference the logits are z, the order of whose entries is that of the cosines.
    """

    name = "etf"
    family = "parameter regularisation"
    paper = "Yang et al., Inducing Neural Collapse in Imbalanced Learning: Do We Really Need a Learnable Classifier at the End of Deep Neural Network?, NeurIPS 2022"
    sampler = "class_aware"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.1, 0.5, 2.0), "weight_decay": (1e-5, 5e-4)}
    stackable = True

    transform = Simplex()
    kernel = DotRegression()
