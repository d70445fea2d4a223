"""Every kind of file that the suite reads, damaged in a thousand ways: one line, or a value; never a traceback, and of what is sealed never another value."""

import contextlib
import io
import json
import random
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from benchmarks.faults.mutations import damaged, odd_json
from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.maps import read_key_map
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.pretrain import _store_plan
from lt_bench.bench.suite.run import read_suite, suite_plan
from lt_bench.bench.tuned import read_tuning
from lt_bench.cli.request import read_request
from lt_bench.core.errors import UserError, printable
from lt_bench.core.seals import seal_archive
from lt_bench.data.images.decode import BrokenImage, decode
from lt_bench.data.readers.inat import read_inat
from lt_bench.data.readers.list_files import read_list
from lt_bench.data.readers.parquet import open_table
from lt_bench.data.readers.tables import read_table
from lt_bench.deploy.classifier import load_classifier
from lt_bench.deploy.files import DESCRIPTION, FORMAT, TENSORS, publish
from lt_bench.engine.checkpoints import resumed
from lt_bench.features.cache import open_cache
from lt_bench.features.import_arrays import import_features
from lt_bench.leaderboard.load import load_records
from lt_bench.results.statement import read_statement, statement_of
from lt_bench.results.store import SUBMISSION, Store, read_record
from lt_bench.results.verified import Verification, read_verified, write_verified

CASES = 31
"""Of every kind of file; together more than a thousand."""


@dataclass
class Kind:
    """A file, and the function that reads it.

    Attributes:
        path: of the intact file.
        read: returns what was read, in a form that can be compared.
        sealed: whether another value than the intact file's is a fault.
        mutate: how it is damaged beside ``damaged``.
    """

    path: Path
    read: Any
    sealed: bool = False
    mutate: list[Any] = field(default_factory=lambda: [damaged])


def odd_yaml(content, draw):
    what, text = odd_json(json.dumps(yaml.safe_load(content)).encode(), draw)
    return what, text


def odd_arrays(content, draw):
    """An .npz with arrays of other types and shapes under the same names."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    name = draw.choice(list(arrays))
    changes = {
        "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")), "long double": lambda a: a.astype(np.longdouble), "text": lambda a: a.astype(str),
        "complex": lambda a: a.astype(complex), "bool": lambda a: a.astype(bool), "NaN": lambda a: np.full(a.shape, np.nan), "infinity": lambda a: np.full(a.shape, -np.inf),
        "scalar": lambda a: np.array(1.0), "none": lambda a: a[:0], "flat": lambda a: a.reshape(-1), "deep": lambda a: a[None, None], "negative": lambda a: -a - 1,
        "unsigned": lambda a: a.astype(np.uint64) + np.uint64(2**63), "huge": lambda a: a.astype(np.float64) * 1e300, "dates": lambda a: np.zeros(a.shape, "M8[s]"),
        "structure": lambda a: np.zeros(a.shape, [("a", "f4")]), "large labels": lambda a: (a + 2**40).astype(np.int64), "Fortran": np.asfortranarray,
    }  # fmt: skip
    what = draw.choice(list(changes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays[name] = changes[what](arrays[name])
    out = io.BytesIO()
    np.savez(out, **arrays)
    return f"{name} {what}", out.getvalue()


def odd_tensors(content, draw):
    """A safetensors file of other types."""
    dtype = draw.choice((torch.bfloat16, torch.float8_e4m3fn, torch.float64, torch.int8, torch.bool, torch.uint16, torch.complex64))
    out = Path(draw.folder) / "odd.safetensors"
    save_file({"features": torch.randn(6, 4).to(dtype), "labels": torch.arange(6) % 2}, out)
    return str(dtype), out.read_bytes()


def png(seed=0):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, make_cache, builder, small_cache):
    """Every kind of file by name."""
    home = tmp_path_factory.mktemp("files")
    return _records(home, builder) | _caches(home, make_cache) | _arrays(home) | _images(home) | _texts(home) | _models(home)


def _records(home, builder):
    store = Store(home / "results")
    for seed in range(2):
        path = store.path(store.write(*builder.make("los", seed)))
    predictions = path.with_suffix(".npz")
    record = read_record(path)

    def arrays(_):
        return {name: array.tolist() for name, array in store.arrays(record.id).items()}

    statement = statement_of([record], "A. Person", "https://example.org", None).to_json()
    (home / SUBMISSION).write_text(json.dumps(statement))
    again = Verification(record.to_json()["seal"], 0.0, "test/accuracy", 1e-5, "revision 1", record.environment, record.time.finished)
    return {
        "statement": Kind(home / SUBMISSION, lambda p: read_statement(p.parent), True, [damaged, odd_json, odd_json]),
        "verified": Kind(write_verified(home, {record.id: again}), lambda p: read_verified(p.parent), True, [damaged, odd_json, odd_json]),
        "record": Kind(path, lambda p: read_record(p).to_json(), True, [damaged, odd_json, odd_json]),
        "records of a board": Kind(path, lambda p: load_records(p.parent.parent).frame.drop(columns="path").to_csv(), True, [damaged, odd_json, odd_json]),
        "predictions": Kind(predictions, arrays, True, [damaged, odd_arrays]),
    }  # fmt: skip


def _caches(home, make_cache):
    cache = make_cache(home / "cache", name="mine")
    tuning = home / "tuned.json"
    tuning.write_bytes(next((Path(__file__).parents[1] / "benchmarks" / "tuned").glob("los-*.json")).read_bytes())

    def opened(p):
        cache = open_cache(p.parent)
        cache.verify()
        return [cache.key, cache.manifest.to_json(), *(cache.split(name).blocks[0].sum().item() for name in cache.manifest.views)]

    return {
        "manifest": Kind(cache / "manifest.json", opened, True, [damaged, odd_json, odd_json]),
        "part of a cache": Kind(cache / "train.safetensors", opened, True),
        "tuning": Kind(tuning, read_tuning, True, [damaged, odd_json, odd_json]),
    }


def _arrays(home):
    folder = home / "arrays"
    folder.mkdir()
    draw = np.random.default_rng(0)
    given = {"features": draw.normal(size=(6, 4)).astype(np.float32), "labels": np.arange(6) % 2}
    np.savez(folder / "train.npz", **given)
    np.save(folder / "train.npy", given["features"])
    np.save(folder / "labels.npy", given["labels"])
    save_file({name: torch.from_numpy(array) for name, array in given.items()}, folder / "train.safetensors")
    pd.DataFrame({"features": list(given["features"]), "labels": given["labels"]}).to_parquet(folder / "train.parquet")
    (folder / "names.txt").write_text("cat\ndog\n")
    number = iter(range(100_000))

    def imported(labels=False):
        def read(p, **more):
            out = folder / f"out{next(number)}"
            train_labels = folder / "labels.npy" if labels else None
            return import_features(
                name="x", train=p, test=folder / "train.npz", train_labels=train_labels, out=out, dtype="float32", **more
            ).key

        return read

    def named(p):
        return imported()(folder / "train.npz", class_names=p)

    def labelled(p):
        return import_features(
            name="x", train=folder / "train.npy", train_labels=p, test=folder / "train.npz", out=folder / f"out{next(number)}"
        ).key

    return {
        "npz": Kind(folder / "train.npz", imported(), False, [damaged, odd_arrays, odd_arrays]),
        "npy": Kind(folder / "train.npy", imported(labels=True)),
        "labels": Kind(folder / "labels.npy", labelled),
        "safetensors": Kind(folder / "train.safetensors", imported(), False, [damaged, odd_tensors]),
        "parquet": Kind(folder / "train.parquet", imported()),
        "class names": Kind(folder / "names.txt", named),
    }


def _images(home):
    folder = home / "images"
    folder.mkdir()
    names = [f"{k}.png" for k in range(8)]
    for k, name in enumerate(names):
        (folder / name).write_bytes(png(k))
    rows = pd.DataFrame({"path": names, "label": ["cat", "dog"] * 4, "split": ["train"] * 4 + ["val"] * 2 + ["test"] * 2})
    rows.to_csv(folder / "table.csv", index=False)
    pictures = pd.DataFrame({"image": [png(k) for k in range(8)], "label": [0, 1] * 4, "split": rows["split"]})
    pictures.to_parquet(folder / "table.parquet")
    (folder / "list.txt").write_text("".join(f"{name} {k % 2}\n" for k, name in enumerate(names)))
    inat = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
        "annotations": [{"image_id": k, "category_id": k % 2} for k in range(8)],
        "categories": [{"id": k, "name": f"class {k}"} for k in range(2)],
    }
    (folder / "inat.json").write_text(json.dumps(inat))

    def table(p):
        splits, names, origin = read_table(p)
        for images in splits.values():
            images.image(0)
        return names, origin

    formats = {}
    for suffix in ("jpg", "gif", "tif", "webp", "bmp", "png"):
        Image.open(folder / "0.png").save(folder / f"picture.{suffix}")
        formats[f"image, {suffix}"] = Kind(folder / f"picture.{suffix}", lambda p: decode(p).size)
    return formats | {
        "table": Kind(folder / "table.csv", table),
        "table, parquet": Kind(folder / "table.parquet", table),
        "small images, parquet": Kind(folder / "table.parquet", lambda p: open_table(p).decode().shape),
        "list": Kind(folder / "list.txt", lambda p: read_list(p, folder, 2).paths),
        "iNaturalist": Kind(folder / "inat.json", lambda p: read_inat(p, folder, 2)[0].paths, False, [damaged, odd_json, odd_json]),
    }


def _texts(home):
    suite = {"strategies": ["los", {"name": "crt", "lr": 0.1}], "caches": [{"cache": "small"}], "seeds": [0, 1], "description": "x"}
    config = {"strategy": {"name": "los", "epsilon": 0.5}, "cache": "small", "seeds": [0, 1], "results": str(home / "r")}
    key_map = {"title": "x", "encoder": ["resnet32"], "keys": [["a", "b"]], "heads": [{"weight": "w", "bias": "b"}], "ignore": ["z"]}
    for name, document in (("suite.yaml", suite), ("config.yaml", config), ("map.yaml", key_map)):
        (home / name).write_text(yaml.safe_dump(document))
    plan = home / "stage1" / "plan.json"
    _store_plan(plan.parent, {"backbone": "resnet20", "seed": 0})

    def planned(p):
        suite = read_suite(p)
        return len(suite_plan(suite, open_cache(Path(home_of_caches()) / "small"), home / "tuned")[0])

    return {
        "suite": Kind(home / "suite.yaml", planned, False, [damaged, odd_yaml, odd_yaml]),
        "configuration": Kind(home / "config.yaml", lambda p: read_request("run", ["--config", str(p)]), False, [damaged, odd_yaml, odd_yaml]),
        "key map": Kind(home / "map.yaml", lambda p: read_key_map(str(p)), False, [damaged, odd_yaml, odd_yaml]),
        "plan of stage 1": Kind(plan, lambda p: _store_plan(p.parent, {"backbone": "resnet20", "seed": 0}), False, [damaged, odd_json]),
    }  # fmt: skip


def home_of_caches():
    from lt_bench.features.locate import home

    return home() / "caches"


def _models(home):
    torch.manual_seed(0)
    head = torch.nn.Linear(4, 2)
    torch.save({"state_dict": head.state_dict()}, home / "weights.pt")
    torch.save(head.state_dict(), home / "legacy.pt", _use_new_zipfile_serialization=False)
    sealed, export, checkpoint = home / "weights.safetensors", home / "export", home / "last.ckpt"
    save_weights(head, sealed)
    (home / "staged").mkdir()
    save_file({f"head.{name}": tensor for name, tensor in head.state_dict().items()}, home / "staged" / TENSORS)
    description = {
        "format": FORMAT,
        "class_names": ["a", "b"],
        "input": "features",
        "dim": 4,
        "transform": None,
        "head": {"kind": "linear"},
    }
    publish(export, home / "staged", description)
    torch.save({"state_dict": head.state_dict(), "epoch": 3}, checkpoint)
    seal_archive(checkpoint)

    def predicted(p):
        return load_classifier(p.parent)(torch.ones(1, 4)).tolist()

    def state(p):
        return {name: tensor.tolist() for name, tensor in sorted(read_state(p).items())}

    def gone_on(p):
        with resumed(p) as start:
            return torch.load(start, weights_only=True)

    return {
        "weights of the suite": Kind(sealed, state, True),
        "export": Kind(export / DESCRIPTION, predicted, True, [damaged, odd_json, odd_json]),
        "tensors of an export": Kind(export / TENSORS, predicted, True),
        "checkpoint": Kind(checkpoint, gone_on, True),
        "weights": Kind(home / "weights.pt", lambda p: sorted(read_state(p))),
        "weights, legacy": Kind(home / "legacy.pt", lambda p: sorted(read_state(p))),
    }


def _drawn(kind, intact, position, folder):
    draw = random.Random(f"{kind.path.name} {position}")
    draw.folder = folder
    return kind.mutate[position % len(kind.mutate)](intact, draw)


NAMES = [
    "statement", "verified", "record", "records of a board", "predictions", "manifest", "part of a cache", "tuning", "npz", "npy", "labels", "safetensors", "parquet", "class names",
    "image, jpg", "image, gif", "image, tif", "image, webp", "image, bmp", "image, png", "table", "table, parquet", "small images, parquet", "list", "iNaturalist", "suite",
    "configuration", "key map", "plan of stage 1", "weights", "weights, legacy", "weights of the suite", "export", "tensors of an export", "checkpoint",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_one_line_or_means_the_same(name, kinds, tmp_path, monkeypatch):
    assert set(kinds) == set(NAMES)
    assert len(NAMES) * CASES > 1000
    kind, faults = kinds[name], []
    intact = kind.path.read_bytes()
    monkeypatch.chdir(tmp_path)
    meant = repr(kind.read(kind.path))
    try:
        for position in range(CASES):
            what, content = _drawn(kind, intact, position, tmp_path)
            kind.path.write_bytes(content)
            try:
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    read = repr(kind.read(kind.path))
                if kind.sealed and read != meant:
                    faults.append(f"{position}, {what}: another value")
            except (UserError, BrokenImage) as error:
                if "\n" in printable(str(error)) or not str(error):
                    faults.append(f"{position}, {what}: not one line: {str(error)[:300]!r}")
            except Exception as error:  # noqa: BLE001 - this is what is looked for
                faults.append(f"{position}, {what}: {type(error).__name__}: {str(error)[:200]!r}")
    finally:
        kind.path.write_bytes(intact)
    assert not faults, "\n".join(faults)
