"""Decoupling and regularisation of angles, margins and feature norms, as far as it can be inferred."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.caai25 import adapted_cosines, log_mean_potential, turned
from lt_bench.strategies._lib.tensors import at_least_float32, of_head, of_length
from lt_bench.strategies.contract import Batch, Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper

ROWS_OF_UNIFORMITY = 1024


class CAAI25Inferred(Strategy):
    """Hyperspherical uniformity of the classifier, an additive angular margin and a feature-norm term, all inferred: the article's formulas could not be read.

    ``l_i = CE(T(z_i), y) + lambda_n (||f_i|| - R)^2``, f = gamma * h + beta, ``z_c = s cos(f, w_c)``, and T turns the true class's angle from theta to theta + margin
    (ArcFace; for theta > pi - margin, cos theta - margin sin margin). The regulariser is lambda_u times log mean exp(-2 ||u_a - u_b||^2) over pairs of
    classifier directions u (Wang and Isola 2020). R is learned and starts at the mean norm of the training features (ring loss).

    Known of the article (abstract): the decomposition ||w|| ||f|| cos theta, three problems - uneven angles, features that discriminate too little, low feature
    norms - and three remedies of those names. Which forms they take, all hyper-parameters and tables are unknown, so this row has no published number. Features are
    frozen here and their norm cannot move, hence the affine adapter gamma, beta (D each, from 1 and 0), trained with the head. With more classes than 1,024 each step
    takes the next 1,024 rows, so that no K x K table arises.
    """

    name = "caai25_inferred"
    family = "decoupling and regularisation"
    paper = "Gao et al., Improving long-tail classification via decoupling and regularisation, CAAI Trans. Intell. Technol. 10(1), 2025 (forms inferred; no code)"
    initial_head = "random"
    trains = "weight and a per-dimension affine adapter"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    inferred = True
    grid = {"margin": (0.0, 0.2), "uniformity": (0.0, 1.0), "scale": (8.0, 16.0, 30.0)}
    stackable = True

    scale: float = hyper(16.0, low=1e-3, high=1e4, help="s, of the cosines")
    margin: float = hyper(0.1, low=0, high=1.5, help="added to the angle of the true class, in radians")
    uniformity: float = hyper(1.0, low=0, high=1e4, help="lambda_u, strength of the regulariser")
    norm: float = hyper(0.001, low=0, high=1e4, help="lambda_n, strength of the norm term")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.bias.requires_grad_(False).zero_()
        self.gamma = nn.Parameter(torch.ones(*self.leading, 1, facts.dim))
        self.beta = nn.Parameter(torch.zeros(*self.leading, 1, facts.dim))
        self.radius = nn.Parameter(torch.ones(*self.leading, 1))
        self.turn = nn.Buffer(torch.zeros((), dtype=torch.long))

    def begin(self, train: FeatureSource) -> None:
        """R starts at the mean norm of the plain view."""
        norms = [rows.float().norm(dim=1).sum() for rows in train.view("plain").split(1 << 14)]
        self.radius.fill_(float(torch.stack(norms).sum() / len(train)))

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines (B, K)."""
        cosines, norms = self._adapted(features, self.weight, of_head(self.scale, self.weight, 2))
        if cosines.requires_grad:
            vars(cosines)["norms"] = norms, features, self._writes(features)  # the loss of these very logits needs them again
        return cosines

    def _adapted(self, features: Tensor, weight: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
        """Scaled cosines (B, K) and norms of the adapted features (B,)."""
        if self.heads is not None:
            return adapted_cosines(features if features.dim() == 3 else features.unsqueeze(0), weight, self.gamma, self.beta, scale)
        weight, gamma, beta = weight.unsqueeze(0), self.gamma.unsqueeze(0), self.beta.unsqueeze(0)
        cosines, norms = adapted_cosines(features.unsqueeze(0), weight, gamma, beta, scale)
        return cosines.squeeze(0), norms.squeeze(0)

    def _writes(self, features: Tensor) -> tuple[int, ...]:
        """Number of in-place writes to the tensors that the norms are computed from."""
        return features._version, self.gamma._version, self.beta._version

    def _norms(self, features: Tensor, logits: Tensor) -> Tensor:
        """||f|| (B,): what came with the logits, if they were made of this very tensor and nothing was written to since."""
        norms, source, writes = vars(logits).get("norms", (None, None, None))
        if source is features and writes == self._writes(features):
            return norms
        return self._adapted(features, self.weight[..., :0, :], 1.0)[1]

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin, added to the angle of the true class."""
        margin, scale = (torch.as_tensor(value, dtype=logits.dtype, device=logits.device) for value in (self.margin, self.scale))
        return turned(logits, labels, margin, scale)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy under the margin, and the norm term."""
        losses = super().loss(logits, batch)
        return losses + self.norm * (self._norms(batch.features, logits) - self.radius).square().view_as(losses)

    def regulariser(self) -> Tensor:
        """lambda_u log mean exp(-2 ||u_a - u_b||^2) over pairs a != b."""
        K, rows = self.facts.num_classes, at_least_float32(self.weight)
        if K > ROWS_OF_UNIFORMITY:
            rows = rows[..., (self.turn * ROWS_OF_UNIFORMITY + torch.arange(ROWS_OF_UNIFORMITY, device=rows.device)) % K, :]
        potential = log_mean_potential(rows) if self.heads is not None else log_mean_potential(rows.unsqueeze(0)).squeeze(0)
        return of_head(self.uniformity, potential) * potential

    def project(self, after: Literal["step", "epoch"]) -> None:
        """The next rows for the uniformity."""
        if after == "step":
            self.turn += 1

    def inference_head(self) -> nn.Module:
        """Scaled cosine of the adapted feature."""
        return NormalisedLinear(of_length(self.weight.detach(), self.scale), scale=self.gamma.squeeze(0), shift=self.beta.squeeze(0))

    def classifier_rows(self) -> Tensor:
        """The rows as trained."""
        return self.weight.detach()

    def classifier_input(self, features: Tensor) -> Tensor:
        """The adapted feature."""
        return features * self.gamma.detach().squeeze(0) + self.beta.detach().squeeze(0)
