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
class Crops:
    """Crops of n images: top and left edge in the padded image (n, 2), 0..8, and whether to flip (n,)."""

    corner: Tensor
    flip: Tensor

    @staticmethod
    def plain(n: int, device: torch.device | str = "cpu", flip: bool = False) -> Crops:
        """The image itself, or its mirror image."""
        return Crops(torch.full((n, 2), PADDING, device=device), torch.full((n,), flip, device=device))

    @staticmethod
    def random(n: int, generator: np.random.Generator) -> Crops:
        """A random crop and a flip in half of the cases."""
        corner = generator.integers(0, 2 * PADDING + 1, size=(n, 2))
        return Crops(torch.from_numpy(corner), torch.from_numpy(generator.random(n) < 0.5))

    def to(self, device: torch.device) -> Crops:
        """Crops on another device."""
        return Crops(self.corner.to(device), self.flip.to(device))

    def __getitem__(self, index: Tensor | slice) -> Crops:
        return Crops(self.corner[index], self.flip[index])


@dataclass(frozen=True)
class CropViews:
    """Named views of n small images: each is a crop of the padded image, flipped or not.

    Attributes:
        names: V names, ``plain`` first.
        corner: top and left edge of each view and image (V, n, 2); (V, 1, 2) if a view is the same crop of all images.
        flip: (V, n) or (V, 1).
    """

    names: tuple[str, ...]
    corner: Tensor
    flip: Tensor

    @staticmethod
    def all() -> CropViews:
        """The plain view, then each of the 162 crops that ``Crops.random`` draws from, once."""
        side = range(2 * PADDING + 1)
        crops = [(top, left, flip) for flip in (False, True) for top in side for left in side]
        names = tuple(f"{top}+{left}{' flip' if flip else ''}" for top, left, flip in crops)
        corner = torch.tensor([(PADDING, PADDING), *((top, left) for top, left, _ in crops)])
        return CropViews(("plain", *names), corner[:, None], torch.tensor([False, *(flip for *_, flip in crops)])[:, None])

    @staticmethod
    def of(crops: Mapping[str, Crops]) -> CropViews:
        """Given views of n images, by name."""
        return CropViews(
            tuple(crops), torch.stack([one.corner for one in crops.values()]), torch.stack([one.flip for one in crops.values()])
        )

    def to(self, device: torch.device) -> CropViews:
        """Views on another device."""
        return CropViews(self.names, self.corner.to(device), self.flip.to(device))

    def crops(self, view: Tensor, image: Tensor) -> Crops:
        """The crops of views (B,) of images (B,)."""
        place = image if self.corner.shape[1] > 1 else torch.zeros_like(image)
        return Crops(self.corner[view, place], self.flip[view, place])


def padded(images: np.ndarray | Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 in the layout that ``crop`` reads: (N, H + 8, W + 8, 3), with a black border."""
    pixels = torch.as_tensor(images)
    return torch.nn.functional.pad(pixels, (PADDING,) * 4).permute(0, 2, 3, 1).contiguous()


def crop(store: Tensor, index: Tensor, crops: Crops) -> Tensor:
    """Cut (B, 3, H, W) uint8, channels last, out of padded images.

    Args:
        store: padded images (N, H + 8, W + 8, 3).
        index: (B,) which images.
        crops: B corners and flips.
    """
    H, W = store.shape[1] - 2 * PADDING, store.shape[2] - 2 * PADDING
    across = torch.arange(W, device=store.device)
    y = crops.corner[:, :1] + torch.arange(H, device=store.device)
    x = crops.corner[:, 1:] + torch.where(crops.flip[:, None], W - 1 - across, across)
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
