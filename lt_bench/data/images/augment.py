"""Crop and flip of small images, whole batches at a time by index gathers on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lt_bench.data.specs import Statistics

PADDING = 4


@dataclass(frozen=True)
class Draws:
    """What the augmentation of n images needs: top and left edge of the crop in the padded image (n, 2), 0..8, and whether to flip (n,)."""

    corner: Tensor
    flip: Tensor

    @staticmethod
    def plain(n: int, device: torch.device | str = "cpu", flip: bool = False) -> Draws:
        """The image itself, or its mirror image."""
        return Draws(torch.full((n, 2), PADDING, device=device), torch.full((n,), flip, device=device))

    @staticmethod
    def random(n: int, generator: np.random.Generator) -> Draws:
        """A random crop and a flip in half of the cases."""
        corner = generator.integers(0, 2 * PADDING + 1, size=(n, 2))
        return Draws(torch.from_numpy(corner), torch.from_numpy(generator.random(n) < 0.5))

    def to(self, device: torch.device) -> Draws:
        """The same on another device."""
        return Draws(self.corner.to(device), self.flip.to(device))

    def __getitem__(self, index: Tensor | slice) -> Draws:
        return Draws(self.corner[index], self.flip[index])


@dataclass(frozen=True)
class Cuts:
    """Views of n small images by name: what is cut out of the padded image, and whether it is flipped.

    Attributes:
        names: V names, ``plain`` first.
        corner: of each view and image (V, n, 2); (V, 1, 2) where a view is the same cut of all images.
        flip: (V, n) or (V, 1).
    """

    names: tuple[str, ...]
    corner: Tensor
    flip: Tensor

    @staticmethod
    def every() -> Cuts:
        """The plain view, then each of the 162 cuts that ``Draws.random`` draws, once: one of them at random is a fresh augmentation."""
        side = range(2 * PADDING + 1)
        cuts = [(top, left, flip) for flip in (False, True) for top in side for left in side]
        names = tuple(f"{top}+{left}{' flip' if flip else ''}" for top, left, flip in cuts)
        corner = torch.tensor([(PADDING, PADDING), *((top, left) for top, left, _ in cuts)])
        return Cuts(("plain", *names), corner[:, None], torch.tensor([False, *(flip for *_, flip in cuts)])[:, None])

    @staticmethod
    def of(draws: Mapping[str, Draws]) -> Cuts:
        """Given views of n images, by name."""
        return Cuts(tuple(draws), torch.stack([one.corner for one in draws.values()]), torch.stack([one.flip for one in draws.values()]))

    def to(self, device: torch.device) -> Cuts:
        """The same on another device."""
        return Cuts(self.names, self.corner.to(device), self.flip.to(device))

    def draws(self, view: Tensor, image: Tensor) -> Draws:
        """The cuts of views (B,) of images (B,)."""
        place = image if self.corner.shape[1] > 1 else torch.zeros_like(image)
        return Draws(self.corner[view, place], self.flip[view, place])


def padded(images: np.ndarray | Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 in the layout that ``crop`` reads: (N, H + 8, W + 8, 3), with a black border."""
    pixels = torch.as_tensor(images)
    return torch.nn.functional.pad(pixels, (PADDING,) * 4).permute(0, 2, 3, 1).contiguous()


def crop(store: Tensor, index: Tensor, draws: Draws) -> Tensor:
    """Cut (B, 3, H, W) uint8, channels last, out of padded images.

    Args:
        store: padded images (N, H + 8, W + 8, 3).
        index: (B,) which images.
        draws: B corners and flips.
    """
    H, W = store.shape[1] - 2 * PADDING, store.shape[2] - 2 * PADDING
    across = torch.arange(W, device=store.device)
    y = draws.corner[:, :1] + torch.arange(H, device=store.device)
    x = draws.corner[:, 1:] + torch.where(draws.flip[:, None], W - 1 - across, across)
    return store[index[:, None, None], y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


class Normalise(torch.nn.Module):
    """uint8 images (B, 3, H, W) to float32 inputs: x / 255, minus the mean, over the standard deviation of each channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Statistics, std: Statistics) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * deviation)).float().view(3, 1, 1), persistent=False)
        self.register_buffer("shift", (-torch.tensor(mean, dtype=torch.float64) / deviation).float().view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images."""
        return torch.addcmul(self.shift, images.float(), self.scale)
