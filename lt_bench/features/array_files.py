"""Files of named arrays: NumPy's, safetensors, tensors of ``torch.save``, and parquet with a column of lists."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lt_bench.core.arrays import read_npy, read_npz
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, unreadable
from lt_bench.core.files import require_readable
from lt_bench.data.readers.parquet import class_names
from lt_bench.features.from_arrays import Arrays, as_numpy

FEATURES, LABELS = ("features", "embeddings", "embedding"), ("labels", "label")
"""Names that an array of features or labels may have."""
PARQUET = (".parquet", ".pq")
ARRAYS = (".npz", ".npy", ".pt", ".pth", ".safetensors", *PARQUET)
"""Names of files of arrays."""


def read_arrays(path: Path) -> Arrays:
    """Named arrays of a file; one that holds a single nameless array has it as ``features``. A .npy is mapped, not read; nothing is unpickled but tensors.

    Of a parquet file the columns of integers and of lists of numbers are read.

    Raises:
        UserError: no such file, of another kind, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        match path.suffix:
            case ".npz":
                return read_npz(path)
            case ".npy":
                return {"features": read_npy(path)}
            case ".safetensors":
                require_readable(path)
                return {name: as_numpy(tensor) for name, tensor in load_file(path).items()}
            case ".pt" | ".pth":
                return _tensors(path)
            case ".parquet" | ".pq":
                return _columns(path)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: cannot be read: it holds other things than tensors; torch.save a dict of tensors, features and labels"
        ) from None
    except (pa.ArrowException, OSError, EOFError, zipfile.BadZipFile, SafetensorError, *FAILURES_OF_CODE) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split()) or 'it ends too early'})") from None
    raise UserError(f"{path}: expected .npz, .npy, .pt, .pth, .safetensors or .parquet, with arrays features (N, D) and labels (N,)")


def usual_names(arrays: Arrays) -> Arrays:
    """The arrays with features named ``features`` and labels named ``labels``, found by their usual other names; features also as the only matrix of floats."""
    renamed = dict(arrays)
    matrices = [name for name, array in arrays.items() if array.ndim > 1 and np.issubdtype(array.dtype, np.floating)]
    if not renamed.keys() & set(FEATURES) and len(matrices) == 1:
        renamed["features"] = renamed.pop(matrices[0])
    for names in (FEATURES, LABELS):
        name = next((name for name in names if name in renamed), names[0])
        if name in renamed:
            renamed[names[0]] = renamed.pop(name)
    return renamed


def label_names(path: Path) -> tuple[str, ...] | None:
    """Class names in the metadata of a parquet file (Hugging Face's ClassLabel), None where there are none."""
    if path.suffix not in PARQUET:
        return None
    try:
        schema = pq.read_schema(path)
        return next((names for label in LABELS if label in schema.names and (names := class_names(schema, label))), None)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _tensors(path: Path) -> Arrays:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on pickles that it then refuses
        content = torch.load(path, map_location="cpu", weights_only=True)
    named = {"features": content} if isinstance(content, Tensor) else content
    if not isinstance(named, dict) or not all(isinstance(value, Tensor) for value in named.values()):
        raise ValueError("it holds no tensor and no dict of tensors; save {'features': (N, D), 'labels': (N,)}")
    return {str(name): as_numpy(tensor) for name, tensor in named.items()}


def _columns(path: Path) -> Arrays:
    schema = pq.read_schema(path)
    names = [field.name for field in schema if _is_list(field.type) or pa.types.is_integer(field.type) or field.name in LABELS]
    if not names:
        raise ValueError(f"no column of features, lists of numbers, or labels, integers; it has {', '.join(schema.names) or 'none'}")
    table = pq.read_table(path, columns=names)
    return {name: _column(name, table[name]) for name in names}


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _column(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """(N,), or (N, D) of lists of one length D."""
    values = [chunk.flatten() for chunk in column.chunks] if _is_list(column.type) else column.chunks
    if column.null_count or any(chunk.null_count for chunk in values):
        raise ValueError(f"column {name} has empty cells; leave out these rows")
    flat = np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in values]) if values else np.empty(0)
    if not _is_list(column.type):
        return flat
    lengths = {length for chunk in column.chunks for length in np.unique(_lengths(chunk)).tolist()}
    if len(lengths) > 1:
        raise ValueError(f"column {name} has lists of {min(lengths)} to {max(lengths)} numbers, expected one length")
    return flat.reshape(len(column), max(lengths, default=0))


def _lengths(chunk: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(chunk.type):
        return np.full(len(chunk), chunk.type.list_size)
    return np.diff(chunk.offsets.to_numpy())
