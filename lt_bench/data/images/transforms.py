"""Random augmentations of photographs of any size, each determined by its seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lt_bench.data.specs import DatasetSpec


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop, horizontal flip and colour jitter; or flips of the evaluation view, both ways, for images padded to a square.

    Attributes:
        size: height and width of the input, pixels.
        jitter: of brightness, contrast and saturation; 0 for none.
        flips_only: no crop.
    """

    size: int
    jitter: float = 0
    flips_only: bool = False

    @property
    def words(self) -> str:
        """Description of the augmentation, as in a manifest; part of a cache's key."""
        if self.flips_only:
            return "horizontal and vertical flip"
        jitter = f", colour jitter {self.jitter:g} {self.jitter:g} {self.jitter:g}" if self.jitter else ""
        return f"random resized crop to {self.size}, horizontal flip{jitter}"

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
                if self.flips_only:
                    plain = step(plain)
                else:
                    image = step(image)
        return plain if self.flips_only else F.pil_to_tensor(image)

    def _steps(self) -> list[nn.Module]:
        if self.flips_only:
            return [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
        jitter = [v2.ColorJitter(self.jitter, self.jitter, self.jitter)] if self.jitter else []
        return [v2.RandomResizedCrop(self.size), v2.RandomHorizontalFlip(), *jitter]


def augmentation(spec: DatasetSpec, size: int) -> Augmentation:
    """The augmentation of a data set for inputs of ``size`` pixels."""
    return Augmentation(size, spec.jitter, spec.square)
