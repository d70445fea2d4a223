"""Decoupling and regularisation of angles, margins and feature norms, as far as it can be inferred."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from lt_bench.core.inference_heads import NormalisedLinear
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.caai25 import adapted_cosines, adapted_norms, log_mean_potential, turned
from lt_bench.strategies._lib.class_weights import kept
from lt_bench.strategies._lib.tensors import of_length
from lt_bench.strategies.contract import Facts, Strategy, at_least_float32, check_range
from lt_bench.strategies.recipe import Recipe, RecipeOptions

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

    def begin(self, train: FeatureSource) -> None:
        """R starts at the mean norm of the plain view."""
        self.radius.fill_(
            float(torch.stack([rows.float().norm(dim=1).sum() for rows in train.view("plain").split(1 << 14)]).sum() / len(train))
        )

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines (H, B, K)."""
        scale = torch.as_tensor(self.scale, dtype=self.weight.dtype, device=self.weight.device).reshape(-1, 1, 1)
        cosines, norms = adapted_cosines(features, self.weight, self.gamma, self.beta, scale)
        if cosines.requires_grad:
            vars(cosines)["norms"] = norms, features, self.written(features)  # the loss of these very logits needs them again
        return cosines

    def written(self, features: Tensor) -> tuple[int, ...]:
        """How often what the norms are made of was written to."""
        return features._version, self.gamma._version, self.beta._version

    def norms(self, features: Tensor, logits: Tensor) -> Tensor:
        """||f|| (H, B): what came with the logits, if they were made of this very tensor and nothing was written to since."""
        norms, source, written = vars(logits).get("norms", (None, None, None))
        if source is features and written == self.written(features):
            return norms
        return adapted_norms(features if features.dim() == 3 else features.unsqueeze(0), self.gamma, self.beta)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin, added to the angle of the true class."""
        margin, scale = (torch.as_tensor(value, dtype=logits.dtype, device=logits.device) for value in (self.margin, self.scale))
        return turned(logits, labels, margin, scale)

    def loss(self, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> Tensor:
        """Cross-entropy under the margin, and the norm term where features are given."""
        losses = super().loss(logits, labels, features)
        if features is None:
            return losses
        return losses + self.norm * (self.norms(features, logits) - self.radius).square().view_as(losses)

    def regulariser(self) -> Tensor:
        """lambda_u log mean exp(-2 ||u_a - u_b||^2) over pairs a != b (H,)."""
        K, rows = self.facts.num_classes, at_least_float32(self.weight)
        if K > ROWS_OF_UNIFORMITY:
            rows = rows[:, (self.turn * ROWS_OF_UNIFORMITY + torch.arange(ROWS_OF_UNIFORMITY, device=rows.device)) % K]
        potential = log_mean_potential(rows)
        return self.uniformity.to(potential) * potential

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
