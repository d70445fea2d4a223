"""The evaluation transform of images, written to and read from the words of a cache's manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import CenterCrop, InterpolationMode, PILToTensor, Resize

from lt_bench.core.errors import UserError
from lt_bench.data.specs import Statistics

_NUMBER = r"[0-9.eE+-]+"
_TEXT = re.compile(
    r"(?P<whole>as it is)?(?P<square>padding to a square)?(?:, |^)?(?:resize (?P<resize>\d+)(?: (?P<fit>squash|border))?(?: (?P<how>bicubic|lanczos))?)?"
    r"(?:, )?(?:centre crop (?P<crop>\d+)(?P<down> rounded down)?)?"
    rf"(?:; mean (?P<mean>{_NUMBER} {_NUMBER} {_NUMBER}), std (?P<std>{_NUMBER} {_NUMBER} {_NUMBER}))"
)


@dataclass(frozen=True)
class Transform:
    """Pad to a square, resize the shorter side, cut out the centre, normalise; each step is optional.

    Attributes:
        mean, std: of RGB in 0..1.
        resize: the shorter side afterwards, pixels; None leaves the size.
        crop: side of the square that is cut out of the centre; None cuts nothing.
        square: whether black borders are added first.
        interpolation: bilinear, bicubic or lanczos, with antialiasing.
        fit: side that ``resize`` sets: the shorter side; both sides (``squash``, which keeps no proportions); or the longer side, with borders of the mean colour up to
            the crop (``border``), as timm's ``crop_mode`` says.
        down: whether the corner of the crop is rounded down, as transformers does; else to the nearest even pixel, as torchvision does.
        size: side of the square input if neither resize nor crop gives it; other images are resized to it.
    """

    mean: Statistics
    std: Statistics
    resize: int | None = None
    crop: int | None = None
    square: bool = False
    interpolation: str = "bilinear"
    size: int | None = None
    fit: str = "shorter"
    down: bool = False

    @property
    def words(self) -> str:
        """The transform as it stands in a manifest: ``resize 256, centre crop 224; mean ..., std ...``."""
        how = ("" if self.fit == "shorter" else f" {self.fit}") + ("" if self.interpolation == "bilinear" else f" {self.interpolation}")
        steps = [
            *(["padding to a square"] if self.square else []),
            *([f"resize {self.resize}{how}"] if self.resize else []),
            *([f"centre crop {self.crop}{' rounded down' if self.down else ''}"] if self.crop else []),
        ]
        return f"{', '.join(steps) or 'as it is'}; mean {' '.join(map(str, self.mean))}, std {' '.join(map(str, self.std))}"

    def pixels(self, image: Image.Image) -> Tensor:
        """An RGB image as uint8 (3, H, W), resized and cut but not normalised."""
        how = InterpolationMode(self.interpolation)
        if self.square and image.width != image.height:
            side = max(image.size)
            left, top = (side - image.width) // 2, (side - image.height) // 2
            image = ImageOps.expand(image, (left, top, side - image.width - left, side - image.height - top))
        if self.resize and self.fit == "border":
            longer = max(image.size)
            image = Resize([round(side * self.resize / longer) for side in (image.height, image.width)], how)(image)
            image = _bordered(image, self.crop or self.resize, self.mean)
        elif self.resize:
            image = Resize(self.resize if self.fit == "shorter" else (self.resize, self.resize), how)(image)
        if self.crop and self.down and min(image.size) >= self.crop:
            left, top = (image.width - self.crop) // 2, (image.height - self.crop) // 2
            image = image.crop((left, top, left + self.crop, top + self.crop))
        elif self.crop:
            image = CenterCrop(self.crop)(image)
        if self.size and image.size != (self.size, self.size):
            image = Resize((self.size, self.size), how)(image)
        return PILToTensor()(image)

    def batch(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB images as uint8 (B, 3, H, W).

        Raises:
            UserError: the images come out in different sizes, since no step makes them equal.
        """
        pixels = [self.pixels(image) for image in images]
        if len({tuple(one.shape) for one in pixels}) > 1:
            raise UserError(f"images of different sizes and a transform that leaves them ({self.words}); give them one at a time")
        return torch.stack(pixels)


def _bordered(image: Image.Image, side: int, mean: Statistics) -> Image.Image:
    """An image of at least ``side`` pixels each way, the missing ones in the mean colour around it."""
    right, below = max(0, side - image.width), max(0, side - image.height)
    colour = tuple(round(255 * value) for value in mean)
    return ImageOps.expand(image, (right // 2, below // 2, right - right // 2, below - below // 2), fill=colour)


def read_transform(words: str, size: int | None = None) -> Transform:
    """The transform that the words of a manifest mean.

    Args:
        words: as ``Transform.words`` writes them.
        size: side of the input if the words contain no resize or crop.

    Raises:
        UserError: the words have another form.
    """
    match = _TEXT.fullmatch(words)
    if match is None:
        raise UserError(f"the transform {words!r} cannot be repeated on new images; export the head alone with --head-only")
    mean, std = ((float(x[0]), float(x[1]), float(x[2])) for x in (match["mean"].split(), match["std"].split()))
    resize, crop = (int(match[name]) if match[name] else None for name in ("resize", "crop"))
    return Transform(
        mean,
        std,
        resize,
        crop,
        match["square"] is not None,
        match["how"] or "bilinear",
        None if resize or crop else size,
        match["fit"] or "shorter",
        match["down"] is not None,
    )


class Prepared(torch.nn.Module):
    """Pixels to inputs: (B, 3, H, W) uint8 0..255 or floating point 0..1, minus the mean, over the standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Statistics, std: Statistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images."""
        pixels = images if images.is_floating_point() else images.to(self.mean.dtype) / 255
        return (pixels - self.mean) / self.std
