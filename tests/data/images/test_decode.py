import io
import struct
import zlib
from unittest.mock import Mock

import numpy as np
import pytest
from photos import photo
from PIL import Image, UnidentifiedImageError

from lt_bench.data.images import decode as decoding
from lt_bench.data.images.decode import BrokenImage, decode, rgb


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    image = photo().convert(mode)
    data = saved(image, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    found = decode(data)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_has_the_colours_of_its_rgb():
    found = np.asarray(decode(saved(photo().convert("CMYK"), "JPEG", quality=95))).astype(int)
    assert np.abs(found - np.asarray(photo())).mean() < 6


def test_sixteen_bits_keep_the_high_byte():
    values = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
    expected = np.repeat((values >> 8)[..., None], 3, 2)
    assert np.array_equal(np.asarray(decode(saved(Image.fromarray(values)))), expected)
    assert np.array_equal(np.asarray(decode(saved(Image.fromarray(values.astype(np.int32)), "TIFF"))), expected)


def test_floating_point_is_zero_to_one():
    values = np.array([[0, 0.5], [1, np.nan]], np.float32)
    assert np.asarray(decode(saved(Image.fromarray(values), "TIFF")))[..., 0].tolist() == [[0, 128], [255, 0]]


def png_of_16_bits(values):
    """An RGB PNG of (H, W, 3) uint16, which Pillow reads and does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_twelve_bits_in_sixteen_are_refused_in_colour_too():
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(np.uint16)
    assert np.array_equal(np.asarray(decode(png_of_16_bits(values))), values >> 8)
    with pytest.raises(BrokenImage, match="16 bits a channel, of which none reaches 4,096, lose their range"):
        decode(png_of_16_bits(values >> 4))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    image, exif = photo(), Image.Exif()
    exif[0x0112] = orientation
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Transpose values that turn it upright
    expected = image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))
    data = saved(image, exif=exif)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(expected))
    assert np.array_equal(np.asarray(decode(data, upright=False)), np.asarray(image))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {}))
    assert np.asarray(decode(data))[0, 0].tolist() == [255, 0, 0]


def test_broken_images_say_why(tmp_path):
    jpeg = saved(photo(size=(64, 64)), "JPEG")
    for data, why in (
        (jpeg[: (jpeg.index(b"\xff\xda") + len(jpeg)) // 2], "cannot be decoded: image file is truncated"),  # within the pixels
        (jpeg[: jpeg.index(b"\xff\xdb") + 9], "cannot be decoded: Truncated File Read"),  # within the quantisation table
        (b"hello", "not an image"),
        (b"", "an empty file"),
        (tmp_path / "no.png", "absent"),
    ):
        with pytest.raises(BrokenImage, match=why):
            decode(data)
    (tmp_path / "a.png").write_bytes(saved(photo())[:60])
    with pytest.raises(BrokenImage, match="cannot be decoded"):
        decode(tmp_path / "a.png")


def test_an_image_beyond_pillows_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BrokenImage, match="exceeds limit"):
        decode(saved(photo()))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array([[1, 229]], np.float32), r"floating-point grey of 1 to 229, expected 0\.\.1"),
        (np.array([[-1, 1]], np.float32), "floating-point grey of -1 to 1"),
        (np.array([[0, 4095]], np.uint16), "of 0 to 4,095, loses its range in 8 bits"),
        (np.array([[0, 200]], np.uint16), "of 0 to 200, loses"),
        (np.array([[0, 70000]], np.int32), "of 0 to 70,000, loses"),
    ],
)
def test_a_range_that_eight_bits_would_lose_is_refused(values, why):
    with pytest.raises(BrokenImage, match=why):
        decode(saved(Image.fromarray(values), "TIFF"))
    assert np.asarray(decode(saved(Image.fromarray(np.zeros((2, 2), np.uint16))))).max() == 0  # black is black


@pytest.mark.parametrize(
    "values", [np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4), np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)]
)
def test_an_opened_image_is_what_its_file_is(values):
    data = saved(Image.fromarray(values), "TIFF")
    assert np.array_equal(np.asarray(rgb(Image.open(io.BytesIO(data)))), np.asarray(decode(data)))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(photo(), exif=exif)
    assert np.array_equal(np.asarray(rgb(Image.open(io.BytesIO(turned)))), np.asarray(decode(turned)))
    assert rgb(Image.open(io.BytesIO(turned))).size == photo().size[::-1]


@pytest.mark.parametrize("in_memory", [True, False])
def test_heic_without_its_extra_is_named_by_its_content(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(decoding, "EXTENSIONS", decoding.EXTENSIONS - decoding.HEIF)
    monkeypatch.setattr(decoding.Image, "open", Mock(side_effect=UnidentifiedImageError))  # as Pillow says it without the extra
    for head, said in ((b"\0\0\0\x18ftypheic", decoding.NEEDS_HEIF), (b"\0\0\0\x18ftypisom", "not an image"), (b"short", "not an image")):
        path = tmp_path / "a.jpg"
        path.write_bytes(head)
        with pytest.raises(BrokenImage) as raised:
            decode(head if in_memory else path)
        assert str(raised.value) == said
