"""Label-distribution-aware margins, with and without deferred re-weighting."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine
from lt_bench.strategies.slots.transforms import Margin
from lt_bench.strategies.slots.weights import Deferred


class LDAM(Strategy):
    """LDAM: a margin on the true class that grows with its rarity, on scaled cosines.

    ``l_i = CE(T(z_i), y)``, z = s cos(h, w_c), ``T(z)_y = z_y - s m_y``, ``m_c = max_margin (n_min / n_c)^(1/4)`` (kaidic/LDAM-DRW ``losses.py:23-45``).
    Inference is without the margin.

    Published end to end; on frozen features it is adapted: the directions of the stage-1 rows start it, and the recipe is inferred.
    """

    name = "ldam"
    family = "re-weighting"
    paper = "Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019; code kaidic/LDAM-DRW"
    trains = "directions of the weight rows"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    max_margin: float = hyper(0.5, low=0, high=2, grid=(0.1, 0.5), help="margin of the smallest class, in cosine")
    scale: float = hyper(
        30.0, low=1e-3, high=1e3, grid=(10.0, 30.0), help="s, part of the logits in training, at inference and in every metric"
    )

    classifier = Cosine("scale")
    transform = Margin("max_margin", "scale")


class LDAMDRW(LDAM):
    """LDAM with deferred re-weighting: class-balanced weights in the last part of the fit.

    ``l_i = w_y * CE(T(z_i), y)`` with LDAM's T; w is 1 before the fraction ``deferral`` of the epochs and ``(1 - beta) / (1 - beta^n_c)`` scaled to sum to K
    afterwards. The batch is reduced by its sum of weights. The official schedule defers to epoch 160 of 200 (``cifar_train.py:199-206``; its index
    epoch // 160 fails from epoch 320 on) and drops the learning rate there; here the cosine goes on.

    Published end to end; on frozen features it is adapted: the directions of the stage-1 rows start it, and the recipe is inferred.
    """

    name = "ldam_drw"
    grid = {"scale": (), "lr": (0.001, 0.01, 0.1), "weight_decay": (2e-4, 5e-3)}

    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number")
    deferral: float = hyper(
        0.8, low=0, high=1, grid=(0.0, 0.8), help="from which fraction of the epochs on the weights hold, rounded to an epoch"
    )

    weighting = Deferred("beta", "weights", "deferral")
