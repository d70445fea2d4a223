"""Label over-smoothing."""

from __future__ import annotations

from typing import Literal

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.targets import Smooth


class LOS(Strategy):
    """LOS: cross-entropy with targets only slightly above uniform, a short fine-tuning of the stage-1 head.

    ``l_i = -sum_k q_k log softmax(z_i)_k``. Two conventions of epsilon exist: ``torch`` (the official code, ``CrossEntropyLoss(label_smoothing=epsilon)``) has
    q_y = 1 - epsilon + epsilon / K and epsilon / K elsewhere; ``others`` has q_y = 1 - epsilon and epsilon / (K - 1) elsewhere. The logit gap at the optimum,
    log(q_y / q_k) = log(1 + K (1 - epsilon) / epsilon), caps the row LoMa: 1.112 for 0.98 and K = 100 in torch's convention, 0.703 in the other. One epsilon is a
    different target for every K, so the target may be given by its true-class probability q_y, or by that gap, instead.

    Official (bilibili/LOS ``main_stage2.py``, CIFAR-100-LT only): epsilon 0.98, lr 5e-4, momentum 0.9, no weight decay, 20 epochs with cosine, batch 64,
    instance-balanced. There BatchNorm moves, images are augmented anew, the flipped view is averaged and the best test epoch reported. For ImageNet-LT and
    iNaturalist epsilon 0.99 is known and the rest is inferred. Which convention the paper prints could not be read.

    On features of ordinary regularisation LOS from the stage-1 head is a transient, not an optimum: see docs/findings.md.
    """

    name = "los"
    family = "label softening"
    paper = "Sun et al., Rethinking Classifier Re-Training in Long-Tailed Recognition: Label Over-Smooth Can Balance, ICLR 2025; code bilibili/LOS"
    recipe = Recipe(lr=5e-4, momentum=0.9, weight_decay=0.0, batch_size=64, epochs=20)
    official = (
        Official("bilibili/LOS", "50652c0", "main_stage2.py --imb_ratio 10 --label_smooth 0.98", "cifar100_lt", 10),
        Official("bilibili/LOS", "50652c0", "main_stage2.py --imb_ratio 50 --label_smooth 0.98", "cifar100_lt", 50),
        Official("bilibili/LOS", "50652c0", "main_stage2.py --imb_ratio 100 --label_smooth 0.98", "cifar100_lt", 100),
    )
    settings = {"imagenet_lt": {"epsilon": 0.99}, "inat2018": {"epsilon": 0.99}}
    grid = {"lr": (5e-5, 1.5e-4, 5e-4, 1.5e-3, 5e-3)}
    stackable = True

    epsilon: float = hyper(0.98, low=0, high=1, grid=(0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.99), help="mass spread evenly over all K classes")
    convention: Literal["torch", "others"] = hyper("torch", help="spread over all K classes (torch) or over the K - 1 others")
    true_probability: float = hyper(0.0, low=0, high=1, help="q_y, from 1 / K to 1; sets the target instead of epsilon where it is not 0")
    gap: float = hyper(0.0, low=0, high=50, help="log(q_y / q_k); sets the target instead of epsilon where it is not 0")

    target = Smooth("epsilon", "convention", "true_probability", "gap")


class LORT(LOS):
    """LORT: the earlier form of LOS, here under LOS's settings.

    ``l_i = -sum_k q_k log softmax(z_i)_k`` with a small true-label probability and a large negative probability spread over the classes, which is LOS's target.
    The abstract of arXiv 2403.00250v1 says so much; its constants could not be read, so every number here is LOS's and none is LORT's own.
    """

    name = "lort"
    paper = "Sun et al., first version of LOS, March 2024, arXiv 2403.00250v1; abstract only, constants unknown"
    official = ()
    inferred = True
