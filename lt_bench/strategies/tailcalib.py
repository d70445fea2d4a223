"""TailCalib: features of rare classes drawn from Gaussians that nearby classes lend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.core.inference_heads import on_sphere, signed_power
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import blocks, class_means
from lt_bench.strategies._lib.meta_sampler import split_members
from lt_bench.strategies._lib.tensors import inverse_lengths
from lt_bench.strategies.contract import Batch, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.classifiers import Cosine

RESIDUALS = 8
"""Training samples of a class whose residuals a draw of its Gaussian is made of."""
EPSILON = 1e-4
"""Variance that is added to every dimension, as in the official code."""


class TailCalib(Strategy):
    """TailCalib: every class filled up to the size of the largest by features drawn around its own ones, with the spread of the nearest classes.

    ``x ~ N((sum of m_c over the k nearest classes + f_i) / (k + 1), mean of their C_c + alpha + 1e-4 I)``, f = h^power / ||h^power||, m_c and C_c mean and covariance
    of h / ||h|| over class c; ``l_i = CE(z_i, y_i)`` on scaled cosines, every class equally likely, a sample of class c drawn anew with probability 1 - n_c / n_max.
    alpha is added to every entry of the covariance, as in the code.

    Points are new in every batch, as TailCalibX makes them in every epoch. A draw from C_c is a normal combination of residuals of 8 of its samples: mean and
    covariance are exact. Official values (rahulvigneswaran/TailCalibX ``run_TailCalibX_CIFAR100-LT.sh``): power 1, alpha 0, k 3 at IF 100; power 0.9, alpha 0.2 at
    IF 50; power 0.9, k 2 at IF 10. Its classifier has a learned scale, from 10, and a bias, and is trained 150 epochs of all points at a constant lr 0.01
    and momentum 0.7, 0 and 0.9 at IF 100, 50 and 10; it normalises the classifier over classes and not each class's row. The recipe here is that of other heads,
    hence inferred.
    """

    name = "tailcalib"
    family = "feature synthesis"
    paper = "Vigneswaran et al., Feature Generation for Long-tail Classification, ICVGIP 2021; code rahulvigneswaran/TailCalibX b836fd9"
    sampler = "class_balanced"
    trains = "directions of the weight rows"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    settings = {"cifar100_lt@50": {"power": 0.9, "alpha": 0.2}, "cifar100_lt@10": {"power": 0.9, "k": 2}}
    grid = {"lr": (0.01, 0.1, 0.5)}

    k: int = hyper(3, low=1, high=10_000, grid=(1, 3), help="nearest classes that lend mean and covariance; all where there are fewer")
    alpha: float = hyper(0.0, low=0, high=100, help="added to every entry of the covariance")
    power: float = hyper(1.0, low=0.01, high=10, grid=(0.5, 0.9, 1.0), help="Tukey's, of each dimension of the feature")
    scale: float = hyper(
        10.0, low=1e-3, high=1e3, grid=(10.0, 25.0), help="s, part of the logits in training, at inference and in every metric"
    )

    classifier = Cosine("scale", power="power")

    def begin(self, train: FeatureSource) -> None:
        """Class means, the nearest classes of every sample, and the samples of every class."""
        means, counts = class_means(train, self.facts.num_classes, sphere=True)
        self._means, self._counts = means.to(self.weight.dtype), counts
        distances = (torch.cdist(signed_power(rows, self.power), means) for rows, _ in blocks(train, sphere=True))
        k = min(self.k, self.facts.num_classes)
        self._nearest = torch.cat([table.topk(k, largest=False).indices for table in distances])
        self._inverse_lengths = torch.cat([inverse_lengths(rows).squeeze(1) for rows, _ in blocks(train)]).to(self._means)
        self._members, _ = split_members(train.labels, self.facts.num_classes, holds_out=False)

    def augment(self, batch: Batch) -> Batch:
        """Synthetic features in place of as many of each class as it lacks."""
        uniform = self.draws.uniform(batch.features[:, :1].float()).to(self.class_counts)
        synthetic = uniform >= (self.class_counts[batch.labels] / self.class_counts.max()).unsqueeze(1)
        drawn = self._drawn(signed_power(on_sphere(batch.features), self.power), self._nearest[batch.rows])
        return batch._replace(features=torch.where(synthetic, signed_power(drawn, 1 / self.power), batch.features))

    def _drawn(self, own: Tensor, nearest: Tensor) -> Tensor:
        """A draw for each f (B, D) with its nearest classes (B, k)."""
        (B, D), k = own.shape, nearest.shape[1]
        like: dict[str, Any] = {"dtype": torch.float32, "device": own.device}
        uniform, normal = (
            self.draws.uniform(torch.empty(B, k * RESIDUALS, **like)),
            self.draws.normal(torch.empty(B, k * RESIDUALS, **like)),
        )
        classes = nearest.repeat_interleave(RESIDUALS, dim=1)
        rows = self._members.at(classes, uniform)
        unbiased = (self._counts / (self._counts - 1).clamp_min(1)).sqrt()  # a class of one sample has no residual
        weights = normal.to(own) * unbiased[classes].to(own) / (k * RESIDUALS) ** 0.5
        residuals = torch.einsum("br,brd->bd", weights * self._inverse_lengths[rows], self.training_data.gather(rows).to(own))
        residuals -= torch.einsum("bk,bkd->bd", weights.view(B, k, RESIDUALS).sum(2), self._means[nearest])
        mean = (self._means[nearest].sum(1) + own) / (k + 1)
        isotropic, common = self.draws.normal(torch.empty(B, D, **like)).to(own), self.draws.normal(torch.empty(B, 1, **like)).to(own)
        return mean + residuals + EPSILON**0.5 * isotropic + self.alpha**0.5 * common
