"""Encoded images of any kind to upright 8-bit RGB. Free of torch."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

HEIF = frozenset({".heic", ".heif", ".hif"})
"""Names of images that are read where the extra ``heif`` is installed."""
NEEDS_HEIF = "HEIC images are read after `pip install 'lt-bench[heif]'`"
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}) | (
    HEIF if importlib.util.find_spec("pillow_heif") else frozenset()
)
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
DARKEST = 1 << 12
"""Smallest maximum of a 16-bit image that is reduced to its high bytes; below, the image holds 12 bits or fewer, and 16 levels would be left."""
ROUNDING = 1e-3


class BrokenImage(Exception):  # noqa: N818 - said of an image, not of the program
    """An image that cannot be decoded; the message is the reason, without the name of the image."""


def decode(source: Path | bytes, upright: bool = True, reduced: tuple[int, int] | None = None) -> Image.Image:
    """The first frame as RGB.

    Alpha is dropped. 16 bits (also grey as 32-bit integers) keep their high byte; floating-point grey is taken as 0..1. Another range, which 8 bits would lose, is refused. Other modes
    are converted as ``torchvision.datasets.folder`` does.

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
        _know_heif()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # large photographs are welcome; above twice the limit Pillow refuses
            warnings.simplefilter("ignore", UserWarning)  # metadata that Pillow cannot read does not concern the pixels
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if reduced is not None:
                    image.draft("RGB", reduced)
                deep = any(";16" in str(part[-1]) for part in image.tile)  # colour of 16 bits, of which Pillow takes the high bytes
                image.load()
                if deep and not image.mode.startswith("I"):
                    _require_range(image)
                return rgb(image, upright)
    except UnidentifiedImageError:
        if HEIF - EXTENSIONS and _is_heif(source):
            raise BrokenImage(NEEDS_HEIF) from None
        raise BrokenImage("not an image" if _size(source) else "an empty file") from None
    except FileNotFoundError:
        raise BrokenImage("absent") from None
    except PermissionError as error:
        raise BrokenImage(f"cannot be read ({error.strerror}); allow reading it") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise BrokenImage(f"cannot be decoded: {' '.join(str(error).split())}") from None


def rgb(image: Image.Image, upright: bool = True) -> Image.Image:
    """An opened image as ``decode`` gives it.

    Raises:
        BrokenImage: grey of 16 bits or of floating point in a range that 8 bits would lose.
    """
    image = ImageOps.exif_transpose(image) if upright else image
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535 or 0 < high < DARKEST:
            raise BrokenImage(
                f"grey of more than 8 bits, of {low:,} to {high:,}, loses its range in 8 bits; scale it to 0..65535 (or to 8 bits)"
            )
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=np.inf, neginf=-np.inf)
        if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
            raise BrokenImage(
                f"floating-point grey of {values.min():.4g} to {values.max():.4g}, expected 0..1; scale it, or save it with 8 bits"
            )
        grey = np.clip(values, 0, 1) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")  # a copy, so that the file can be closed


def _require_range(image: Image.Image) -> None:
    """Refuse the high bytes of 16-bit colour that holds 12 bits or fewer.

    Raises:
        BrokenImage: no colour reaches ``DARKEST``; a black image of 16 bits is refused too, since its low bytes are not seen.
    """
    if np.asarray(image.convert("RGB")).max() < DARKEST >> 8:
        raise BrokenImage(
            f"16 bits a channel, of which none reaches {DARKEST:,}, lose their range in 8 bits; scale it to 0..65535 (or to 8 bits)"
        )


@functools.cache
def _know_heif() -> None:
    """Let Pillow read HEIC, where it can."""
    if HEIF <= EXTENSIONS:
        importlib.import_module("pillow_heif").register_heif_opener()


def _is_heif(source: Path | bytes) -> bool:
    """Whether the first bytes are those of a HEIF file (ISO/IEC 23008-12), whatever its name."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _is_heif(file.read(12))
    return source[4:8] == b"ftyp" and source[8:12] in _BRANDS


def _size(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
