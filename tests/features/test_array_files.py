"""Files of arrays: what each kind may hold, and the line where it holds something else."""

import json
import mmap
import pickle
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.core.errors import UserError
from lt_bench.features.array_files import label_names, read_arrays, usual_names
from lt_bench.features.import_arrays import import_features

X, Y = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 1, 2])
NAMES = ["ant", "bee", "cat"]


def of_the_hub(path, features=X, labels=Y, names=NAMES, kind=None, column="embedding"):
    kind = kind or pa.list_(pa.float32(), 3)
    number = np.float16 if pa.types.is_float16(kind.value_type) else np.float32
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table(
        {"text": ["x"] * len(labels), column: pa.array([list(map(number, row)) for row in features], kind), "label": pa.array(labels)}
    )
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), path, row_group_size=2)
    return path


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 3), pa.list_(pa.float32()), pa.large_list(pa.float16())])
@pytest.mark.parametrize("column", ["features", "embeddings", "vector"])
def test_a_table_of_the_hub_brings_embeddings_labels_and_names(tmp_path, kind, column):
    train = of_the_hub(tmp_path / "train.parquet", kind=kind, column=column)
    arrays = usual_names(read_arrays(train))
    assert np.array_equal(arrays["features"], X)
    assert arrays["labels"].tolist() == Y.tolist()
    cache = import_features(name="x", train=train, test=of_the_hub(tmp_path / "test.parquet", X + 1), out=tmp_path / "out", dtype="float32")
    assert cache.manifest.dataset.class_names == tuple(NAMES)


def test_two_orders_of_classes_are_refused(tmp_path):
    train, test = of_the_hub(tmp_path / "a.parquet"), of_the_hub(tmp_path / "b.parquet", names=NAMES[::-1])
    assert (label_names(train), label_names(test)) == (tuple(NAMES), tuple(NAMES[::-1]))
    with pytest.raises(UserError, match="name their classes differently"):
        import_features(name="x", train=train, test=test, out=tmp_path / "out")


def test_a_bare_tensor_is_the_features(tmp_path):
    torch.save(torch.from_numpy(X).bfloat16(), tmp_path / "x.pt")
    ((name, array),) = read_arrays(tmp_path / "x.pt").items()
    assert (name, array.tolist()) == ("features", X.tolist())
    save_file({"features": torch.from_numpy(X).bfloat16()}, tmp_path / "x.safetensors")
    assert read_arrays(tmp_path / "x.safetensors")["features"].tolist() == X.tolist()


def test_an_npy_is_mapped_and_never_written(tmp_path):
    np.save(tmp_path / "x.npy", X)
    array = read_arrays(tmp_path / "x.npy")["features"]
    assert isinstance(array.base.base, np.memmap | mmap.mmap)
    assert torch.from_numpy(array).data_ptr() == array.ctypes.data
    array += 1
    assert np.array_equal(np.load(tmp_path / "x.npy"), X)


def save(path, content):
    if path.suffix == ".parquet":
        content.to_parquet(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"1,2", "expected .npz, .npy, .pt, .pth, .safetensors or .parquet, with arrays features (N, D) and labels (N,)"),
        ("a.pt", {"features": "words"}, "no tensor and no dict of tensors"),
        ("b.pt", [torch.zeros(2)], "no tensor and no dict of tensors"),
        ("c.pt", torch.nn.Linear(2, 2), "other things than tensors; torch.save a dict of tensors"),
        ("d.pt", pickle.dumps({"a": 1}), "cannot be read"),
        ("a.parquet", pd.DataFrame({"text": ["a"]}), "no column of features, lists of numbers, or labels, integers; it has text"),
        ("b.parquet", pd.DataFrame({"v": [[1.0, 2.0], [1.0]]}), "column v has lists of 1 to 2 numbers, expected one length"),
        ("c.parquet", pd.DataFrame({"v": [[1.0, 2.0], None]}), "column v has empty cells; leave out these rows"),
    ],
)
def test_another_file_is_one_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_arrays(save(tmp_path / name, content))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)
