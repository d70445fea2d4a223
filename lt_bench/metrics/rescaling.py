"""Logits rescaled and shifted so that their probabilities suit labels: temperature, bias-corrected temperature and vector scaling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = 200
"""Largest number of iterations of L-BFGS."""
RIDGE = 1e-4
"""Penalty on shifts, half its square, so that the shift of a class without labels is finite."""


@torch.inference_mode(False)
def rescaling(logits: Tensor, labels: Tensor, *, per_class: bool, shift: bool) -> tuple[Tensor, Tensor]:
    """Scale s and shift t that minimise the mean cross-entropy of ``s z + t``, a convex function of them, by L-BFGS in float64.

    Args:
        logits: z (N, K), finite.
        labels: (N,).
        per_class: a scale for each class (vector scaling; Guo et al., ICML 2017), or one for all: 1 / temperature.
        shift: whether to fit a shift; with one scale for all, this is bias-corrected temperature scaling (Alexandari et al., ICML 2020).

    Returns:
        s and t (K,), t of mean 0.
    """
    z = logits.detach().double().clone()
    unit, K = z.std().clamp_min(torch.finfo(z.dtype).tiny), z.shape[1]
    z = (z - z.mean(1, keepdim=True)) / unit if not per_class else z / unit
    free = torch.zeros(2, K, dtype=z.dtype, device=z.device)
    free[0] = unit.clamp(1e-3, 1e3)
    free.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free], max_iter=ITERATIONS, tolerance_grad=1e-9, tolerance_change=1e-14, history_size=20, line_search_fn="strong_wolfe"
    )

    def parts() -> tuple[Tensor, Tensor]:
        scale = free[0] if per_class else free[0].mean().expand(K)
        return scale, free[1] - free[1].mean() if shift else torch.zeros_like(free[1])

    def closure() -> Tensor:
        optimizer.zero_grad()
        scale, offset = parts()
        objective = F.cross_entropy(z * scale + offset, labels) + RIDGE / 2 * offset.square().sum()
        objective.backward()
        return objective

    with torch.enable_grad():
        optimizer.step(closure)
    scale, offset = (part.detach() for part in parts())
    return scale / unit, offset
