"""Fitting on images instead of a cache: every batch is freshly augmented and goes through the backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.base import Source
from lt_bench.core.launchers import is_first_process
from lt_bench.data.images.augment import Crops, CropViews, padded
from lt_bench.data.readers.small_images import ImageData
from lt_bench.engine.compiling import WatchCompilation
from lt_bench.engine.heads.fit import Fitted, Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.image_source import ImageSource, Network, prepare
from lt_bench.engine.noise import SeededNoise, generators_restored
from lt_bench.engine.pretrain.stage1 import Precision
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.features.manifest import Manifest
from lt_bench.strategies.contract import Facts


@dataclass
class PixelSource(Source):
    """Images that lie on the device, and the backbone they go through.

    Attributes:
        data: the images.
        network: the backbone with its stage-1 classifier.
        manifest: of the features as a cache would have it, without arrays.
        hardware: of the fits.
        drifting: the backbone is in training mode while a head is fitted (``images-train``), each head with a copy of its own; else in eval mode.
        has_head: whether the backbone's classifier is that of stage 1.
        precision: of the forward in training.
        compiled: compile it.
        best_test_epoch: see ``Source``.
    """

    data: ImageData
    network: Backbone
    manifest: Manifest
    hardware: Hardware
    drifting: bool = False
    has_head: bool = True
    precision: Precision = "fp32"
    compiled: bool = False
    best_test_epoch: bool = False
    _stores: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _measured: dict[str, FeatureSplit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the backbone to the device."""
        self.network = self.network.to(memory_format=torch.channels_last).to(self.device)

    def split(self, name: str) -> FeatureSplit:
        """Features of a split under the current backbone, computed once after each change of the backbone."""
        if name not in self._measured:
            source = self._as_it_is(name, ("plain", "flip") if name == "test" else ("plain",))
            block = torch.cat([source.view(view) for view in source.views])
            rows = torch.from_numpy(self.data.splits[name].rows).to(self.device)
            self._measured[name] = FeatureSplit(name, source.views, (block,), source.labels, rows)
        return self._measured[name]

    def fitted(
        self, planned: Sequence[Planned], callbacks: Callable[[], Sequence[Callback]] = tuple
    ) -> Iterator[tuple[list[Planned], Fitted]]:
        """Fit the planned runs; one by one under ``images-train``, where BatchNorm drifts along the batches of a repetition."""
        if not self.drifting:
            for runs, jobs in self.stacked(planned):
                yield runs, self.fit(jobs, "frozen", self.callbacks_of(runs, callbacks))
            return
        stage1 = self.network
        for run in planned:
            self.use(copy.deepcopy(stage1))
            yield (
                [run],
                self.fit([HeadJob(run.entry, run.hyperparameters, run.repetition)], "drifting", self.callbacks_of([run], callbacks)),
            )
        self.use(stage1)

    def use(self, network: Backbone) -> None:
        """Measure and fit with another backbone from now on."""
        self.network = network
        self._measured.clear()

    def fit(self, jobs: Sequence[HeadJob], mode: Network, callbacks: Sequence[Callback], resume: Path | None = None) -> Fitted:
        """Fit the heads of a stack on images through the backbone in a mode."""
        facts, images = self.facts(), self._images("train")
        prepare(self.network, mode)
        source = ImageSource(self.network, *images, self.data.spec, mode=mode, precision=self.precision, compiled=self.compiled)

        def test_features() -> Tensor:
            return (self.split("test") if mode == "frozen" else self._as_it_is("test", ("plain",))).view("plain")

        best = self.best_epochs(test_features)
        own: list[Callback] = [] if mode == "frozen" else [SeededNoise(jobs[0].repetition)]
        if self.compiled:
            own.append(WatchCompilation(f"{jobs[0].entry.public_name}, seed {jobs[0].repetition}", says=is_first_process()))
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True),
            generators_restored(self.device),
        ):
            (fitted,) = fit_heads([jobs], facts, source, self.hardware, callbacks=[[*own, *best, *callbacks]], resume=resume)
        if mode != "frozen":
            self._measured.clear()
        for one in best:
            one.hand_over(fitted)
        return fitted

    def _as_it_is(self, split: str, views: tuple[str, ...]) -> ImageSource:
        """A split's uncropped images, plain or flipped, through the backbone in eval mode, whatever its weights are when a view is asked for."""
        named = CropViews.of({view: Crops.plain(1, flip=view == "flip") for view in views})
        return ImageSource(self.network, *self._images(split), self.data.spec, views=named)

    def _images(self, split: str) -> tuple[Tensor, Tensor]:
        """Padded images and labels on the device."""
        if split not in self._stores:
            images = self.data.splits[split]
            self._stores[split] = padded(images.images).to(self.device), torch.from_numpy(images.labels).to(self.device)
        return self._stores[split]

    def facts(self) -> Facts:
        """Facts that a strategy may use: feature dimension, class counts, stage-1 head."""
        fc = self.network.fc
        head = Head(fc.weight.detach().float().cpu().clone(), fc.bias.detach().float().cpu().clone()) if self.has_head else None
        return Facts(self.network.dim, self.data.train_counts, head)

    def varies(self, run: Planned) -> str | None:
        """Random parts that differ between seeds, the augmentation among them."""
        varied = super().varies(run)
        return None if varied is None else varied.replace("batch order", "batch order and augmentation")
