"""Features of images that an earlier cache has, which are taken from there and not extracted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData
from lt_bench.features.cache import FeatureCache, FeatureSplit
from lt_bench.features.resumable import SplitPlan
from lt_bench.features.write import Description

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Earlier:
    """An earlier cache, and by split the position (N,) of each image in it; -1 for an image that it lacks."""

    cache: FeatureCache
    positions: Mapping[str, Positions]
    _loaded: dict[str, FeatureSplit] = field(default_factory=dict, repr=False)

    def features(self, split: str, positions: Positions, views: Sequence[str]) -> dict[str, Tensor]:
        """Features (n, D) float32 by view, as they came from the backbone, at positions of the cache."""
        if split not in self._loaded:
            self._loaded[split] = self.cache.split(split)
        of_split, standard = self._loaded[split], self.cache.standardisation()
        rows = torch.from_numpy(positions)
        stored = {view: of_split.gather(of_split.views.index(view) * len(of_split) + rows).float() for view in views}
        if standard is None:
            return stored
        mean, divisor = standard
        return {view: (values.double() * divisor + mean).float() for view, values in stored.items()}

    def require(self, description: Description, plans: Mapping[str, SplitPlan]) -> None:
        """Check that the new features come from the same weights, transform and views as those of the cache.

        Raises:
            UserError: another backbone, transform or views.
        """
        manifest = self.cache.manifest
        pairs = {
            "weights": (manifest.backbone.weights_hash, description.backbone.weights_hash),
            "transform": (manifest.transform, description.transform),
            **{f"views of {split}": (manifest.views[split], plan.views) for split, plan in plans.items() if split in manifest.views},
        }
        for name, (before, now) in pairs.items():
            if before != now:
                raise UserError(
                    f"{self.cache.path}: its {name} were {before}, and would be {now} now; extract all images again with `lt-bench extract`"
                )


@dataclass(frozen=True, eq=False)
class Fresh:
    """Positions (M,) of the images of each split that go through the backbone, in their order: all, or those that an earlier cache does not have."""

    positions: Mapping[str, Positions]
    views: Mapping[str, tuple[str, ...]]
    earlier: Earlier | None

    @classmethod
    def of(cls, earlier: Earlier | None, plans: Mapping[str, SplitPlan]) -> Fresh:
        """The positions of an extraction by its plans."""
        positions = {
            split: np.arange(len(plan)) if earlier is None else np.flatnonzero(earlier.positions[split] < 0)
            for split, plan in plans.items()
        }
        return cls(positions, {split: plan.views for split, plan in plans.items()}, earlier)

    def of_data(self, data: FileData) -> FileData:
        """The data with these images alone."""
        return (
            data
            if self.earlier is None
            else replace(data, splits={split: data.splits[split].take(at) for split, at in self.positions.items()})
        )

    def runs(self, split: str, shards: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """First and end of each shard as positions among the fresh images."""
        ends = [np.searchsorted(self.positions[split], shard) for shard in shards]
        return [(int(first), int(last)) for first, last in ends]

    def shard(self, split: str, start: int, stop: int, pieces: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Features (stop - start, D) by view of a shard: ``pieces`` from the backbone, and those of the earlier cache."""
        extracted = {view: torch.cat([piece[view] for piece in pieces]) for view in self.views[split]} if pieces else {}
        if self.earlier is None:
            return extracted
        known = self.earlier.positions[split][start:stop]
        stored = self.earlier.features(split, known[known >= 0], self.views[split]) if (known >= 0).any() else {}
        shard = {}
        for view in self.views[split]:
            parts = [part[view] for part in (stored, extracted) if part]
            shard[view] = torch.empty(stop - start, parts[0].shape[1])
            for part, at in ((stored, known >= 0), (extracted, known < 0)):
                if part:
                    shard[view][torch.from_numpy(at)] = part[view]
        return shard
