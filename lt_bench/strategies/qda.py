"""Quadratic discriminant analysis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.core.memory_heads import Quadratic
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.class_means import class_means
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.lda import LDA

SMALLEST = 1e-12
"""Part of the largest variance of a class below which a direction of it counts as none."""


class QDA(LDA):
    """Quadratic discriminant analysis: a covariance for each class, shrunk to the one of ``lda``; equal priors, closed form.

    ``z_c = -1/2 (f - m_c)^T S_c^-1 (f - m_c) - 1/2 log det S_c``, ``S_c = a_c C_c + (1 - a_c) S``, ``a_c = n_c / (n_c + strength)``; C_c is the covariance of class c,
    S, f and m_c are those of ``lda``. ``strength`` is the number of samples that S counts for: rare classes fall back on S, and with strength to infinity all do,
    which is ``lda``. It is the shrinkage of Friedman (1989, eq. 16), strength = N lambda / (1 - lambda).

    Each class has min(n_c, D) directions beside S, so the head is about as large as the training features and never has K covariances of D x D.
    """

    name = "qda"
    paper = "Friedman, Regularized Discriminant Analysis, JASA 1989"
    trains = "class means and covariances"

    strength: float = hyper(
        100.0, low=1e-3, high=1e9, grid=(10.0, 100.0, 1000.0, 1e4), help="samples that the common covariance counts for"
    )

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        directions = sum(min(count, facts.dim) for count in facts.class_counts)
        self.directions = nn.Buffer(torch.zeros(directions, facts.dim))
        self.along = nn.Buffer(torch.zeros(directions))
        self.owners = nn.Buffer(torch.zeros(directions, dtype=torch.int64))
        self.scale = nn.Buffer(torch.ones(facts.num_classes))
        self.whiten = nn.Buffer(torch.eye(facts.dim))
        self.centre = nn.Buffer(torch.zeros(facts.dim))

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """Features u in which S is the identity; there each class is its own few directions and the rest of the identity."""
        K, means = self.facts.num_classes, class_means(train, self.facts.num_classes, self._sphere)[0]
        centre, root = means.mean(0), torch.linalg.cholesky(self._covariance_of(train))
        whiten = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype, device=root.device), upper=False)
        self.whiten.copy_(whiten)
        self.centre.copy_(centre)
        white, view, filled = (means - centre) @ whiten.T, train.view("plain"), 0
        order, first = train.labels.argsort(stable=True), 0
        for c in range(K):
            count = int(self.facts.class_counts[c])
            rows = view[order[first : first + count].to(view.device)].double()
            first += count
            rows = nn.functional.normalize(rows, dim=1) if self._sphere else rows
            filled += self._take_class(c, ((rows - centre) @ whiten.T - white[c]), white[c], filled)

    def _take_class(self, c: int, deviations: Tensor, mean: Tensor, filled: int) -> int:
        """Set the parts of class c, of whitened deviations (n_c, D) and mean (D,), from direction ``filled`` on; the number of its directions."""
        n, dim = deviations.shape
        own = n / (n + self.strength)
        _, values, directions = torch.linalg.svd(deviations / n**0.5, full_matrices=False)
        variance = torch.where(values.square() > SMALLEST * values.square().max(), values.square(), 0.0)
        rest = 1 - own
        gain = own * variance / (own * variance + rest)
        directions = directions * (gain / rest).sqrt().unsqueeze(1)
        at = slice(filled, filled + len(directions))
        self.directions[at], self.along[at], self.owners[at] = directions.to(self.directions), (directions @ mean).to(self.along), c
        self.scale[c] = 1 / rest
        self.rows[c] = (mean / rest).to(self.rows)
        log_det = (own * variance + rest).log().sum() + (dim - len(directions)) * torch.as_tensor(rest).log()
        self.offsets[c] = -mean.square().sum() / (2 * rest) - log_det / 2
        return len(directions)

    def inference_head(self) -> nn.Module:
        """Quadratic in f, up to a term that all classes share."""
        parts = (self.rows, self.offsets, self.scale, self.directions, self.along, self.owners, self.whiten, self.centre)
        return Quadratic(*parts, sphere=self._sphere)
