"""The head of LIFT."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine
from lt_bench.strategies.slots.transforms import LogPrior


class LIFT(Strategy):
    """LIFT's head: the logit-adjusted loss on scaled cosines, from the directions of the class means.

    ``l_i = CE(T(z_i), y)``, ``z_c = s h w_c / (||h|| ||w_c||)``, ``T(z)_c = z_c + tau log pi_c``; inference is without the prior.

    The official code trains adapters in the backbone together with this head, both from the same recipe (shijxcs/LIFT ``trainer.py``, ``models/classifiers.py``,
    ``configs/model/*.yaml``: s 25, lr 0.01, momentum 0.9, weight decay 5e-4, batch 128, 10 epochs with cosine, 20 on iNaturalist). Here the backbone is frozen and
    the head is alone, hence inferred. The initial rows are those of ``in21k_vit_b16.yaml``, the class means without centring; CLIP's configurations have text
    embeddings there, and a cache whose head is made of those gets them with ``compose`` and the initial head ``joint``. Test-time ensembling is left out.
    """

    name = "lift"
    family = "logit adjustment"
    paper = "Shi et al., Long-Tail Learning with Foundation Model: Heavy Fine-Tuning Hurts, ICML 2024; code shijxcs/LIFT 661ead9"
    initial_head = "class_means(centred=False)"
    trains = "directions of the weight rows"
    capturable = True
    recipe = Recipe(lr=0.01, weight_decay=5e-4, batch_size=128, epochs=10)
    settings = {"inat2018": {"epochs": 20}}
    grid = {"lr": (0.01, 0.03, 0.1, 0.3)}
    stackable = True

    scale: float = hyper(
        25.0, low=1e-3, high=1e3, grid=(15.0, 25.0, 40.0), help="s, part of the logits in training, at inference and in every metric"
    )
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior")

    classifier = Cosine("scale")
    transform = LogPrior("tau")


class LIFTPlus(LIFT):
    """LIFT+'s head: that of LIFT with half the epochs at twice the rate.

    ``l_i = CE(T(z_i), y)``, ``z_c = s h w_c / (||h|| ||w_c||)``, ``T(z)_c = z_c + tau log pi_c``: loss and classifier are those of ``lift``; lr 0.02 over 5 epochs, 15 on
    iNaturalist (shijxcs/LIFT-plus ``utils/config.py``), and lr 0.03 for the head alone on ImageNet-LT (``scripts/run_ft_methods.sh``). Its augmentation, which grows milder over the epochs, is no part of a cache, and its adapters none of a
    head; hence inferred.
    """

    name = "lift_plus"
    paper = "Shi et al., LIFT+: Lightweight Fine-Tuning for Long-Tail Learning, 2025; code shijxcs/LIFT-plus ea555ea"
    recipe = Recipe(lr=0.02, weight_decay=5e-4, batch_size=128, epochs=5)
    settings = {"imagenet_lt": {"lr": 0.03}, "inat2018": {"epochs": 15}}
