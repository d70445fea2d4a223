"""A feature cache that heads are fitted and measured on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from lightning.pytorch import Callback
from numpy.typing import NDArray

from lt_bench.bench.planning import Planned, by_strategy
from lt_bench.bench.sources.base import Source
from lt_bench.core.devices import feature_memory
from lt_bench.engine.evaluate import Measured
from lt_bench.engine.heads.fit import Fitted, Hardware, facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob, pools
from lt_bench.features.cache import FeatureCache, FeatureSplit
from lt_bench.features.collapse import collapse_of
from lt_bench.features.extraction.joined_images import listed_groups
from lt_bench.strategies._lib.tensors import linear_head

POOL_HEADS, GPU_POOL_HEADS = 32, 256
"""Most heads of a pool, on a CPU and on a GPU. Both are guesses: on one CPU about 30 were as good as any number tried by hand, on GPUs nothing was tried."""


@dataclass
class CacheSource(Source):
    """A cache opened for fitting: its splits are loaded once, on the device of the fits."""

    cache: FeatureCache
    hardware: Hardware
    best_test_epoch: bool = False
    _splits: dict[str, FeatureSplit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take over the manifest of the cache."""
        self.manifest = self.cache.manifest

    def split(self, name: str) -> FeatureSplit:
        """A split with all its views, loaded on first use; mapped, and streamed to the device, where it would not fit into memory."""
        if name not in self._splits:
            mapped = self.cache.mappable and self.cache.bytes_of(name) > feature_memory(self.device, self.hardware.layout.devices)
            self._splits[name] = self.cache.split(name, device=self.device, mapped=mapped)
        return self._splits[name]

    def fitted(
        self, planned: Sequence[Planned], callbacks: Callable[[], Sequence[Callback]] = tuple
    ) -> Iterator[tuple[list[Planned], Fitted]]:
        """Fit the planned runs, pool by pool, each stack with ``callbacks`` of its own; yields each fitted stack, without checking that its heads are finite."""
        train = self.split("train")
        for pool in self.pooled(planned):
            # Streamed features rule out CUDA graphs; the precision of products is the one that the runs' records state.
            hardware = replace(self.hardware, graphs=self.hardware.graphs and train.resident, matmul=pool[0][0][0].setting.matmul)
            stacks = [stack for _, stack in pool]
            best = [self.best_epochs(lambda: self.split("test").view("plain")) for _ in pool]
            sent = [[*ours, *self.callbacks_of(runs, callbacks)] for (runs, _), ours in zip(pool, best, strict=True)]
            fits = fit_heads(stacks, facts_of(self.cache), train, hardware, callbacks=sent, held_out=self.held_out)
            for (runs, _), fitted, ours in zip(pool, fits, best, strict=True):
                for one in ours:
                    one.hand_over(fitted)
                yield runs, fitted
            del fits  # frees the heads of this pool that no caller keeps

    @property
    def most_heads(self) -> int:
        """Maximal number of heads that are fitted side by side; memory may allow fewer."""
        return POOL_HEADS if self.device.type == "cpu" else GPU_POOL_HEADS

    @functools.cached_property
    def stage1(self) -> Measured | None:
        """The stage-1 head on the plain training view, measured once; None where the cache has none."""
        head = self.cache.head()
        return None if head is None else self.measure(linear_head(head.weight, head.bias), "train")

    @functools.cached_property
    def test_groups(self) -> NDArray[np.int32] | None:
        """The group (N,) of each test image, numbered as they come; None where the cache lists no groups."""
        groups = listed_groups(self.cache, "test")
        if groups is None:
            return None
        number: dict[str, int] = {}
        return np.array([number.setdefault(name, len(number)) for name in groups.tolist()], np.int32)

    @functools.cached_property
    def collapse(self) -> dict[str, float]:
        """Collapse of the features by split, measured once."""
        return collapse_of(self.cache, self.split)

    @property
    def held_out(self) -> FeatureSplit | None:
        """The validation split, where the backbone has not seen it."""
        return self.split("val") if self.has("val") and not self.manifest.dataset.val_seen_by_backbone else None

    def units(self, planned: Sequence[Planned]) -> list[list[Planned]]:
        """Runs of each pool, which are fitted side by side."""
        return [[run for runs, _ in pool for run in runs] for pool in self.pooled(planned)]

    def pooled(self, planned: Sequence[Planned]) -> list[list[tuple[list[Planned], list[HeadJob]]]]:
        """The pools in which the planned runs are fitted: stacks side by side, each with its runs."""
        pooled: list[list[tuple[list[Planned], list[HeadJob]]]] = []
        for matmul in dict.fromkeys(run.setting.matmul for run in planned):
            alike = [run for run in planned if run.setting.matmul == matmul]
            stacks = [stack for group in by_strategy(alike) for stack in self.stacked(group)]
            runs_of = {id(jobs): runs for runs, jobs in stacks}
            pooled += [
                [(runs_of[id(jobs)], jobs) for jobs in pool]
                for pool in pools([jobs for _, jobs in stacks], min(self.most_heads, self.heads_at_once(alike)))
            ]
        return pooled
