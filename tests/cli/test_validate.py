"""``lt-bench validate`` over everything that lt-bench writes: OK, or one line for each thing that is wrong."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.choosing.predictions import CHOICES, write_predictions
from lt_bench.core.seals import seal_archive
from lt_bench.deploy.files import FORMAT, PROGRAM, TENSORS, publish
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.results.store import Store


@pytest.fixture(scope="module")
def everything(tmp_path_factory, builder, make_cache, request):
    """A folder with one of each kind, and beside them what is nobody's business."""
    root = tmp_path_factory.mktemp("everything")
    store = Store(root / "results")
    for strategy in ("los", "ce"):
        store.write(*builder.make(strategy, 0, 1.0))
    _ = leaderboard(store.directory, statistics_dir=root / "home" / "statistics").boards
    tuned = next((request.config.rootpath / "benchmarks" / "tuned").glob("los-*.json"))
    (root / "results" / "tuning").mkdir()
    shutil.copy(tuned, root / "results" / "tuning")
    write_predictions(
        root / "results" / CHOICES / f"crt-{16 * '0'}.json", {"strategy": "los"}, np.arange(12, dtype=np.int32).reshape(1, 1, 3, 4)
    )
    make_cache(root / "caches" / "small")
    staging = root / ".staging"
    staging.mkdir()
    save_file({"head.weight": torch.eye(3), "head.bias": torch.zeros(3)}, staging / TENSORS)
    (staging / PROGRAM).write_bytes(b"a program")
    publish(root / "export", staging, {"format": FORMAT, "class_names": list("abc"), "input": "features", "head": {"kind": "linear"}})
    stage1 = root / "stage1"
    save_weights(build_backbone("resnet20", 3), stage1 / "weights.safetensors")
    (stage1 / "plan.json").write_text('{"seed": 0}')
    (stage1 / "log.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n3,0.3\n")
    torch.save({"state_dict": {}}, stage1 / "last.ckpt")
    seal_archive(stage1 / "last.ckpt")
    (root / "notes.json").write_text("{")
    (root / "picture.png").write_bytes(b"")
    return root


def test_all_hold(everything, cli):
    done = cli("validate", str(everything))
    assert done.code == 0
    assert (
        done.out
        == f"{everything}: OK, 1 cache, 1 checkpoint, 1 export, 1 kept predictions, 1 kept statistics, 2 records, 1 stage 1, 1 tuning, 1 weights\n"
    )
    each = cli("validate", "--json", *(str(everything / name) for name in ("results", "caches", "export", "stage1")))
    assert each.code == 0
    assert [(item["kind"], item["faults"]) for item in json.loads(each.out)] == [
        ("kept predictions", []), ("record", []), ("record", []), ("tuning", []), ("cache", []), ("export", []), ("stage 1", []), ("checkpoint", []), ("weights", [])
    ]  # fmt: skip
    (record, *_), (arrays, *_) = ([*everything.glob(f"results/*/los-*.{end}")] for end in ("json", "npz"))
    for path in (record, arrays, everything / "stage1" / "last.ckpt", everything / "export" / "classifier.json"):
        assert cli("validate", str(path)).code == 0


def test_a_shipped_tuning(cli, request):
    tuned = request.config.rootpath / "benchmarks" / "tuned"
    done = cli("validate", str(tuned))
    assert done.code == 0
    assert "tunings" in done.out


DAMAGES = ("results/*/los-*.json", "results/*/los-*.npz", "results/tuning/*", "results/choices/*", "home/statistics/*", "caches/small/manifest.json", "caches/small/*.safetensors",
           "export/classifier.json", "export/classifier.safetensors", "export/classifier.pt2", "stage1/last.ckpt", "stage1/weights.safetensors",
           "stage1/plan.json", "stage1/log.csv")  # fmt: skip


@pytest.mark.parametrize("pattern", DAMAGES)
def test_what_does_not_hold_is_named(everything, tmp_path, cli, pattern):
    root = shutil.copytree(everything, tmp_path / "copy")
    path = sorted(root.glob(pattern))[0]
    content = path.read_bytes()
    damages = [
        content[:position] + bytes([content[position] ^ 0x20]) + content[position + 1 :]
        for position in (len(content) // 2, len(content) // 3)
    ]
    if path.name in ("plan.json", "log.csv"):  # these carry no seal: what cannot be read, or is not whole
        damages = [b"\xff" + content[1:], content.replace(b"1,", b"").replace(b"}", b"")]
    if path.name == "log.csv":  # the second of three epochs is missing, or stands twice
        damages += [content.replace(b"2,0.4\n", b""), content.replace(b"2,0.4\n", b"2,0.4\n2,0.4\n")]
    if path.suffix == ".npz":  # a flipped byte of the archive's own fields changes no array
        damages = [content[: len(content) // 2], next(root.glob("results/*/ce-*.npz")).read_bytes()]
    for damaged in damages:
        path.write_bytes(damaged)
        done = cli("validate", str(root))
        assert done.code == 2, (pattern, done)
        assert "1 of 10 do not hold" in done.err
        assert len(done.out.splitlines()) == 1
        assert str(path.parent if pattern.startswith("caches") else path.with_suffix("")) in done.out
        (fault,) = [item for item in json.loads(cli("validate", "--json", str(root)).out) if item["faults"]]
        assert len(fault["faults"]) == 1
    path.write_bytes(content)
    assert cli("validate", str(root)).code == 0


@pytest.mark.parametrize("pattern", ["results/*/los-*.npz", "caches/small/test.safetensors", "export/classifier.pt2"])
def test_what_is_missing_is_named(everything, tmp_path, cli, pattern):
    root = shutil.copytree(everything, tmp_path / "copy")
    next(root.glob(pattern)).unlink()
    done = cli("validate", str(root))
    assert done.code == 2
    assert len(done.out.splitlines()) == 1


def test_what_cannot_be_checked_is_said(everything, tmp_path, cli):
    for arguments, message in (
        ((), "validate needs what to check"),
        ((str(tmp_path / "none"),), "no such file or folder"),
        ((str(everything / "notes.json"),), "1 of 1 do not hold"),
    ):
        done = cli("validate", *arguments)
        assert done.code == 2
        assert message in done.err
    (tmp_path / "empty").mkdir()
    assert "nothing that lt-bench writes and can check" in cli("validate", str(tmp_path / "empty")).out
