"""Base class of the sources of features: a cache, or images through a backbone."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from lightning.pytorch import Callback
from numpy.typing import NDArray
from torch import Tensor, nn

from lt_bench.bench.planning import Planned, by_strategy
from lt_bench.data.priors import usual_tails
from lt_bench.engine.evaluate import Measured, Told, evaluate, profile_of
from lt_bench.engine.heads.best_epoch import BestTestEpoch
from lt_bench.engine.heads.fit import Fitted, Hardware
from lt_bench.engine.heads.stacks import HeadJob, head_bytes, stacks
from lt_bench.features.cache import FeatureSplit
from lt_bench.features.manifest import Manifest
from lt_bench.metrics.decomposition import Profile

CPU_STACK_BYTES = 1 << 28
GPU_STACK_BYTES = 8 << 30


class FollowsRuns(Callback):
    """A callback that receives, before a stack is fitted, its source and the runs of its heads.

    Attributes:
        bench: the source.
        runs: one run for each head, in the order of the heads.
    """

    bench: Source
    runs: Sequence[Planned] = ()


class Source(ABC):
    """A place where planned runs are fitted, and their heads measured.

    Attributes:
        manifest: description of the features; its key is part of every record's identity.
        hardware: of the fits.
        best_test_epoch: also test after every epoch, and record the best as figures of their own.
    """

    manifest: Manifest
    hardware: Hardware
    best_test_epoch: bool

    @abstractmethod
    def split(self, name: str) -> FeatureSplit:
        """Features to measure on: all views of a split."""

    @abstractmethod
    def fitted(
        self, planned: Sequence[Planned], callbacks: Callable[[], Sequence[Callback]] = tuple
    ) -> Iterator[tuple[list[Planned], Fitted]]:
        """Fit the planned runs stack by stack, each with ``callbacks`` of its own; yields each fitted stack, without checking that its heads are finite."""

    @functools.cached_property
    def stage1(self) -> Measured | None:
        """The stage-1 head of a cache on the plain training view, measured once; None without a stage-1 head, or where features change."""
        return None

    @functools.cached_property
    def test_groups(self) -> NDArray[np.int32] | None:
        """The group (N,) of each test image, numbered as they come; None where images are independent or their groups are not known."""
        return None

    @functools.cached_property
    def collapse(self) -> dict[str, float]:
        """Collapse of the features by split (``features.collapse``), which every record carries; empty without a cache."""
        return {}

    def callbacks_of(self, runs: Sequence[Planned], callbacks: Callable[[], Sequence[Callback]]) -> list[Callback]:
        """The callbacks of the fit of a stack of these runs."""
        ours = list(callbacks())
        for one in ours:
            if isinstance(one, FollowsRuns):
                one.bench, one.runs = self, runs
        return ours

    @property
    def device(self) -> torch.device:
        """Device of features and heads."""
        return self.hardware.device

    def has(self, split: str) -> bool:
        """Whether the source has this split."""
        return split in self.manifest.views

    def stacked(self, planned: Sequence[Planned]) -> Iterator[tuple[list[Planned], list[HeadJob]]]:
        """Stacks of the planned runs: the runs of each, and their jobs."""
        jobs = {run.id: HeadJob(run.entry, run.hyperparameters, run.repetition) for run in planned}
        by_job = {id(jobs[run.id]): run for run in planned}
        for stack in stacks(list(jobs.values()), self.heads_at_once(planned)):
            yield [by_job[id(job)] for job in stack], stack

    def heads_at_once(self, planned: Sequence[Planned]) -> int:
        """Number of heads of these runs that fit into the memory set aside for them; at least one."""
        budget = CPU_STACK_BYTES if self.device.type == "cpu" else GPU_STACK_BYTES
        batch = max((int(run.hyperparameters.get("batch_size", 1)) for run in planned), default=1)
        return max(1, budget // head_bytes(self.manifest.dataset.num_classes, self.manifest.backbone.dim, batch))

    def units(self, planned: Sequence[Planned]) -> list[list[Planned]]:
        """Groups of runs, each fitted and recorded before the next begins; here one group a strategy."""
        return by_strategy(planned)

    def best_epochs(self, features: Callable[[], Tensor]) -> list[BestTestEpoch]:
        """Callbacks that keep the best test epoch of a fit: one where that is asked for, else none."""
        if not self.best_test_epoch:
            return []
        return [BestTestEpoch(features, self.split("test").labels, self.manifest.dataset.train_counts)]

    def measure(
        self,
        head: nn.Module,
        split: str,
        classifier: Tensor | None = None,
        classifier_input: Callable[[Tensor], Tensor] | None = None,
        *,
        flip: bool = False,
        equalise: bool = False,
        offsets: Tensor | None = None,
        prior_power: float | None = None,
    ) -> Measured:
        """Evaluate a head on the plain view of a split, or on the average with its flipped view.

        Args:
            head: from features (B, D) to logits (B, K).
            split: train, val or test.
            classifier: (K, D) directions for the norm and angle decomposition.
            classifier_input: maps features (B, D) to the inputs of those directions; None for the features themselves.
            flip: average the logits with those of the flipped view.
            equalise: measure the accuracy at equal class bias too.
            offsets: (K,) logit offsets that equalise the class shares of another split; the accuracy with them is measured too.
            prior_power: power of the prior that the logits assume (``Strategy.prior_power``); the accuracy of the head told of each usual long tail is measured too.
        """
        features = self.split(split)
        views = ("plain", "flip") if flip else ("plain",)
        inputs = tuple(features.view(view) for view in views)
        counts = self.manifest.dataset.train_counts
        profile = None if classifier is None else self._profile(split, features, classifier_input)
        told = None if prior_power is None else self._told(prior_power)
        return evaluate(
            head, inputs, features.labels, counts, classifier=classifier, profile=profile, equalise=equalise, offsets=offsets, told=told
        )

    def _told(self, power: float) -> dict[str, Told]:
        """The usual long tails rho of the test set, each with the offsets log rho - a log pi that tell a head of it."""
        dataset = self.manifest.dataset
        counts = torch.tensor(dataset.train_counts, dtype=torch.float64)
        assumed = power * (counts / counts.sum()).log()
        tails = {name: torch.from_numpy(tail) for name, tail in usual_tails(dataset.name, counts.numpy()).items()}
        return {name: Told(torch.where(counts > 0, tail.log() - assumed, 0.0), tail) for name, tail in tails.items()}

    def _profile(self, split: str, features: FeatureSplit, met: Callable[[Tensor], Tensor] | None) -> Profile:
        """Feature profile of the plain view; made once for all heads that take the features unchanged."""
        known = self._profiles.get(split)
        if met is None and known is not None and known[0] is features:
            return known[1]
        profile = profile_of(features.view("plain"), features.labels, self.manifest.dataset.num_classes, met=met)
        if met is None:
            self._profiles[split] = features, profile
        return profile

    @functools.cached_property
    def _profiles(self) -> dict[str, tuple[FeatureSplit, Profile]]:
        return {}

    def varies(self, run: Planned) -> str | None:
        """Random parts that differ between the seeds of a run; None where nothing does."""
        entry = run.entry
        if not entry.takes_batches:
            return None
        starts_at_random = any(one.initial_head.startswith("random") for one in entry.members or (entry,))
        return "initial head and batch order, one backbone" if starts_at_random else "batch order, one backbone"

    def trained_parameters(self, fitted: Fitted) -> int:
        """Number of fitted parameters of one head, and of the network where both are trained."""
        return fitted.strategy.trained_parameters()
