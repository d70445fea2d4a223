"""Nearest class mean."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear, on_sphere
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import ROWS
from lt_bench.strategies._lib.remembered import remembered
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.official import Official


class NCM(Strategy):
    """Nearest class mean: the class whose mean training feature is nearest; one pass over the plain training view.

    ``z_ic = -||f_i - m_c||^2`` with m_c the mean of f over class c, and f = h (``un``), h / ||h|| (``l2n``) or (h - mu) / ||h - mu|| (``cl2n``, mu the mean of all
    training features). It has no loss, kernel or prior: outside the formula. As in the official code the means are not normalised again, and mu and the means
    come from un-augmented training images (facebookresearch/classifier-balancing ``run_networks.py`` get_knncentroids, ``models/KNNClassifier.py``; its other
    similarity, called cos there, is the dot product over D and is left out). ``un`` is a linear layer here: -||h||^2 is the same for all classes and dropped.
    A class without training samples has its mean at the origin.
    """

    name = "ncm"
    family = "baseline"
    paper = "Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020; code facebookresearch/classifier-balancing"
    initial_head = "none"
    trains = "class means"
    fitting = "solve"
    official = (
        Official("facebookresearch/classifier-balancing", "f162ade", "config/ImageNet_LT/feat_uniform.yaml --test --knn", "imagenet_lt"),
        Official("facebookresearch/classifier-balancing", "f162ade", "config/iNaturalist18/feat_unifrom.yaml --test --knn", "inat2018"),
    )

    form: Literal["un", "l2n", "cl2n"] = hyper(
        "cl2n", grid=("un", "l2n", "cl2n"), name="features", help="f: h, h / ||h||, or h centred over its norm"
    )

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.means = nn.Buffer(torch.zeros(facts.num_classes, facts.dim))
        self.centre = nn.Buffer(torch.zeros(facts.dim))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Two passes, sums in float64: the mean of all, and the mean of each class."""
        means, centre = remembered(train, (type(self), self.form, self.dtype, self.facts.num_classes), lambda: self._means(train))
        self.means.copy_(means)
        self.centre.copy_(centre)

    def _means(self, train: FeatureSource) -> tuple[Tensor, Tensor]:
        features, labels = train.view("plain"), train.labels
        if self.form == "cl2n":
            total = torch.stack([rows.double().sum(0) for rows in features.split(ROWS)]).sum(0)
            self.centre.copy_(total / len(train))
        sums = torch.zeros_like(self.means, dtype=torch.float64)
        for rows, of in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            sums.index_add_(0, of, self._centred(rows.to(self.centre.dtype)).double())
        return sums / torch.bincount(labels, minlength=self.facts.num_classes).clamp_min(1).unsqueeze(1), self.centre.clone()

    def _centred(self, features: Tensor) -> Tensor:
        """f of features h (..., D)."""
        return features if self.form == "un" else on_sphere(features - self.centre)

    def logits(self, features: Tensor) -> Tensor:
        """-||f - m||^2 (..., B, K), for ``un`` without -||h||^2."""
        return self.inference_head()(features)

    def inference_head(self) -> nn.Module:
        """2 m_c f - ||m_c||^2 - ||f||^2."""
        bias = -self.means.square().sum(1)
        if self.form == "un":
            return linear_head(2 * self.means, bias)
        return NormalisedLinear(2 * self.means, bias - 1, shift=-self.centre if self.form == "cl2n" else None)

    def classifier_rows(self) -> Tensor:
        """The class means."""
        return self.means

    def classifier_input(self, features: Tensor) -> Tensor:
        """The feature, centred for ``cl2n``."""
        return features - self.centre if self.form == "cl2n" else features
