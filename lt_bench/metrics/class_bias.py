"""Class bias: how far the classes that a head predicts are from those that there are, and what accuracy is without it.

Both need the class shares of a set and no label of any of its images. Their formulas are ours; offsets that equalise shares are the dual variables of the optimal
transport between images and classes (Cuturi, "Sinkhorn Distances", NeurIPS 2013).
"""

from __future__ import annotations

import torch
from torch import Tensor

TEMPERATURES = (1.0, 0.3, 0.1, 0.05)
"""Of the softened assignments, in units of the median margin between the two largest logits of an image, with the offsets so far."""
CLOSE = 4e-3
"""Total variation between softened shares and the prior at which a temperature is done."""
STEPS = 100
"""At most, a temperature."""
ACCELERATION = 1.8
"""Over-relaxation of the fixed point (Thibault et al., "Overrelaxed Sinkhorn-Knopp Algorithm for Regularized Optimal Transport", 2021)."""
LARGEST = 1 << 26
"""Logits of a set, N K, up to which offsets are sought: all of them are held in memory at once."""


def class_bias(predictions: Tensor, labels: Tensor, num_classes: int) -> float:
    """Total variation between the shares of predicted and of true classes, 0..1: half the sum of the absolute differences. NaN without images.

    Args:
        predictions: (N,) predicted classes.
        labels: (N,) true classes.
        num_classes: K.
    """
    predicted, true = (torch.bincount(classes.long(), minlength=num_classes) for classes in (predictions, labels))
    return float((predicted - true).abs().sum().double() / (2 * len(labels))) if len(labels) else float("nan")


@torch.inference_mode()
def equalising_offsets(logits: Tensor, prior: Tensor) -> Tensor:
    """Offsets b (K,) of the logits, with which the shares of predicted classes, arg max of z + b, come near to a prior.

    Predictions are softened to softmax((z + b) / T), whose mean over images is brought to the prior by the fixed point
    b <- b + a T log(prior / mean); T falls in steps, so that the softened shares become those of the predictions. On the order of 40 products (N, K) x (K,).

    Args:
        logits: z (N, K), N > 0, finite where the prior is positive.
        prior: (K,), sums to 1; a class of prior 0 is left as it is.

    Returns:
        b, of mean 0 over the classes of positive prior, 0 for the others.
    """
    wanted = prior > 0
    z, prior = (logits if bool(wanted.all()) else logits[:, wanted]).float(), prior[wanted].float()
    offsets = torch.zeros_like(prior)
    if len(prior) < 2:
        return torch.zeros_like(wanted, dtype=torch.float32)
    kernel = torch.empty_like(z)  # written again at every temperature: memory of this size is slow to get
    for temperature in TEMPERATURES:
        offsets = _matched(z, prior, offsets, temperature, kernel)
    result = torch.zeros(len(wanted), device=z.device)
    result[wanted] = offsets - offsets.mean()
    return result


def _matched(z: Tensor, prior: Tensor, offsets: Tensor, temperature: float, kernel: Tensor) -> Tensor:
    """Offsets at one temperature, from those of a higher one: Sinkhorn's two products a step on softened assignments that already have them."""
    largest = torch.add(z, offsets, out=kernel).max(1, keepdim=True)
    second = kernel.scatter_(1, largest.indices, -torch.inf).amax(1)
    margin = float((largest.values[:, 0] - second).median())
    temperature *= margin or float(z.std()) or 1.0
    kernel.scatter_(1, largest.indices, largest.values).sub_(largest.values).div_(temperature).exp_()
    log_scale, before, acceleration = torch.zeros_like(prior), float("inf"), ACCELERATION
    for _ in range(STEPS):
        scale = log_scale.exp()
        shares = scale * ((kernel @ scale).reciprocal_() @ kernel) / len(z)
        distance = float((shares - prior).abs().sum()) / 2
        if distance < CLOSE:
            break
        acceleration = ACCELERATION if distance < before else 1.0
        before = distance
        log_scale = (log_scale + acceleration * (prior.log() - shares.clamp_min(1e-12).log())).clamp_(-60, 60)
    return offsets + temperature * log_scale


def accuracy_with(logits: Tensor, labels: Tensor, offsets: Tensor) -> float:
    """Accuracy, 0..1, of arg max of logits (N, K) plus offsets (K,) against labels (N,)."""
    return float(((logits + offsets).argmax(1) == labels).double().mean())
