"""The inference head that ranks a shortlist anew. A plain module of tensors: it uses nothing of the suite."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-10
"""Added to probabilities before their logarithm, as in the released code."""


class Shortlist(nn.Module):
    """Linear logits whose k largest are ranked anew: ``r_y = g_y + a_y + mean over j != y of theta phi(y, j)``, g the logits with their prior adjusted.

    The other classes keep g, but never more than the smallest r, so that the prediction is of the shortlist.

    Args:
        weight: (K, D) of the classifier, and its ``bias`` (K,).
        bias: see ``weight``.
        adjustment: what is added to logits for g (K,).
        offsets: a (K,).
        log_counts: log(n_c + 1) (K,).
        theta: (4,), of the entries of ``pairwise``.
        k: classes of the shortlist, the largest logits before the adjustment; all where there are fewer.
    """

    weight: Tensor
    bias: Tensor
    adjustment: Tensor
    offsets: Tensor
    log_counts: Tensor
    theta: Tensor
    options: ClassVar[tuple[str, ...]] = ("k",)

    def __init__(
        self, weight: Tensor, bias: Tensor, adjustment: Tensor, offsets: Tensor, log_counts: Tensor, theta: Tensor, k: int
    ) -> None:  # fmt: skip
        super().__init__()
        self.k = k
        tensors = {"weight": weight, "bias": bias, "adjustment": adjustment, "offsets": offsets, "log_counts": log_counts, "theta": theta}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        shortlist, scores, adjusted = shortlisted(F.linear(features, self.weight, self.bias), self.adjustment, self.k)
        again = scores + self.offsets[shortlist] + pairwise(scores, self.log_counts[shortlist]) @ self.theta
        return torch.minimum(adjusted, again.amin(1, keepdim=True)).scatter(1, shortlist, again)


def shortlisted(logits: Tensor, adjustment: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Classes of the k largest logits (B, k), their adjusted logits (B, k), and those of all (B, K)."""
    shortlist = logits.topk(min(k, logits.shape[1]), dim=1).indices
    adjusted = logits + adjustment
    return shortlist, adjusted.gather(1, shortlist), adjusted


def pairwise(scores: Tensor, log_counts: Tensor) -> Tensor:
    """Features of the competition (B, k, 4) of each class y of a shortlist: means over its rivals j of phi(y, j).

    ``phi = (g_y - g_j, rank_j - rank_y, log(p_y / (p_j + 1e-10) + 1e-10), log((n_y + 1) / (n_j + 1)))``, p the softmax over the shortlist, rank 0 that of the largest g.

    Args:
        scores: g (B, k).
        log_counts: log(n + 1) of the shortlist (B, k).
    """
    k = scores.shape[1]
    own, rivals = scores.unsqueeze(2), scores.unsqueeze(1)
    ranks = ((rivals > own) | (rivals == own).tril(-1)).sum(2).to(scores)  # of equal ones the first is ahead; ONNX has no stable sort
    p = scores.softmax(1)
    ratios = (p.unsqueeze(2) / (p.unsqueeze(1) + TINY) + TINY).log()
    ratios = ratios.sum(2) - ratios.diagonal(dim1=1, dim2=2)
    sums = (
        k * scores - scores.sum(1, keepdim=True),
        ranks.sum(1, keepdim=True) - k * ranks,
        ratios,
        k * log_counts - log_counts.sum(1, keepdim=True),
    )
    return torch.stack(sums, dim=2) / max(k - 1, 1)
