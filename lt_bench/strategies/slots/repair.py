"""REPAIR: the largest logits ranked anew, by what is learned from validation images."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from lt_bench.core.shortlist_head import Shortlist, pairwise, shortlisted
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.base import assign
from lt_bench.strategies.slots.inference import AtInference

FEWEST = 5
"""Validation images with their class on the shortlist below which nothing is learned, as in the released code."""


class ShortlistRepair(AtInference):
    """Of the k largest logits: ``r_y = g_y + a_y + mean over j != y of theta phi(y, j)``, ``g_c = z_c - tau log pi_c``; phi are differences of g, rank, log softmax and log n.

    a (K,) and theta (4,) maximise the mean log softmax of r over validation images whose class is on the shortlist, minus decay ||a||^2 + pair_decay ||theta||^2. Wang et al.,
    2026 (WGLab/REPAIR ``repair/core.py``), without its similarity of classes.
    """

    slot = "at_inference"
    name = "repair"
    changes_rows = True
    needs_held_out = True
    k: int = hyper(10, low=2, high=1000, help="classes of the shortlist; all where there are fewer")
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior that is taken off first")
    decay: float = hyper(1e-3, low=0, high=1e6, help="penalty on the offsets of classes")
    pair_decay: float = hyper(1e-3, low=0, high=1e6, help="penalty on the weights of pairwise features")
    rare: float = hyper(0.0, low=0, high=1, help="part of the images' weights that falls with the root of their class's size")

    def prepare(self, class_counts: Tensor) -> None:
        """The prior and the class sizes; nothing is learned yet."""
        counts = class_counts.clamp_min(1)
        assign(self, "adjustment", -self.tau * (counts / counts.sum()).clamp_min(1e-8).log())
        assign(self, "log_counts", (counts + 1).log())
        assign(self, "offsets", torch.zeros_like(counts))
        assign(self, "theta", torch.zeros(4, dtype=torch.float64))

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        """Offsets and weights."""
        logits = logits[labels >= 0].double()
        shortlist, scores, _ = shortlisted(logits, self.adjustment.to(logits), self.k)
        hit = shortlist == labels[labels >= 0].unsqueeze(1)
        on_it = hit.any(1)
        if int(on_it.sum()) < FEWEST:
            return
        phi = pairwise(scores, self.log_counts.to(logits)[shortlist])[on_it]
        sizes = np.exp(self.log_counts.cpu().numpy())
        solution = fitted(
            scores[on_it].cpu().numpy(), phi.cpu().numpy(), shortlist[on_it].cpu().numpy(), hit[on_it].cpu().numpy(), sizes, self
        )
        assign(self, "offsets", torch.from_numpy(solution[: len(sizes)]).to(logits))
        assign(self, "theta", torch.from_numpy(solution[len(sizes) :]).to(logits))

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The linear part: the prior taken off."""
        return weight, bias + self.adjustment.to(bias)

    def head(self, weight: Tensor, bias: Tensor) -> nn.Module:
        """The head with its shortlist."""
        tensors = (part.to(weight) for part in (self.adjustment, self.offsets, self.log_counts, self.theta))
        return Shortlist(weight, bias, *tensors, k=int(self.k))

    adjustment: Tensor
    log_counts: Tensor
    offsets: Tensor
    theta: Tensor


def fitted(g: np.ndarray, phi: np.ndarray, shortlist: np.ndarray, hit: np.ndarray, sizes: np.ndarray, entry: ShortlistRepair) -> np.ndarray:
    """Fit a and theta, (K + 4,) together. Scores ``g`` (N, k), features ``phi`` (N, k, 4), classes ``shortlist`` (N, k), mask ``hit`` (N, k) of each image's own class, ``sizes`` n + 1 (K,)."""
    K, own = len(sizes), shortlist[hit]
    rare = sizes[own] ** -0.5
    weights = (1 - entry.rare) / len(g) + entry.rare * rare / rare.sum()
    penalty = np.concatenate([np.full(K, entry.decay), np.full(phi.shape[2], entry.pair_decay)])

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        scores = g + values[:K][shortlist] + phi @ values[K:]
        scores -= scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        slopes = weights[:, None] * (np.exp(logs) - hit)
        of_classes = np.bincount(shortlist.ravel(), slopes.ravel(), minlength=K)
        gradient = np.concatenate([of_classes, np.einsum("ny,nyf->f", slopes, phi)])
        return float(-(weights * logs[hit]).sum() + (penalty * values**2).sum()), gradient + 2 * penalty * values

    start = np.zeros(K + phi.shape[2])
    return minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-11}).x
