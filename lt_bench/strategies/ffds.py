"""FFDS and D-FFDS: frequency-focused loss with dynamic smoothing."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib import ffds as shared
from lt_bench.strategies._lib.class_weights import kept
from lt_bench.strategies.contract import Facts, Strategy, at_least_float32, check_range, per_class, smoothed_cross_entropy
from lt_bench.strategies.recipe import Recipe, RecipeOptions


class DFFDS(Strategy):
    """D-FFDS: FFDS as a second phase, from the stage-1 head.

    ``l_i = w_y * (1 - p_hat_i)^gamma_y * CE(z_i, q)``, q the one-hot target smoothed by epsilon / (K - 1), w class-balanced. DynaSmooth pulls the true-class
    probability towards the mean of its group of classes over the last epoch, ``p_hat = p_y - (k (sqrt p_y - sqrt mean_g))^2 (p_y - mean_g)``; FreqFocus makes
    gamma grow with class size along a curve. The focusing factor carries no gradient. The first epoch is plain cross-entropy and collects the means, as in the
    official code, where the phase switch leaves one such epoch.

    Paper against code (nwjun/FFDS-Loss ``losses/ffds.py``, ``train.py``): the code's class weights sum to 1 / K (a slip: ``code``), the paper's are raw
    (``paper``); both make the data gradient 10^2 to 10^5 times smaller than cross-entropy's on CIFAR-100-LT, so the default is ``classes`` (sum K). The code
    also feeds test probabilities into the group means through ``validate()``; here evaluation data are never seen. Class order: groups are runs of classes
    sorted by size, equal to the code's index ranges on CIFAR. With equal class counts gamma is ``gamma_min``.

    The published method is end to end; on frozen features it is adapted. The recipe is the code's second phase (70 epochs at 0.1, x0.1 after 30, x0.01 after 50).

    Args:
        facts: what the data know.
        gamma_min: focusing of the smallest class.
        gamma_max: focusing of the largest class, at least gamma_min.
        curve: FreqFocus along x (``linear``), x^3 (``convex``) or tanh 4x (``concave``).
        groups: M groups of classes.
        k: strength of DynaSmooth; 0 turns it off.
        epsilon: label smoothing.
        beta: of the effective number.
        weight_scale: ``classes``, ``paper`` or ``code``, see above.
        freq_focus: whether gamma follows class size; off, every class has the same, given as both gamma_min and gamma_max.
        recipe: fields of ``Recipe``.
    """

    name = "d_ffds"
    family = "re-weighting"
    paper = "Nah, Chng, Lim, Chan, FFDS-Loss (ICIP 2023); code nwjun/FFDS-Loss"
    capturable = True
    recipe = Recipe(lr=0.1, weight_decay=2e-4, batch_size=128, epochs=70, schedule="step", milestones=(30, 50), decay=0.1)
    settings = {
        "cifar10_lt@100": {"gamma_max": 3.0, "groups": 3},
        "cifar10_lt@50": {"gamma_min": 1.0, "gamma_max": 4.5, "groups": 1},
        "cifar10_lt@10": {"gamma_min": 2.5, "gamma_max": 4.5, "groups": 2},
        "cifar100_lt@50": {"gamma_min": 1.5, "gamma_max": 5.0, "groups": 5},
        "cifar100_lt@10": {"gamma_min": 2.5, "gamma_max": 4.0, "groups": 5, "beta": 0.999},
        "tiny_imagenet_lt": {"gamma_max": 3.0},
        "ictext_lt@18": {"gamma_min": 1.2, "gamma_max": 3.8, "groups": 5, "k": 0.7, "curve": "linear", "batch_size": 256},
        "ictext_lt@100": {"gamma_min": 0.7, "gamma_max": 2.4, "groups": 5, "k": 0.7, "batch_size": 256},
    }
    grid = {"lr": (0.001, 0.01, 0.1), "gamma_max": (0.0, 0.5, 1.5, 4.5), "weight_decay": (2e-4, 5e-3)}

    def __init__(
        self,
        facts: Facts,
        *,
        gamma_min: float = 0.0,
        gamma_max: float = 4.5,
        curve: Literal["linear", "convex", "concave"] = "concave",
        groups: int = 10,
        k: float = 0.9,
        epsilon: float = 0.1,
        beta: float = 0.9999,
        weight_scale: Literal["classes", "paper", "code"] = "classes",
        freq_focus: bool = True,
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, **recipe)
        for name, value, high in (("gamma_min", gamma_min, 10.0), ("gamma_max", gamma_max, 10.0), ("k", k, 1.0), ("epsilon", epsilon, 1.0)):
            check_range(self.name, name, value, 0.0, high)
        check_range(self.name, "beta", beta, 0.0, 1 - 1e-9)
        check_range(self.name, "groups", groups, 1, float("inf"))
        shared.check_focus(self.name, gamma_min, gamma_max, freq_focus)
        groups = min(groups, facts.num_classes)
        self.k, self.epsilon = kept(k), kept(epsilon)
        self.final_weight = nn.Buffer(shared.scaled_weights(self.class_counts, beta, weight_scale), persistent=False)
        self.gamma = nn.Buffer(shared.frequency_focus(self.class_counts, gamma_min, gamma_max, curve), persistent=False)
        self.group_of_class = nn.Buffer(shared.frequency_groups(self.class_counts, groups), persistent=False)
        self.group_mean = nn.Buffer(torch.full((self.heads, groups), torch.nan, dtype=torch.float64))
        self.sums = nn.Buffer(torch.zeros(self.heads, groups, dtype=torch.float64))
        self.seen = nn.Buffer(torch.zeros(self.heads, groups, dtype=torch.float64))
        self.focusing = False
        self.latest: shared.ClampedCrossEntropy | None = None

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """A fit resumed after its first epoch focuses from the start."""
        self.focusing = not bool(checkpoint["state_dict"]["group_mean"].isnan().all())

    def entropy(self, logits: Tensor, labels: Tensor) -> shared.ClampedCrossEntropy:
        """Of these logits and labels; a step asks for the same one three times."""
        if self.latest is None or not self.latest.is_of(logits, labels):
            self.latest = shared.ClampedCrossEntropy(logits, labels, self.epsilon)
        return self.latest

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smoothed cross-entropy of clamped probabilities, plain cross-entropy until group means exist."""
        return self.entropy(logits, labels).losses_of(logits) if self.focusing else smoothed_cross_entropy(logits, labels, 0.0)

    def focus(self, logits: Tensor, labels: Tensor, features: Tensor | None) -> Tensor | None:
        """w_y (1 - p_hat)^gamma_y, a constant for the gradient; nothing until group means exist."""
        if not self.focusing:
            return None
        with torch.no_grad():
            true = self.entropy(logits, labels).true
            means = per_class(self.group_mean, per_class(self.group_of_class, labels)).to(true).view_as(true)
            gamma, weight = (per_class(table.to(true), labels) for table in (self.gamma, self.final_weight))
            return (1 - shared.smooth_probability(true, means, self.k)) ** gamma * weight

    def observe(self, logits: Tensor, labels: Tensor) -> None:
        """Sum the true-class probabilities per group."""
        true = self.entropy(at_least_float32(logits), labels).true
        self.latest = None  # nothing is kept from step to step
        shared.add_by_group(self.sums, self.seen, true, labels, self.group_of_class)

    def statistics(self) -> list[Tensor]:
        """Group sums and counts."""
        return [self.sums, self.seen]

    def end_epoch(self, epoch: int) -> None:
        """The means of the epoch become those of the next; a group that no sample was drawn from keeps its own, or takes the overall mean."""
        overall = self.sums.sum(1, keepdim=True) / self.seen.sum(1, keepdim=True)
        fallback = torch.where(self.group_mean.isnan(), overall, self.group_mean)
        self.group_mean.copy_(torch.where(self.seen > 0, self.sums / self.seen.clamp_min(1), fallback))
        self.sums.zero_()
        self.seen.zero_()
        self.focusing = True


class FFDS(DFFDS):
    """FFDS: the same loss from a random head, in one phase.

    ``l_i = w_y * (1 - p_hat_i)^gamma_y * CE(z_i, q)``; see ``d_ffds`` for the formulas and the differences between paper and code. The first epoch is plain
    cross-entropy and collects the group means (the code's trigger epoch 0). No configuration of one-phase FFDS was released; the recipe is inferred.
    """

    name = "ffds"
    initial_head = "random"
