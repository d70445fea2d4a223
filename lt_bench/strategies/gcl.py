"""Gaussian clouded logits."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine
from lt_bench.strategies.slots.transforms import Cloud
from lt_bench.strategies.slots.weights import FocalConstant


class GCL(Strategy):
    """GCL: scaled cosines lowered by noise that is larger for rarer classes, re-trained on class-balanced batches.

    ``l_i = (1 - p_i)^gamma * CE(T(z_i), y)``, z = s cos(h, w_c), ``T(z)_c = z_c - s (noise |e_ic| d_c + margin e_yc)``,
    ``d_c = (log n_max - log n_c) / (log n_max - log n_min)``, e ~ N(0, 1/9) with |e| at most 1, drawn for every sample and class; p_i = exp(-CE) is a constant
    for the gradient (Keke921/GCLLoss ``losses.py:53-83``, ``train_cls=True``). With equal class counts d is 0 / 0 and taken as 0. Inference is without noise.

    The settings are those of the code's second stage (``cifar_train_classifier.py``): margin 0.1, s 20, gamma 1, batch 64, weight decay 2e-4, 30 epochs, and the rate
    it really uses for ``--lr 0.1``, 0.002. Paper against code: the paper's sampler is an effective-number one, the code's default draws every class equally
    often, as here. Left out: mixup, which the code applies to images (its ``--mixup False`` still means True) and which on a cache would be another method; and
    the cosine classifier of its first stage, whose rows keep their lengths as its second stage begins (a row of length r turns 1 / r^2 times as fast): the rows of
    stage 1 here are those of a linear layer, and their directions stand in, at length 1. Hence inferred.
    """

    name = "gcl"
    family = "logit adjustment"
    paper = "Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022; code Keke921/GCLLoss"
    sampler = "class_balanced"
    trains = "directions of the weight rows"
    capturable = False
    recipe = Recipe(lr=0.002, weight_decay=2e-4, batch_size=64, epochs=30)
    grid = {"lr": (0.002, 0.1)}
    stackable = True

    noise: float = hyper(0.5, low=0, high=10, grid=(0.0, 0.5, 1.0), help="strength of the cloud")
    margin: float = hyper(0.1, low=0, high=2, help="taken from the true class, in cosine")
    scale: float = hyper(
        20.0, low=1e-3, high=1e3, grid=(10.0, 20.0), help="s, part of the logits in training, at inference and in every metric"
    )
    gamma: float = hyper(1.0, low=0, high=10, help="focusing, 0 for none")

    classifier = Cosine("scale")
    transform = Cloud("noise", "margin", "scale")
    weighting = FocalConstant("gamma")
