"""A file that may not be read is not called damaged, and no copy is asked for."""

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.backbones.checkpoints import read_checkpoint
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.bench.suite.run import read_suite
from lt_bench.cli.configs import read as read_config
from lt_bench.core.errors import UserError
from lt_bench.core.seals import read_json_object
from lt_bench.data.class_files import read_prior
from lt_bench.data.readers.cifar_files import _load as read_cifar
from lt_bench.data.readers.inat import read_inat
from lt_bench.data.readers.list_files import read_list
from lt_bench.data.readers.table_files import table_of
from lt_bench.features.array_files import label_names, read_arrays
from lt_bench.features.cache import open_cache
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.tables.selection import read_names
from lt_bench.results.store import Store, read_record
from lt_bench.results.store import read_arrays as read_side_file

READERS = {
    "x.json": (
        lambda path: read_json_object(path, "restore it"),
        lambda path: read_prior(path, ("a",)),
        lambda path: read_inat(path, path, 2),
    ),
    "x.yaml": (read_suite, read_names, lambda path: read_config(str(path))),
    "x.csv": (lambda path: table_of(path, None, None), lambda path: read_prior(path, ("a",))),
    "x.parquet": (lambda path: table_of(path, None, None), read_arrays, label_names),
    "x.safetensors": (read_arrays, read_checkpoint, read_training_rows),
    "x.npz": (read_arrays, read_side_file),
    "x.pt": (read_arrays, read_checkpoint),
    "x.txt": (lambda path: read_list(path, path, 2), read_cifar),
}


@pytest.mark.parametrize("name", READERS)
def test_files_of_a_persons_own(name, tmp_path, close):
    path = tmp_path / name
    if path.suffix == ".parquet":
        pd.DataFrame({"path": ["a"], "label": [0]}).to_parquet(path)
    elif path.suffix == ".safetensors":
        save_file({"features": torch.zeros(2, 2)}, path)
    else:
        path.write_text("{}")
    close(path)
    for read in READERS[name]:
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: cannot be read (Permission denied); allow reading it, or move it elsewhere"


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_records(suffix, tmp_path, builder, close):
    store = Store(tmp_path)
    path = close(store.path(store.write(*builder.make("los", 0))).with_suffix(suffix))
    readers = {
        ".json": (lambda: read_record(path.with_suffix(".json")), lambda: load_records(tmp_path)),
        ".npz": (lambda: load_records(tmp_path).content(0),),
    }
    for read in readers[suffix]:
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); allow reading it") as caught:
            read()
        assert str(path) in str(caught.value)


def test_caches(tmp_path, make_cache, close):
    cache = open_cache(make_cache(tmp_path / "cache"))
    close(tmp_path / "cache" / "train.safetensors")
    with pytest.raises(UserError, match=r"train.safetensors: cannot be read \(Permission denied\); allow reading it"):
        cache.split("train")
    close(tmp_path / "cache" / "manifest.json")
    with pytest.raises(UserError, match=r"manifest.json: cannot be read \(Permission denied\); allow reading it"):
        open_cache(tmp_path / "cache")
