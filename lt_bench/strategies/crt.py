"""Classifier re-training on class-balanced batches."""

from __future__ import annotations

from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.official import Official


class CRT(Strategy):
    """cRT: a freshly initialised classifier, softmax cross-entropy, class-aware batches.

    ``l_i = CE(z_i, y)`` with i drawn by the class-aware sampler (shuffled cycles over classes, 4 samples each); W and b start at random.

    Official settings exist for ImageNet-LT, iNaturalist 2018 and Places-LT (facebookresearch/classifier-balancing ``config/*/cls_crt.yaml``; the rate belongs to
    the batch size there, 0.2 for 512). For CIFAR the defaults are those of BagofTricks-LT (lr 0.1, 30 epochs, steps at 10 and 20, warm-up 5, weight decay 5e-4,
    batch 128), a re-implementation; its momentum is Nesterov's, its steps come an epoch earlier, its warm-up begins at 0.47 and it draws classes at random. Code against paper: the official code leaves BatchNorm in train mode and augments images anew; here features are frozen.
    """

    name = "crt"
    family = "re-sampling"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    sampler = "class_aware"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30, schedule="step", milestones=(10, 20), decay=0.1, warmup_epochs=5)
    official = (
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/ImageNet_LT/cls_crt.yaml", "imagenet_lt", None, "trains on the smaller last batch of an epoch, which cls_crt skips; cycles of the sampler begin anew every epoch",
        ),
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/iNaturalist18/cls_crt.yaml", "inat2018", None, "trains on the smaller last batch of an epoch, which cls_crt skips; cycles of the sampler begin anew every epoch",
        ),
        Official(
            "facebookresearch/classifier-balancing", "f162ade", "config/Places_LT/cls_crt.yaml", "places_lt", None, "trains on the smaller last batch of an epoch, which cls_crt skips; cycles of the sampler begin anew every epoch",
        ),
    )  # fmt: skip
    settings = {
        "imagenet_lt": {"lr": 0.2, "batch_size": 512, "epochs": 10, "schedule": "cosine", "warmup_epochs": 0, "schedule_offset": 1},
        "inat2018": {
            "lr": 0.2, "weight_decay": 1e-4, "batch_size": 512, "epochs": 30, "schedule": "cosine", "warmup_epochs": 0, "schedule_offset": 1,
        },
        "places_lt": {"batch_size": 256, "epochs": 10, "schedule": "cosine", "warmup_epochs": 0, "schedule_offset": 1},
    }  # fmt: skip
    grid = {"lr": (0.01, 0.1, 0.5, 2.0), "weight_decay": (5e-4, 5e-3, 2e-2)}
    stackable = True
