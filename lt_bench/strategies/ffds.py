"""FFDS and D-FFDS: frequency-focused loss with dynamic smoothing."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.strategies._lib import ffds as shared
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.tensors import at_least_float32, per_class
from lt_bench.strategies.contract import Batch, Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper


class DFFDS(Strategy):
    """D-FFDS: FFDS as a second phase, from the stage-1 head.

    ``l_i = w_y * (1 - p_hat_i)^gamma_y * CE(z_i, q)``, q the one-hot target smoothed by epsilon / (K - 1), w class-balanced. DynaSmooth pulls the true-class
    probability towards the mean of its group of classes over the last epoch, ``p_hat = p_y - (k (sqrt p_y - sqrt mean_g))^2 (p_y - mean_g)``; FreqFocus makes
    gamma grow with class size along a curve. The focusing factor carries no gradient. The first epoch is plain cross-entropy and collects the means, as in the
    official code, where the phase switch leaves one such epoch.

    Paper against code (nwjun/FFDS-Loss ``losses/ffds.py``, ``train.py``): the code's class weights sum to 1 / K (a slip: ``code``), the paper's are raw
    (``paper``); both make the data gradient 10^2 to 10^5 times smaller than cross-entropy's on CIFAR-100-LT, so the default is ``classes`` (sum K). The code
    also feeds test probabilities into the group means through ``validate()``; here evaluation data are never seen. Class order: groups are runs of classes
    sorted by size, equal to the code's index ranges on CIFAR. With equal class counts gamma is ``gamma_min``. Published end to end; here it is adapted, under the recipe of the code's second phase (``train.py:443-471``).
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
        "tiny_imagenet_lt": {"gamma_max": 3.0, "epochs": 90, "milestones": (5,), "decay": 0.01},
        "ictext_lt": {"groups": 5, "k": 0.7, "batch_size": 256, "epochs": 50, "milestones": (10, 30), "decay": 0.01},
        "ictext_lt@18": {"gamma_min": 1.2, "gamma_max": 3.8, "curve": "linear"},
        "ictext_lt@100": {"gamma_min": 0.7, "gamma_max": 2.4},
    }
    grid = {"lr": (0.001, 0.01, 0.1), "gamma_max": (0.0, 0.5, 1.5, 4.5), "weight_decay": (2e-4, 5e-3)}
    stackable = True

    gamma_min: float = hyper(0.0, low=0, high=10, help="focusing of the smallest class")
    gamma_max: float = hyper(4.5, low=0, high=10, help="focusing of the largest class, at least gamma_min")
    curve: Literal["linear", "convex", "concave"] = hyper("concave", help="FreqFocus along x (linear), x^3 (convex) or tanh 4x (concave)")
    groups: int = hyper(10, low=1, help="M groups of classes")
    k: float = hyper(0.9, low=0, high=1, help="strength of DynaSmooth; 0 turns it off")
    epsilon: float = hyper(0.1, low=0, high=1, help="label smoothing")
    beta: float = hyper(0.9999, low=0, high=0.999999999, help="of the effective number")
    weight_scale: Literal["classes", "paper", "code"] = hyper(
        "classes", help="class weights that sum to K, those of the paper, or of the code"
    )
    freq_focus: bool = hyper(True, help="gamma follows class size; off, every class has the same, given as both gamma_min and gamma_max")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        shared.check_focus(self.name, self.gamma_min, self.gamma_max, self.freq_focus)
        counts, groups = self.class_counts, min(self.groups, facts.num_classes)
        self.final_weight = nn.Buffer(shared.scaled_weights(counts, self.beta, self.weight_scale), persistent=False)
        self.gamma = nn.Buffer(shared.frequency_focus(counts, self.gamma_min, self.gamma_max, self.curve), persistent=False)
        self.group_of_class = nn.Buffer(shared.frequency_groups(counts, groups), persistent=False)
        self.group_mean = nn.Buffer(torch.full((*self.leading, groups), torch.nan, dtype=torch.float64))
        self.sums, self.seen = nn.Buffer(torch.zeros_like(self.group_mean)), nn.Buffer(torch.zeros_like(self.group_mean))
        self.focusing, self._entropy = False, shared.LatestEntropy()
        self.register_load_state_dict_post_hook(_focus_again)

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smoothed cross-entropy of clamped probabilities, plain cross-entropy until group means exist."""
        if not self.focusing:
            return smoothed_cross_entropy(logits, labels, 0.0)
        return self._entropy(logits, labels, self.epsilon).losses_of(logits)

    def sample_weight(self, logits: Tensor, batch: Batch) -> Tensor | None:
        """w_y (1 - p_hat)^gamma_y, a constant for the gradient; nothing until group means exist."""
        if not self.focusing:
            return None
        with torch.no_grad():
            true = self._entropy(logits, batch.labels, self.epsilon).true
            means = per_class(self.group_mean, per_class(self.group_of_class, batch.labels)).to(true).view_as(true)
            gamma, weight = (per_class(table.to(true), batch.labels) for table in (self.gamma, self.final_weight))
            return (1 - shared.smooth_probability(true, means, self.k)) ** gamma * weight

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """Sum the true-class probabilities per group."""
        true = self._entropy(at_least_float32(logits), batch.labels, self.epsilon).true
        self._entropy.forget()
        shared.add_by_group(self.sums, self.seen, true, batch.labels, self.group_of_class)

    def statistics(self) -> list[Tensor]:
        """Group sums and counts."""
        return [self.sums, self.seen]

    def end_epoch(self, epoch: int) -> None:
        """The means of the epoch become those of the next; a group that no sample was drawn from keeps its own, or takes the overall mean."""
        shared.exchange_means(self.group_mean, self.sums, self.seen)
        self.focusing = True


def _focus_again(strategy: DFFDS, keys: Any) -> None:
    """A fit that is resumed after its first epoch focuses from the start."""
    strategy.focusing = not bool(strategy.group_mean.isnan().all())


class FFDS(DFFDS):
    """FFDS: the same loss from a random head, in one phase.

    ``l_i = w_y * (1 - p_hat_i)^gamma_y * CE(z_i, q)``; see ``d_ffds`` for the formulas and the differences between paper and code. The first epoch is plain
    cross-entropy and collects the group means (the code's trigger epoch 0). No configuration of one-phase FFDS was released; the recipe is inferred.
    """

    name = "ffds"
    initial_head = "random"
