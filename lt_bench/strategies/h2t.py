"""H2T: features of rare classes completed by those of frequent ones."""

from __future__ import annotations

import torch

from lt_bench.strategies.contract import Batch, Recipe
from lt_bench.strategies.feature_mixup import Paired
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official


class H2T(Paired):
    """H2T: class-balanced samples, a part of whose channels is taken from samples drawn as they come, so that rare classes borrow from frequent ones.

    ``l_i = CE(z_i, y_i)``, ``z_i = W (h_i * (1 - m) + h_j * m) + b``, i drawn with every class equally likely, j from all training samples, m the mask of a random
    ``fraction`` of the channels, drawn once a batch. The label is that of i.

    Official code (Keke921/H2T ``methods.py`` H2T, ``train_stage2.py``): the masks are of channels of the last feature map, which after pooling are those of the
    feature; the rate is ``lr_factor * lr``, 0.02 in every configuration. BatchNorm moves there, its stage 1 is trained with mixup, and j runs through all
    samples once an epoch, where here it is drawn with replacement.
    """

    name = "h2t"
    family = "feature synthesis"
    paper = "Li et al., Feature Fusion from Head to Tail for Long-Tailed Visual Recognition, AAAI 2024; code Keke921/H2T"
    sampler = "class_balanced"
    recipe = Recipe(lr=0.02, weight_decay=5e-4, batch_size=128, epochs=10)
    official = (
        Official(
            "Keke921/H2T", "3dafa70", "config/cifar100/cifar100_imb001_stage2_ce_H2T.yaml", "cifar100_lt", 100, "the second sample is drawn with replacement",
        ),
        Official(
            "Keke921/H2T", "3dafa70", "config/cifar100/cifar100_imb002_stage2_ce_H2T.yaml", "cifar100_lt", 50, "the second sample is drawn with replacement",
        ),
        Official(
            "Keke921/H2T", "3dafa70", "config/cifar100/cifar100_imb0005_stage2_ce_H2T.yaml", "cifar100_lt", 200, "the second sample is drawn with replacement",
        ),
    )  # fmt: skip
    settings = {"cifar100_lt@50": {"weight_decay": 2e-4}, "cifar100_lt@200": {"weight_decay": 2e-4}}
    grid = {"lr": (0.005, 0.02, 0.1)}
    stackable = True

    fraction: float = hyper(0.25, low=0, high=1, grid=(0.1, 0.25, 0.4), help="of the channels that come from the second sample")

    def augment(self, batch: Batch) -> Batch:
        """The batch with those channels replaced."""
        features, _ = map(self.per_head, self.partners(batch))
        ranks = self.per_head(self.draws.row(features.shape[-1], features.device)).argsort(-1).argsort(-1)
        number = self.fraction * features.shape[-1]
        mask = ranks < (number.to(features.device).floor() if isinstance(number, torch.Tensor) else int(number))
        return batch._replace(
            features=torch.where(mask.unsqueeze(-2) if self.heads is not None else mask, features, self.per_head(batch.features))
        )
