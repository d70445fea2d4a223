"""Random augmentations of photographs of any size, each determined by its seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lt_bench.data.specs import DatasetSpec

JITTER = 0.4
"""Strength of the colour jitter, as in the recipes of ImageNet-LT."""


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop, horizontal flip and colour jitter; without the crop, the evaluation view is flipped, or left as it is.

    Attributes:
        size: height and width of the input, pixels.
        jitter: of brightness, contrast and saturation; 0 for none. It needs the crop.
        flips_only: the evaluation view flipped both ways, for images padded to a square.
        crop: a random resized crop, of the whole image.
        flip: a horizontal flip in half of the cases.
    """

    size: int
    jitter: float = 0
    flips_only: bool = False
    crop: bool = True
    flip: bool = True

    @property
    def of_evaluation(self) -> bool:
        """Whether the evaluation view is augmented, and not the image."""
        return self.flips_only or not self.crop

    @property
    def words(self) -> str:
        """Description of the augmentation, as in a manifest; part of a cache's key."""
        if self.flips_only:
            return "horizontal and vertical flip"
        steps = [
            *([f"random resized crop to {self.size}"] if self.crop else []),
            *(["horizontal flip"] if self.flip else []),
            *([f"colour jitter {self.jitter:g} {self.jitter:g} {self.jitter:g}"] if self.jitter else []),
        ]
        return ", ".join(steps) or "none"

    def view(self, image: Image.Image, plain: Tensor, seed: int) -> Tensor:
        """An augmented view (3, size, size) uint8; torchvision's draws, from torch's generator seeded for this view.

        Args:
            image: RGB, of any size.
            plain: its evaluation view (3, size, size) uint8.
            seed: of the draws; torch's own generator is left as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for step in self._steps():
                if self.of_evaluation:
                    plain = step(plain)
                else:
                    image = step(image)
        return plain if self.of_evaluation else F.pil_to_tensor(image)

    def _steps(self) -> list[nn.Module]:
        if self.flips_only:
            return [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
        crop = [v2.RandomResizedCrop(self.size)] if self.crop else []
        flip = [v2.RandomHorizontalFlip()] if self.flip else []
        return [*crop, *flip, *([v2.ColorJitter(self.jitter, self.jitter, self.jitter)] if self.jitter else [])]


def augmentation(spec: DatasetSpec, size: int, steps: str | None = None) -> Augmentation:
    """The augmentation of a data set for inputs of ``size`` pixels, or the one of these ``steps``: ``none``, or some of crop, flip and jitter, joined by ``+``."""
    if steps is None:
        return Augmentation(size, spec.jitter, spec.square)
    chosen = steps.split("+")
    return Augmentation(size, JITTER if "jitter" in chosen else 0, False, "crop" in chosen, "flip" in chosen)
