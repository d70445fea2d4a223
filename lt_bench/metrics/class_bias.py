"""Class bias: the distance between the shares of predicted and true classes, and the accuracy without it.

Both need the class shares of a set and no label of any of its images. Their formulas are ours; offsets that equalise shares are the dual variables of the optimal
transport between images and classes (Cuturi, "Sinkhorn Distances", NeurIPS 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import torch
from torch import Tensor

from lt_bench.metrics._batches import row_chunks

TEMPERATURES = (1.0, 0.3, 0.1, 0.05)
"""Temperatures of the softened assignments, in units of the median margin between an image's two largest logits under the present offsets."""
CLOSE = 4e-3
"""Total variation between softened shares and the prior at which a temperature is done."""
STEPS = 100
"""Largest number of steps at one temperature."""
ACCELERATION = 1.8
"""Over-relaxation of the fixed point (Thibault et al., "Overrelaxed Sinkhorn-Knopp Algorithm for Regularized Optimal Transport", 2021)."""
HELD = 1 << 26
"""Number of softened logits, N K, up to which they are held between steps; a larger set is softened again at each step, a chunk at a time."""


LEAST = -70.0
"""Logarithm below which softened logits count as 0 in a set that is not held; the logarithm of an image's largest is 0."""


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
    b <- b + a T log(prior / mean); T falls in steps, so that the softened shares become those of the predictions. On the order of 40 products (N, K) x (K,); beyond
    `HELD` logits as many exponentials, in the memory of a chunk.

    Args:
        logits: z (N, K), N > 0, finite where the prior is positive; they may lie on another device than the prior, and in a mapped file.
        prior: (K,), sums to 1; a class of prior 0 is left as it is.

    Returns:
        b, of mean 0 over the classes of positive prior, 0 for the others.
    """
    wanted = prior > 0
    z = Chunked(logits, wanted)
    prior = prior[wanted].float()
    offsets = torch.zeros_like(prior)
    if len(prior) < 2:
        return torch.zeros_like(wanted, dtype=torch.float32)
    for temperature in TEMPERATURES:
        offsets = _matched(z, prior, offsets, temperature)
    result = torch.zeros(len(wanted), device=prior.device)
    result[wanted] = offsets - offsets.mean()
    return result


class Chunked:
    """Logits of some classes in chunks of rows; one chunk where all of them may be held.

    Args:
        logits: (N, K), on any device.
        wanted: (K,) bool, the classes, on the device of the work.
    """

    def __init__(self, logits: Tensor, wanted: Tensor) -> None:
        self.parts = [slice(0, len(logits))] if logits.numel() <= HELD else list(row_chunks(logits))
        self.logits, self.length, self._device = logits, len(logits), wanted.device
        self._classes = None if bool(wanted.all()) else wanted.nonzero()[:, 0]
        self._first = self._of(self.parts[0])
        self._written = torch.empty_like(self._first)  # written again and again: memory of this size is slow to get

    def _of(self, part: slice) -> Tensor:
        rows = self.logits[part].to(self._device)
        return (rows if self._classes is None else rows.index_select(1, self._classes)).float()

    def _plus(self, offsets: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The rows of each chunk, and its logits (n, K') plus offsets (K',), in a buffer that the next chunk overwrites."""
        for part in self.parts:
            values = self._first if part.start == 0 else self._of(part)
            yield part, torch.add(values, offsets, out=self._written[: len(values)])

    def extremes(self, offsets: Tensor) -> tuple[Tensor, float]:
        """The largest z + b of each image (N, 1), and the median margin to the second largest; where that is 0, the spread of the first chunk, or 1."""
        largest, margins = [], []
        for _, both in self._plus(offsets):
            one = both.max(1, keepdim=True)
            largest.append(one.values)
            margins.append(one.values[:, 0] - both.scatter_(1, one.indices, -torch.inf).amax(1))
        return torch.cat(largest), float(torch.cat(margins).median()) or float(self._first.std()) or 1.0

    def softened(self, offsets: Tensor, largest: Tensor, temperature: float) -> Iterator[Tensor]:
        """Each chunk as exp((z + b - largest) / T), overwritten by the next; of several chunks, values below exp(LEAST) become 0: subnormal numbers take thirty times as long."""
        for part, both in self._plus(offsets):
            exponents = both.sub_(largest[part]).div_(temperature)
            yield exponents.exp_() if len(self.parts) == 1 else torch.threshold_(exponents.clamp_min_(LEAST - 1).exp_(), exp(LEAST), 0.0)


def _matched(z: Chunked, prior: Tensor, offsets: Tensor, temperature: float) -> Tensor:
    """Offsets at one temperature, starting from those at a higher one: two products of Sinkhorn's a step, on assignments softened with the starting offsets."""
    largest, unit = z.extremes(offsets)
    temperature *= unit
    held = list(z.softened(offsets, largest, temperature)) if len(z.parts) == 1 else None
    log_scale, before, acceleration = torch.zeros_like(prior), float("inf"), ACCELERATION
    for _ in range(STEPS):
        scale, sums = log_scale.exp(), torch.zeros_like(prior)
        for kernel in held or z.softened(offsets, largest, temperature):
            sums += (kernel @ scale).reciprocal_() @ kernel
        shares = scale * sums / z.length
        distance = float((shares - prior).abs().sum()) / 2
        if distance < CLOSE:
            break
        acceleration = ACCELERATION if distance < before else 1.0
        before = distance
        log_scale = (log_scale + acceleration * (prior.log() - shares.clamp_min(1e-12).log())).clamp_(-60, 60)
    return offsets + temperature * log_scale


def accuracy_with(logits: Tensor, labels: Tensor, offsets: Tensor) -> float:
    """Accuracy, 0..1, of arg max of logits (N, K) plus offsets (K,) against labels (N,)."""
    right = sum(int(((logits[part].to(offsets.device) + offsets).argmax(1) == labels[part]).sum()) for part in row_chunks(logits))
    return right / len(labels)
