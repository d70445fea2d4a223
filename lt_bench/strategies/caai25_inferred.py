"""Decoupling and regularisation of angles, margins and feature norms, as far as it can be inferred."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.heads import NormalisedLinear
from lt_bench.strategies.base import Facts, Strategy, at_least_float32, check_range, stacked_linear
from lt_bench.strategies.recipe import Recipe, RecipeOptions
from lt_bench.strategies.tensors_shared import of_length
from lt_bench.strategies.weights_shared import kept

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

    Args:
        facts: what the data know.
        scale: s.
        margin: in radians.
        uniformity: lambda_u.
        norm: lambda_n.
        recipe: fields of ``Recipe``.
    """

    name = "caai25_inferred"
    family = "decoupling and regularisation"
    paper = "Gao et al., Improving long-tail classification via decoupling and regularisation, CAAI Trans. Intell. Technol. 10(1), 2025 (forms inferred; no code)"
    initial_head = "random"
    trains = "weight and a per-dimension affine adapter"
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=30)
    inferred = True
    grid = {"margin": (0.0, 0.2), "uniformity": (0.0, 1.0), "scale": (8.0, 16.0, 30.0)}

    def __init__(
        self,
        facts: Facts,
        *,
        scale: float = 16.0,
        margin: float = 0.1,
        uniformity: float = 1.0,
        norm: float = 0.001,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, **recipe)
        for name, value, low, high in (
            ("scale", scale, 1e-3, 1e4),
            ("margin", margin, 0.0, 1.5),
            ("uniformity", uniformity, 0.0, 1e4),
            ("norm", norm, 0.0, 1e4),
        ):
            check_range(self.name, name, value, low, high)
        self.scale, self.margin, self.norm = kept(scale), kept(margin), kept(norm)
        self.uniformity = self.one_per_head(uniformity)
        self.bias.requires_grad_(False).zero_()
        self.gamma = nn.Parameter(torch.ones(self.heads, 1, facts.dim))
        self.beta = nn.Parameter(torch.zeros(self.heads, 1, facts.dim))
        self.radius = nn.Parameter(torch.ones(self.heads, 1))
        self.turn = nn.Buffer(torch.zeros((), dtype=torch.long))
        self.itself = nn.Buffer(torch.eye(min(facts.num_classes, ROWS_OF_UNIFORMITY), dtype=torch.bool), persistent=False)

    def begin(self, train: FeatureSource) -> None:
        """R starts at the mean norm of the plain view."""
        self.radius.fill_(
            float(torch.stack([rows.float().norm(dim=1).sum() for rows in train.view("plain").split(1 << 14)]).sum() / len(train))
        )

    def adapted(self, features: Tensor) -> Tensor:
        """f (H, B, D) of features (1, S or H; B; D)."""
        return torch.addcmul(self.beta, self.spread(features), self.gamma)

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines (H, B, K)."""
        scale = torch.as_tensor(self.scale, dtype=self.weight.dtype, device=self.weight.device).reshape(-1, 1, 1)
        return stacked_linear(of_length(self.adapted(features)), of_length(self.weight, scale), None)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin, added to the angle of the true class."""
        margin, scale = (torch.as_tensor(value, dtype=logits.dtype, device=logits.device) for value in (self.margin, self.scale))
        index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
        cosine = logits.gather(-1, index).squeeze(-1) / scale
        sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
        turned = torch.where(cosine > -margin.cos(), cosine * margin.cos() - sine * margin.sin(), cosine - margin * margin.sin())
        return logits.scatter(-1, index, (turned * scale).unsqueeze(-1))

    def loss(self, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> Tensor:
        """Cross-entropy under the margin, and the norm term where features are given."""
        losses = super().loss(logits, labels, features)
        if features is None:
            return losses
        stacked = features if features.dim() == 3 else features.unsqueeze(0)
        norms = torch.linalg.vector_norm(at_least_float32(self.adapted(stacked)), dim=-1)
        return losses + self.norm * (norms - self.radius).square().view_as(losses)

    def regulariser(self) -> Tensor:
        """lambda_u log mean exp(-2 ||u_a - u_b||^2) over pairs a != b (H,)."""
        K = self.facts.num_classes
        rows = (self.turn * ROWS_OF_UNIFORMITY + torch.arange(min(K, ROWS_OF_UNIFORMITY), device=self.weight.device)) % K
        directions = of_length(at_least_float32(self.weight[:, rows]))
        energy = (4 * torch.bmm(directions, directions.transpose(1, 2)) - 4).masked_fill(self.itself, -math.inf)
        return self.uniformity.to(energy) * (energy.flatten(1).logsumexp(-1) - math.log(rows.numel() * (rows.numel() - 1)))

    def project(self, after: str) -> None:
        """The next rows for the uniformity."""
        if after == "step":
            self.turn += 1

    def inference_head(self, head: int = 0) -> nn.Module:
        """Scaled cosine of the adapted feature."""
        scale = torch.as_tensor(self.scale, device=self.weight.device).flatten().expand(self.heads)[head]
        weight = of_length(self.weight[head].detach(), scale)
        return NormalisedLinear(weight, scale=self.gamma[head, 0], shift=self.beta[head, 0])

    def per_head_classifier(self, head: int = 0) -> Tensor:
        """The rows as trained."""
        return self.weight[head].detach()

    def classifier_input(self, features: Tensor, head: int = 0) -> Tensor:
        """The adapted feature."""
        return features * self.gamma[head].detach() + self.beta[head].detach()
