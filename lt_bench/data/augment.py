"""Crop and flip of small images, whole batches at a time by index gathers on the device."""

from __future__ import annotations

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
