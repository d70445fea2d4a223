"""Training features made of images as they are asked for: crop, flip and the backbone, whole batches at a time on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lt_bench.backbones.base import Backbone
from lt_bench.data.images.augment import CropViews, Normalise, crop
from lt_bench.data.specs import DatasetSpec
from lt_bench.engine.pretrain.stage1 import EVALUATION_BATCH, Precision

Network = Literal["frozen", "drifting", "trained"]


def prepare(network: Backbone, mode: Network) -> None:
    """Put a network into the mode that it is in during a fit."""
    network.requires_grad_(mode == "trained").train(mode != "frozen")


class ImageSource:
    """Features of small images, which lie uint8 on the device.

    A view is a crop of the padded image and perhaps its mirror image. ``CropViews.all`` lists all that augmentation draws from, so a batch order, which holds a view for
    every position, holds its augmentation too: fits of the same repetition see the same pixels, on any number of processes and after a resume.

    Args:
        network: the backbone, on the device; ``prepare`` puts it into the mode.
        store: images as ``data.images.augment.padded`` gives them, (N, H + 8, W + 8, 3) on the device.
        labels: (N,) on the device.
        spec: of the data set, for the normalisation.
        views: of the images; every one by default.
        mode: ``frozen``: eval mode. ``drifting``: no weight changes, but the network is in training mode, so BatchNorm normalises by the batch and moves its running
            statistics (what the official code of LOS, weight balancing and Decoupling does in stage 2). ``trained``: training mode, and gradients reach the weights.
        precision: of the training forward, bf16 (autocast) or fp32; ``view`` is always fp32.
        compiled: compile the training forward.
    """

    work = 1e8

    def __init__(
        self,
        network: Backbone,
        store: Tensor,
        labels: Tensor,
        spec: DatasetSpec,
        *,
        views: CropViews | None = None,
        mode: Network = "frozen",
        precision: Precision = "fp32",
        compiled: bool = False,
    ) -> None:
        self._network, self._store, self._labels, self._mode, self._precision = network, store, labels, mode, precision
        self._views = (views or CropViews.all()).to(store.device)
        self._normalise = Normalise(spec.mean, spec.std).to(store.device)
        self._encode: Callable[[Tensor], Tensor] = torch.compile(network.features, dynamic=False) if compiled else network.features

    @property
    def views(self) -> tuple[str, ...]:
        """View names."""
        return self._views.names

    @property
    def labels(self) -> Tensor:
        """Labels (N,)."""
        return self._labels

    @property
    def device(self) -> torch.device:
        """Device of the images and the network."""
        return self._store.device

    @property
    def trained(self) -> tuple[nn.Parameter, ...]:
        """The weights of a trained network but for its own classifier, which the head stands for."""
        return tuple(
            parameter for name, parameter in self._network.named_parameters() if self._mode == "trained" and not name.startswith("fc.")
        )

    @property
    def moves(self) -> bool:
        """Whether weights or statistics of the network change."""
        return self._mode != "frozen"

    def __len__(self) -> int:
        return self._labels.numel()

    def gather(self, index: Tensor) -> Tensor:
        """Features of ``index`` (any shape, values v * N + i), float32, with a last dimension D."""
        shape = (*index.shape, self._network.dim)
        flat = index.reshape(-1)
        if not flat.numel():
            return torch.zeros(shape, device=self.device)
        view, image = flat // len(self), flat % len(self)
        with torch.set_grad_enabled(self._mode == "trained" and torch.is_grad_enabled()):
            inputs = self._normalise(crop(self._store, image, self._views.crops(view, image)))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                features = self._encode(inputs)
            return features.float().view(shape)

    @torch.no_grad()
    def view(self, name: str) -> Tensor:
        """The features (N, D) of one view under the network as it is now, in eval mode and float32."""
        training = self._network.training
        self._network.eval()
        position = self.views.index(name)
        features = []
        for image in torch.arange(len(self), device=self.device).split(EVALUATION_BATCH):
            draws = self._views.crops(torch.full_like(image, position), image)
            features.append(self._network.features(self._normalise(crop(self._store, image, draws))).float())
        self._network.train(training)
        return torch.cat(features)
