"""The focusing factor of focal losses."""

from __future__ import annotations

import torch
from torch import Tensor


def focusing(losses: Tensor, gamma: float | Tensor) -> Tensor:
    """(1 - exp(-l))^gamma of losses (..., B); for cross-entropy exp(-l) is the true-class probability.

    1 - p is cut at the smallest normal number, below which the gradient of the power is infinite for gamma < 1.
    """
    return (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny ** 0.5) ** gamma
