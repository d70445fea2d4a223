"""Measuring a fitted head on a view: a few large products, each sample counted once on any number of processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lt_bench.core.devices import feature_memory
from lt_bench.core.leftovers import temporary_directory
from lt_bench.core.processes import current
from lt_bench.metrics._batches import row_chunks
from lt_bench.metrics.class_bias import accuracy_with, class_bias, equalising_offsets
from lt_bench.metrics.decomposition import FeatureProfile, Profile, decomposed
from lt_bench.metrics.evaluation import Evaluation

CHUNK_NUMBERS = 1 << 21
"""Numbers of features or logits handled at a time: few enough on a CPU that temporaries are not new memory every time."""
GPU_CHUNK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Measured:
    """Result of one evaluation.

    Attributes:
        scalars: by the names of ``metrics.evaluation``.
        vectors: per-class values (K,) by name.
        predictions: (N,) int32, the arg max.
        true_probability: (N,) float32, softmax(z)_y.
        offsets: (K,) that equalise its class shares, where they were asked for.
    """

    scalars: dict[str, float]
    vectors: dict[str, NDArray]
    predictions: NDArray[np.int32]
    true_probability: NDArray[np.float32]
    offsets: Tensor | None = None


@dataclass(frozen=True)
class Told:
    """A prior that a head is told.

    Attributes:
        exchange: (K,) added to the logits.
        prior: (K,) the prior, which weighs the classes.
    """

    exchange: Tensor
    prior: Tensor

    def counted_on(self, device: torch.device, dtype: torch.dtype) -> RightWhenTold:
        """A count of what is right, on a device."""
        return RightWhenTold(
            self.exchange.to(device, dtype), self.prior.to(device), torch.zeros(len(self.prior), dtype=torch.int64, device=device)
        )


@dataclass(frozen=True)
class RightWhenTold(Told):
    """The images of each class (K,) that a head is right on when it is told a prior, of this process's share."""

    right: Tensor

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (B, K) with labels (B,)."""
        self.right.scatter_add_(0, labels, ((logits + self.exchange).argmax(1) == labels).long())

    def accuracy(self, labels: Tensor) -> float:
        """Accuracy at the prior of all images, whose labels (N,) every process has; classes without images are left out."""
        right, total = current().all_reduce(self.right), torch.bincount(labels, minlength=len(self.prior))
        weights = torch.where(total > 0, self.prior, 0.0)
        return float((weights * right / total.clamp_min(1)).sum() / weights.sum())


@torch.inference_mode()
def evaluate(
    head: nn.Module,
    views: tuple[Tensor, ...],
    labels: Tensor,
    train_counts: tuple[int, ...],
    *,
    classifier: Tensor | None = None,
    profile: Profile | None = None,
    dtype: torch.dtype = torch.float32,
    equalise: bool = False,
    offsets: Tensor | None = None,
    told: Mapping[str, Told] | None = None,
) -> Measured:
    """Evaluate ``head`` on features.

    Args:
        head: from features (B, D) to logits (B, K).
        views: features (N, D) of one view, or of several whose logits are averaged (flip averaging).
        labels: (N,).
        train_counts: (K,) training images per class, for many, medium and few.
        classifier: (K, D) directions for the norm and angle decomposition.
        profile: of the features as those directions meet them; made of the first view where it is None.
        dtype: in which the products run.
        equalise: whether to measure the accuracy at equal class bias too, for which all logits are kept, see `logits_buffer`.
        offsets: (K,) found on another set, with which the accuracy is measured too.
        told: priors that the head is told, by name, at which its accuracy is measured: each class counts as much as the prior says.
    """
    n, device = labels.numel(), labels.device
    head = head.to(device=device, dtype=dtype)
    evaluation = Evaluation(train_counts).to(device)
    predictions, probability = torch.zeros(n, dtype=torch.int32, device=device), torch.zeros(n, device=device)
    counted = {name: one.counted_on(device, dtype) for name, one in (told or {}).items()}
    processes = current()
    all_logits = logits_buffer(n, len(train_counts), device, processes.world) if equalise and n else None
    chunk = (CHUNK_NUMBERS if device.type == "cpu" else GPU_CHUNK_NUMBERS) // max(len(train_counts), views[0].shape[1])
    reach = processes.world * max(1, chunk)
    for start in range(processes.rank, max(n, processes.rank + 1), reach):  # a process that got no sample counts them too
        mine = slice(start, start - processes.rank + reach, processes.world)
        of_views = [head(view[mine].to(dtype, copy=True)) for view in views]  # a head may overwrite what it is given
        logits = of_views[0] if len(of_views) == 1 else torch.stack(of_views).mean(0)
        if all_logits is not None:
            all_logits[mine] = logits.float().to(all_logits.device)
        for one in counted.values():
            one.update(logits, labels[mine])
        outcomes = evaluation.update(logits, labels[mine])
        predictions[mine] = outcomes.predictions.int()
        probability[mine] = outcomes.log_likelihood.exp().float()
    processes.all_reduce(predictions)
    processes.all_reduce(probability)
    vectors = evaluation.vectors()
    if classifier is not None:
        profile = profile_of(views[0], labels, len(train_counts), dtype) if profile is None else profile
        vectors |= {name: value.cpu().numpy() for name, value in decomposed(classifier.to(device), profile).items()}
    scalars = evaluation.scalars() | {"class_bias": class_bias(predictions, labels, len(train_counts))}
    scalars |= {f"accuracy_told_{name}": one.accuracy(labels) for name, one in counted.items()}
    equal = None
    if all_logits is not None:
        equal, of_bias = _without_bias(_of_all_processes(all_logits, device), labels, train_counts, offsets)
        scalars |= of_bias
    return Measured(scalars, vectors, predictions.cpu().numpy(), probability.cpu().numpy(), equal)


def logits_buffer(n: int, num_classes: int, device: torch.device, processes: int = 1) -> Tensor | None:
    """Zeros (N, K) for all logits of a set: on the device where a share of its free memory holds them, else in a temporary file, mapped, that goes with them.

    None where the disk of temporary files has no room either.
    """
    size = 4 * n * num_classes
    if size <= feature_memory(device, processes):
        return torch.zeros(n, num_classes, device=device)
    with temporary_directory() as folder:  # a file that is mapped stays until nothing maps it
        if size > shutil.disk_usage(folder).free // processes:
            return None
        return torch.from_file(str(Path(folder) / "logits"), shared=True, size=n * num_classes, dtype=torch.float32).view(n, num_classes)


def _of_all_processes(logits: Tensor, device: torch.device) -> Tensor:
    """Logits (N, K) of which each process wrote its rows, summed in place, by chunks on the device that processes share."""
    for part in row_chunks(logits) if current().world > 1 else ():
        logits[part] = current().all_reduce(logits[part].to(device)).to(logits.device)
    return logits


def _without_bias(logits: Tensor, labels: Tensor, train_counts: tuple[int, ...], offsets: Tensor | None) -> tuple[Tensor, dict[str, float]]:
    """Offsets that bring the class shares of all logits (N, K) to those of the labels, and accuracies with them and with given ones."""
    prior = torch.bincount(labels, minlength=len(train_counts)).float() * (torch.tensor(train_counts, device=labels.device) > 0)
    own = equalising_offsets(logits, prior / prior.sum())
    scalars = {"accuracy_equal_bias": accuracy_with(logits, labels, own)}
    if offsets is not None:
        scalars["accuracy_equal_bias_val"] = accuracy_with(logits, labels, offsets)
    return own, scalars


@torch.inference_mode()
def profile_of(
    features: Tensor, labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32, met: Callable[[Tensor], Tensor] | None = None
) -> Profile:
    """Lengths and directions of features (N, D) by class, all of them on every process.

    Args:
        features: (N, D).
        labels: (N,).
        num_classes: K.
        dtype: that a head meets them in.
        met: what becomes of features (B, D) before a classifier's rows meet them; nothing where it is None.
    """
    profile = FeatureProfile(num_classes, features.shape[1]).to(labels.device)
    profile.sync_on_compute = False  # nothing was shared out
    for rows, own in zip(features.split(1 << 14), labels.split(1 << 14), strict=True):
        rows = rows.to(device=labels.device, dtype=dtype)
        profile.update(rows if met is None else met(rows), own)
    return profile.compute()
