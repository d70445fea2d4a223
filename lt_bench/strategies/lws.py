"""Learnable weight scaling."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.official import Official
from lt_bench.strategies.slots.trainable import Scale


class LWS(Strategy):
    """LWS: one learned scale per class on the logits of the frozen stage-1 head, class-aware batches.

    ``l_i = CE(T(z_i), y)``, ``T(z)_c = s_c z_c``: the bias is scaled too, s starts at 1, and weight decay pulls it to 0 (official
    ``models/TauNormClassifier.py``, ``config/*/cls_lws.yaml``). Five epochs; the rate belongs to the batch size. CIFAR settings do not exist there and are inferred:
    rate, weight decay and batch of ``crt``, with cosine over 5 epochs. BagofTricks-LT, a re-implementation, has 30 epochs with the steps and the warm-up of ``crt``. The official code leaves BatchNorm in train mode; here features are frozen.
    """

    name = "lws"
    family = "parameter regularisation"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    sampler = "class_aware"
    trains = "a scale per class"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=5)
    official = (
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/ImageNet_LT/cls_lws.yaml", "imagenet_lt", None, "scales learn from the smaller last batch of an epoch, which cls_lws skips; cycles of the sampler begin anew every epoch",
        ),
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/iNaturalist18/cls_lws.yaml", "inat2018", None, "scales learn from the smaller last batch of an epoch, which cls_lws skips; cycles of the sampler begin anew every epoch",
        ),
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/Places_LT/cls_lws.yaml", "places_lt", None, "scales learn from the smaller last batch of an epoch, which cls_lws skips; cycles of the sampler begin anew every epoch",
        ),
    )  # fmt: skip
    settings = {
        "imagenet_lt": {"lr": 0.2, "batch_size": 512, "schedule_offset": 1},
        "inat2018": {"lr": 0.2, "weight_decay": 1e-4, "batch_size": 512, "schedule_offset": 1},
        "places_lt": {"batch_size": 256, "schedule_offset": 1},
    }
    grid = {"lr": (0.01, 0.03, 0.1, 0.2), "weight_decay": (0.0, 5e-4, 5e-3), "epochs": (5, 20)}
    stackable = True

    trainable = Scale()
