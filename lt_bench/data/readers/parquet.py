"""Images in parquet files, as hubs store them: one encoded image and label per row. Free of torch."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.images.decode import BrokenImage, rgb

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label")


@dataclass(frozen=True)
class ImageTable:
    """An opened parquet file of images, not decoded yet.

    Attributes:
        path: of the file.
        labels: (N,) int64.
        class_names: from the file's metadata, or None.
    """

    path: Path
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    _encoded: pa.ChunkedArray

    def decode(self, rows: NDArray[np.integer] | None = None, threads: int | None = None) -> NDArray[np.uint8]:
        """Decode rows (all by default) to RGB (n, 3, H, W), several at a time.

        Raises:
            UserError: a row is no image, or of another size than the first; names the file and the row.
        """
        chosen = np.arange(len(self.labels)) if rows is None else np.asarray(rows)
        if chosen.size == 0:
            raise UserError(f"{self.path}: no rows to decode")
        encoded = self._encoded.take(pa.array(chosen)).to_pylist()
        first = self._decode_row(encoded[0], int(chosen[0]))
        images = np.empty((len(encoded), *first.shape), dtype=np.uint8)

        def fill(start: int) -> None:
            for i in range(start, min(start + 256, len(encoded))):
                image = self._decode_row(encoded[i], int(chosen[i]))
                if image.shape != first.shape:
                    raise UserError(
                        f"{self.path}: row {chosen[i]} is {image.shape[1]}x{image.shape[0]} pixels, row {chosen[0]} {first.shape[1]}x{first.shape[0]}; "
                        "images of one file must have one size here"
                    )
                images[i] = image

        with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
            for _ in pool.map(fill, range(0, len(encoded), 256)):
                pass
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def _decode_row(self, data: bytes | None, row: int) -> NDArray[np.uint8]:
        if not data:
            raise UserError(f"{self.path}: row {row} has no image; mend it, or leave the row out")
        try:
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(rgb(image, upright=False))
        except (BrokenImage, UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.path}: row {row} is not a readable image ({error}); mend it, or leave the row out") from None


def open_table(path: Path, image_column: str | None = None, label_column: str | None = None) -> ImageTable:
    """Open a parquet file of images.

    Args:
        path: the file.
        image_column: column of encoded images, bytes or a struct with a field ``bytes``; by default ``image`` or ``img``.
        label_column: column of integer labels; by default ``label`` or ``fine_label``.

    Raises:
        UserError: not a parquet file, a column missing or of another type, a label missing or negative, no rows.
    """
    try:
        schema = pq.read_schema(path)
        image, label = (
            _column(path, schema, wanted, usual, kind)
            for wanted, usual, kind in ((image_column, IMAGE_COLUMNS, "image"), (label_column, LABEL_COLUMNS, "label"))
        )
        names = class_names(schema, label)
        table = pq.read_table(path, columns=list(dict.fromkeys((image, label))))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None
    encoded = encoded_images(path, image, table.column(image))
    if not pa.types.is_integer(table.column(label).type):
        raise UserError(f"{path}: column {label} holds {table.column(label).type}, expected integers; name the column with --label-column")
    if table.num_rows == 0 or table.column(label).null_count:
        raise UserError(f"{path}: {'no rows' if table.num_rows == 0 else f'{table.column(label).null_count} rows have no label'}")
    labels = table.column(label).to_numpy().astype(np.int64)
    if labels.min() < 0:
        raise UserError(f"{path}: row {int(labels.argmin())} has label {labels.min()}, expected 0 or more")
    return ImageTable(path, labels, names, encoded)


def encoded_images(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The bytes of a column of encoded images: itself, or the field ``bytes`` of a column of structs.

    Raises:
        UserError: it holds something else.
    """
    if pa.types.is_struct(column.type):
        at = column.type.get_field_index("bytes")
        if at < 0:
            raise UserError(f"{path}: column {name} is a struct without a field 'bytes'")
        column = pa.chunked_array(
            [chunk.flatten()[at] for chunk in column.chunks], type=column.type.field(at).type
        )  # flatten: no bytes where no struct
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise UserError(f"{path}: column {name} holds {column.type}, expected encoded images; name the column with --image-column")
    return column


def _column(path: Path, schema: pa.Schema, wanted: str | None, usual: Sequence[str], kind: str) -> str:
    for name in (wanted,) if wanted else usual:
        if name in schema.names:
            return name
    raise UserError(f"{path}: no column {wanted or ' or '.join(usual)}, it has {', '.join(schema.names)}; name it with --{kind}-column")


def class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Class names in label order from the metadata of a parquet file (``classes``, or those of the Hugging Face hub), or None."""
    metadata = schema.metadata or {}
    try:
        if b"classes" in metadata:
            return tuple(metadata[b"classes"].decode().split(","))
        if b"huggingface" in metadata:
            names = parse_json(metadata[b"huggingface"]).get("info", {}).get("features", {}).get(label, {}).get("names")
            return tuple(map(str, names)) if names else None
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"garbled class names in its metadata ({error})") from None
    return None
