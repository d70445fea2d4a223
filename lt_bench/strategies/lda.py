"""Linear discriminant analysis."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import class_means, linear_discriminant, shrunk, within_covariance
from lt_bench.strategies._lib.tensors import linear_head
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper


class LDA(Strategy):
    """Linear discriminant analysis with a shrunk covariance and equal priors; closed form, two passes over the plain training view.

    ``z_c = w_c f + b_c``, ``w_c = S^-1 m_c``, ``b_c = -m_c S^-1 m_c / 2``, ``S = (1 - shrinkage) S_w + shrinkage tr(S_w) / D I``. f is h or h / ||h|| (``l2n``), m_c the
    mean of f over class c, and S_w the mean of the classes' covariances, weighted by ``n_c^(1 - balance)``: pooled over all samples at balance 0, where frequent
    classes make it, class-balanced at 1. A class of one sample has a covariance of 0.

    It is the Bayes rule for Gaussian classes of one covariance. No prior enters, which is the choice for a balanced test set; nothing is tied to the stage-1 head.
    The shrinkage is that of Friedman (1989) and scikit-learn (``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...)``, which this equals).
    """

    name = "lda"
    family = "baseline"
    paper = "Fisher, The use of multiple measurements in taxonomic problems, 1936; shrinkage of Friedman, Regularized Discriminant Analysis, JASA 1989"
    initial_head = "none"
    trains = "class means and their covariance"
    fitting = "solve"

    shrinkage: float = hyper(0.1, low=0, high=1, grid=(0.003, 0.01, 0.03, 0.1, 0.3, 0.6), help="share of the identity in the covariance")
    form: Literal["un", "l2n"] = hyper("l2n", grid=("un", "l2n"), name="features", help="f: h, or h / ||h||")
    balance: float = hyper(
        1.0, low=0, high=1, grid=(0.0, 1.0), help="0 for the covariance pooled over samples, 1 for the mean of the classes' own"
    )

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.rows = nn.Buffer(torch.zeros(facts.num_classes, facts.dim))
        self.offsets = nn.Buffer(torch.zeros(facts.num_classes))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Sums and solution in float64."""
        rows, offsets = linear_discriminant(class_means(train, self.facts.num_classes, self._sphere)[0], self._covariance_of(train))
        self.rows.copy_(rows)
        self.offsets.copy_(offsets)

    @property
    def _sphere(self) -> bool:
        return self.form == "l2n"

    def _covariance_of(self, train: FeatureSource) -> Tensor:
        """S (D, D)."""
        return shrunk(within_covariance(train, self.facts.num_classes, self._sphere, self.balance), self.shrinkage)

    def inference_head(self) -> nn.Module:
        """Linear in f."""
        return NormalisedLinear(self.rows, self.offsets) if self._sphere else linear_head(self.rows, self.offsets)
