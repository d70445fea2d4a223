"""Encoded images of any kind to upright 8-bit RGB. Free of torch."""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"})


class BrokenImage(Exception):  # noqa: N818 - said of an image, not of the program
    """An image that cannot be decoded; the message is the reason, without the name of the image."""


def decode(source: Path | bytes, upright: bool = True, reduced: tuple[int, int] | None = None) -> Image.Image:
    """The first frame as RGB.

    Alpha is dropped. 16-bit grey (also as 32-bit integers) keeps its high byte; floating-point grey is taken as 0..1. Other modes are converted as
    ``torchvision.datasets.folder`` does.

    Args:
        source: a file, or its bytes.
        upright: whether to turn and mirror as the EXIF orientation says.
        reduced: decode to no less than this width and height, where the format can.

    Raises:
        BrokenImage: absent, truncated, not an image, or larger than Pillow's limit.
    """
    try:
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):  # reading a pipe or a device may never end
            raise BrokenImage("not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # large photographs are welcome; above twice the limit Pillow refuses
            warnings.simplefilter("ignore", UserWarning)  # metadata that Pillow cannot read does not concern the pixels
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if reduced is not None:
                    image.draft("RGB", reduced)
                image.load()
                return _rgb(ImageOps.exif_transpose(image) if upright else image)
    except UnidentifiedImageError:
        raise BrokenImage("not an image" if _size(source) else "an empty file") from None
    except FileNotFoundError:
        raise BrokenImage("absent") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise BrokenImage(f"cannot be decoded: {' '.join(str(error).split())}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        high = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.nan_to_num(np.clip(np.asarray(image), 0, 1)) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")  # a copy, so that the file can be closed


def _size(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
