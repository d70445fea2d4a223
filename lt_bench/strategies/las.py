"""Label-aware smoothing."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.targets import LabelAware
from lt_bench.strategies.slots.trainable import ScaledHead


class LAS(Strategy):
    """LAS: targets smoothed more for larger classes; the second stage of MiSLAS.

    ``l_i = -sum_k q_k log softmax(z_i)_k``, ``z_c = s_c (w_c h + b_c)``, q_y = 1 - e_y + e_y / K and e_y / K elsewhere,
    ``e_c = tail + (head - tail) f(x_c)``, x = (n_c - n_min) / (n_max - n_min), f = sin(pi x / 2) (``concave``), x or 1 - cos(pi x / 2) (``convex``). Paper against code:
    the paper spreads e_y over the other K - 1 classes; the code (dvlab-research/MiSLAS ``methods.py:31-64``), as here, over all K (author, issue #4). With equal
    class counts x is 0 / 0 and taken as 0.

    Both the scales s (from 1) and the classifier (from stage 1) are trained, the classifier at ``lr * lr_factor``, on class-aware batches, 10 epochs with cosine;
    weight decay acts on s too. Official for the CIFAR, ImageNet-LT, iNaturalist and Places-LT settings, on a mixup stage 1, and with BatchNorm statistics moving but
    on CIFAR-10-LT; here features are frozen.
    """

    name = "las"
    family = "label softening"
    paper = "Zhong et al., Improving Calibration for Long-Tailed Recognition, CVPR 2021; code dvlab-research/MiSLAS"
    sampler = "class_aware"
    trains = "weight, bias and a scale per class"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=10)
    official = (
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar10/cifar10_imb001_stage2_mislas.yaml", "cifar10_lt", 100, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar10/cifar10_imb002_stage2_mislas.yaml", "cifar10_lt", 50, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar10/cifar10_imb01_stage2_mislas.yaml", "cifar10_lt", 10, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar100/cifar100_imb001_stage2_mislas.yaml", "cifar100_lt", 100, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar100/cifar100_imb002_stage2_mislas.yaml", "cifar100_lt", 50, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/cifar100/cifar100_imb01_stage2_mislas.yaml", "cifar100_lt", 10, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/imagenet/imagenet_resnet50_stage2_mislas.yaml", "imagenet_lt", None, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/ina2018/ina2018_resnet50_stage2_mislas.yaml", "inat2018", None, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
        Official("dvlab-research/MiSLAS", "0fc381e", "config/places/places_resnet152_stage2_mislas.yaml", "places_lt", None, "cycles of the sampler begin anew every epoch; an epoch there has one more batch, and no smaller last one"),
    )  # fmt: skip
    settings = {
        "cifar10_lt@100": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.5},
        "cifar10_lt@50": {"smooth_head": 0.2, "smooth_tail": 0.0, "lr_factor": 0.2},
        "cifar10_lt@10": {"smooth_head": 0.1, "smooth_tail": 0.0, "lr_factor": 0.2},
        "cifar100_lt@50": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.1},
        "cifar100_lt@10": {"smooth_head": 0.2, "smooth_tail": 0.0, "lr_factor": 0.1},
        "imagenet_lt": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.05, "weight_decay": 5e-4, "batch_size": 256},
        "inat2018": {"smooth_head": 0.3, "smooth_tail": 0.0, "lr_factor": 0.05, "weight_decay": 1e-4, "batch_size": 256},
        "places_lt": {"lr_factor": 0.05, "weight_decay": 5e-4, "batch_size": 256},
    }
    grid = {"lr": (0.01, 0.1), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    smooth_head: float = hyper(0.4, low=0, high=1, grid=(0.2, 0.4, 0.6), help="epsilon of the largest class")
    smooth_tail: float = hyper(0.1, low=0, high=1, help="epsilon of the smallest class")
    shape: Literal["concave", "linear", "convex"] = hyper("concave", help="course of epsilon between them")
    lr_factor: float = hyper(
        0.2, low=0, high=100, grid=(0.0, 0.05, 0.2, 1.0), help="learning rate of weight and bias over that of the scales"
    )

    target = LabelAware("smooth_head", "smooth_tail", "shape")
    trainable = ScaledHead("lr_factor")
