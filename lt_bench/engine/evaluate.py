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
        offsets: (K,) added to the logits, bring the shares of predicted classes to the true ones; None where not asked for.
    """

    scalars: dict[str, float]
    vectors: dict[str, NDArray]
    predictions: NDArray[np.int32]
    true_probability: NDArray[np.float32]
    offsets: Tensor | None = None


@dataclass(frozen=True)
class Told:
    """A prior over the classes that a head is told.

    Attributes:
        exchange: (K,) correction for the prior, added to the logits.
        prior: (K,) the prior, by which the accuracy weights the classes.
    """

    exchange: Tensor
    prior: Tensor

    def counted_on(self, device: torch.device, dtype: torch.dtype) -> RightWhenTold:
        """A counter of correct predictions under the prior, on a device."""
        return RightWhenTold(
            self.exchange.to(device, dtype), self.prior.to(device), torch.zeros(len(self.prior), dtype=torch.int64, device=device)
        )


@dataclass(frozen=True)
class RightWhenTold(Told):
    """Number (K,) of correct predictions of each class when the head is told the prior, in this process's share."""

    right: Tensor

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (B, K) with labels (B,)."""
        self.right.scatter_add_(0, labels, ((logits + self.exchange).argmax(1) == labels).long())

    def accuracy(self, labels: Tensor) -> float:
        """Accuracy over the images of all processes with classes weighted by the prior, without classes that have no image; ``labels`` (N,) are those of all images."""
        right, total = current().all_reduce(self.right.clone()), torch.bincount(labels, minlength=len(self.prior))
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
        profile: profile of the features that the directions multiply; None: computed from the first view.
        dtype: in which the products run.
        equalise: whether to measure the accuracy at equal class bias too, for which all logits are kept, see `logits_buffer`.
        offsets: (K,) offsets of the logits from another set; the accuracy with them is measured too.
        told: priors by name; for each, the accuracy of the head that is told the prior is measured, classes weighted by it.
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
    for start in range(processes.rank, max(n, processes.rank + 1), reach):  # at least one batch, empty where a process has no sample
        mine = slice(start, start - processes.rank + reach, processes.world)
        of_views = [head(view[mine].to(dtype, copy=True)) for view in views]  # copied, since a head may overwrite its input
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
    """Zeros (N, K) for all logits of a set: on the device where a share of its free memory holds them, else mapped to a temporary file, which ends with the tensor.

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
    """Lengths and directions of features (N, D) by class; every process computes the whole.

    Args:
        features: (N, D).
        labels: (N,).
        num_classes: K.
        dtype: in which a head takes the features.
        met: transform of features (B, D) before the classifier's rows multiply them; None: no transform.
    """
    profile = FeatureProfile(num_classes, features.shape[1]).to(labels.device)
    profile.sync_on_compute = False  # every process has all rows
    for rows, own in zip(features.split(1 << 14), labels.split(1 << 14), strict=True):
        rows = rows.to(device=labels.device, dtype=dtype)
        profile.update(rows if met is None else met(rows), own)
    return profile.compute()
