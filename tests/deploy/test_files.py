"""Files of an export: damage is one line, the user's own files stay, a kill leaves an export that works, no program runs unasked."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.bench.contract.subject import problem
from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.inference_heads import head_parts
from lt_bench.core.seals import sealed
from lt_bench.deploy import files
from lt_bench.deploy.classifier import load_classifier
from lt_bench.deploy.files import DESCRIPTION, FORMAT, HEAD_PROGRAM, ONNX, PROGRAM, TENSORS, faults_of, publish, require_export_place
from lt_bench.strategies.registry import find, strategy_names

FEATURES = torch.linspace(-1, 1, 20).reshape(5, 4)


def described(kind="linear"):
    return {"format": FORMAT, "class_names": ["a", "b", "c"], "input": "features", "dim": 4, "transform": None, "head": {"kind": kind}}


def staged(folder, seed=0, program=b"whole", head=None, onnx=None):
    """A folder with the files of an export."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    save_file({"head.weight": torch.randn(3, 4, generator=generator), "head.bias": torch.randn(3, generator=generator)}, folder / TENSORS)
    for name, content in ((PROGRAM, program), (HEAD_PROGRAM, head), (ONNX, onnx)):
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def logits(directory):
    with torch.inference_mode():
        return load_classifier(directory)(FEATURES)


@pytest.fixture
def exported(tmp_path):
    publish(tmp_path / "out", staged(tmp_path / "new"), described())
    return tmp_path / "out"


def test_flipped_bytes_never_give_another_prediction(exported, tmp_path, capsys):
    before, generator = logits(exported), np.random.default_rng(0)
    contents = {path: path.read_bytes() for path in sorted(exported.iterdir())}
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    for trial in range(60):
        path = list(contents)[trial % len(contents)]
        changed = bytearray(contents[path])
        position = int(generator.integers(len(changed)))
        changed[position] ^= int(generator.integers(1, 256))
        path.write_bytes(changed)
        try:
            after = logits(exported)
        except UserError:
            after = None
        if after is not None:
            assert torch.equal(after, before)
        else:
            code = main(["predict", str(exported), str(tmp_path / "x.npz"), "--out", str(tmp_path / "p.csv"), "--accelerator", "cpu"])
            assert code == 2
            assert capsys.readouterr().err.count("\n") == 1
            assert not (tmp_path / "p.csv").exists()
        if path.name != DESCRIPTION or json.loads(contents[path]) != _parsed(changed):
            assert len(faults_of(exported)) == 1
        path.write_bytes(contents[path])
    assert faults_of(exported) == []


def _parsed(content):
    try:
        return json.loads(bytes(content))
    except (ValueError, RecursionError):
        return None


def test_every_byte_of_the_tensors_is_under_the_seal(exported):
    content = (exported / TENSORS).read_bytes()
    for position in range(0, len(content), 7):
        (exported / TENSORS).write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(UserError, match="its bytes are not what was written"):
            load_classifier(exported)


def test_a_later_export_replaces_what_an_earlier_one_wrote_and_nothing_else(exported, tmp_path):
    (exported / "notes.md").write_text("mine")
    (exported / "head.txt").write_text("mine")
    (exported / "plots").mkdir()
    (exported / "plots" / "classifier.onnx").write_text("mine")
    for seed, onnx in ((1, b"onnx"), (2, None), (3, None), (3, None)):
        publish(
            exported, staged(tmp_path / f"new{seed}{onnx}{len(list(tmp_path.iterdir()))}", seed, b"whole %d" % seed, onnx=onnx), described()
        )
        expected = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(load_classifier(exported).network.weight, expected)
        assert (exported / PROGRAM).read_bytes() == b"whole %d" % seed
        assert faults_of(exported) == []
        assert (exported / ONNX).exists() == (onnx is not None)
        mine = {path.name for path in exported.iterdir()} & {"notes.md", "head.txt", "plots"}
        assert len(mine) == 3
        assert (exported / "plots" / "classifier.onnx").read_text() == "mine"
        assert len([path for path in exported.iterdir() if path.suffix == ".safetensors"]) == 1


def test_a_folder_of_other_things_is_refused_and_an_empty_one_is_not(tmp_path):
    for name in ("thesis.tex", TENSORS, PROGRAM, DESCRIPTION):
        other = tmp_path / f"with {name}"
        other.mkdir()
        (other / name).write_text("mine")
        with pytest.raises(UserError, match=r"with --out$"):
            require_export_place(other, (PROGRAM,))
        with pytest.raises(UserError, match=r"with --out$"):
            publish(other, staged(tmp_path / f"new {name}"), described())
        assert [path.name for path in other.iterdir()] == [name]
        assert (other / name).read_text() == "mine"
    (tmp_path / "with a" / "folder").mkdir(parents=True)
    with pytest.raises(UserError, match=r"with a: holds other things and no export; name a new place or an empty folder with --out$"):
        require_export_place(tmp_path / "with a", (PROGRAM,))
    (tmp_path / "empty").mkdir()
    publish(tmp_path / "empty", staged(tmp_path / "new"), described())
    assert logits(tmp_path / "empty").shape == (5, 3)


def test_a_place_that_cannot_be_written_is_refused(tmp_path, close):
    (tmp_path / "closed").mkdir()
    for place in (close(tmp_path / "closed", 0o555), tmp_path / "closed" / "new"):
        with pytest.raises(UserError, match=r"an export cannot be written there \(Permission denied\); choose another place with --out$"):
            require_export_place(place, (PROGRAM,))


def test_a_list_of_files_that_reaches_outside_is_refused(exported, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    description = json.loads((exported / DESCRIPTION).read_text())
    for name in ("../thesis.tex", str(tmp_path / "thesis.tex"), "notes.md", "", None, 3):
        description["files"][ONNX] = {"name": name, "sha256": "0" * 64}
        (exported / DESCRIPTION).write_text(json.dumps(sealed(description)))
        with pytest.raises(UserError, match="damaged"):
            publish(exported, staged(tmp_path / f"new {len(list(tmp_path.iterdir()))}"), described())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("fails_at", range(9))
def test_an_export_that_is_broken_off_leaves_the_old_or_the_new_one(exported, tmp_path, monkeypatch, fails_at):
    """Every call that changes a directory may be the last."""
    calls, real = [], os.replace
    before = logits(exported)

    def dies(*arguments, real=real):
        calls.append(arguments)
        if len(calls) > fails_at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(os, "replace", dies)
    real_unlink = os.unlink
    monkeypatch.setattr(os, "unlink", lambda *arguments, **options: dies(*arguments, real=real_unlink))
    new = staged(tmp_path / "second", 1, b"whole, later", onnx=b"onnx")
    try:
        publish(exported, new, described())
        done = True
    except KeyboardInterrupt:
        done = False
    monkeypatch.undo()
    after = logits(exported)
    expected = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    is_new = torch.equal(load_classifier(exported).network.weight, expected)
    assert is_new or torch.equal(after, before)
    assert is_new or not done
    ahead = {PROGRAM} if not is_new and (exported / PROGRAM).read_bytes() == b"whole, later" else set()
    assert {fault.partition(":")[0] for fault in faults_of(exported)} == {str(exported / name) for name in ahead}
    publish(exported, staged(tmp_path / "third", 1, b"whole, later", onnx=b"another"), described())
    assert torch.equal(load_classifier(exported).network.weight, expected)
    assert faults_of(exported) == []
    listed = {one["name"] for one in files.read_description(exported)["files"].values()}
    assert {path.name for path in exported.iterdir() if path.suffix != ".partial"} == listed | {DESCRIPTION}  # those of this process stay


def test_a_first_export_that_was_killed_is_gone_on_with_and_no_other_file_goes(tmp_path, monkeypatch):
    """Killed between the last file and the description, among files that the user put there since."""
    place = tmp_path / "mine"
    place.mkdir()

    def dies(path, text):
        if path.name == DESCRIPTION:
            raise KeyboardInterrupt
        return write_text(path, text)

    monkeypatch.setattr(files, "write_text", dies)
    with pytest.raises(KeyboardInterrupt):
        publish(place, staged(tmp_path / "first", onnx=b"onnx"), described())
    monkeypatch.undo()
    (place / "notes.md").write_text("mine")
    (place / PROGRAM).write_text("mine, put there since")
    with pytest.raises(UserError, match=f"{PROGRAM}: not of an earlier export"):
        publish(place, staged(tmp_path / "second", onnx=b"onnx"), described())
    assert (place / PROGRAM).read_text() == "mine, put there since"
    (place / PROGRAM).unlink()
    publish(place, staged(tmp_path / "third"), described())
    assert faults_of(place) == []
    assert {path.name for path in place.iterdir()} - {"notes.md", DESCRIPTION, PROGRAM} == {
        one["name"] for what, one in files.read_description(place)["files"].items() if what == TENSORS
    }


def test_a_whole_program_that_is_ahead_of_its_description_is_named(exported, tmp_path, monkeypatch):
    """Killed between the last file and the description."""
    before = logits(exported)

    def dies(path, text):
        if path.name == DESCRIPTION:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_text", dies)
    with pytest.raises(KeyboardInterrupt):
        publish(exported, staged(tmp_path / "second", 1, b"whole, later"), described())
    monkeypatch.undo()
    assert torch.equal(logits(exported), before)
    (fault,) = faults_of(exported)
    assert fault == f"{exported / PROGRAM}: a damaged export (its bytes are not what was written); export it again"


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


def test_a_program_is_not_loaded_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BOMB", str(tmp_path / "ran"))
    bomb = pickle.dumps(Bomb())
    publish(tmp_path / "out", staged(tmp_path / "new", head=bomb, program=bomb), described("program"))
    monkeypatch.setattr(torch.export, "load", lambda path: pickle.loads(path.read_bytes()))
    with pytest.raises(UserError, match=r"its head is a program.*trust_program=True") as error:
        load_classifier(tmp_path / "out")
    assert "\n" not in str(error.value)
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    command = ["predict", str(tmp_path / "out"), str(tmp_path / "x.npz"), "--out", str(tmp_path / "p.csv"), "--accelerator", "cpu"]
    assert main(command) == 2
    assert "--trust-program" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    publish(tmp_path / "linear", staged(tmp_path / "new2", head=bomb, program=bomb), described())
    assert load_classifier(tmp_path / "linear", trust_program=True)(FEATURES).shape == (5, 3)
    assert not (tmp_path / "ran").exists()
    assert main([*command, "--trust-program"]) == 2  # it ran, and gave no module
    assert (tmp_path / "ran").exists()
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ["a", "b"]},
        {"class_names": None},
        {"head": None},
        {"head": {"kind": "unknown"}},
        {"input": "images"},
        {"input": "images", "transform": {"words": 3, "size": None}},
        {"files": {}},
        {"files": None},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_one_line(exported, changes):
    content = json.loads((exported / DESCRIPTION).read_text()) | changes
    (exported / DESCRIPTION).write_text(json.dumps(sealed(content)))
    with pytest.raises(UserError, match="damaged") as error:
        load_classifier(exported)
    assert "\n" not in str(error.value)


def test_what_is_checked_needs_no_torch():
    code = "import sys, lt_bench.deploy.files; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "False"
    assert files.READ == (TENSORS, HEAD_PROGRAM)


@pytest.mark.parametrize("name", strategy_names())
def test_no_strategy_of_the_suite_needs_a_program(name):
    on = problem()
    strategy = find(name).load()(on.facts)
    strategy.held_out = on.train
    assert head_parts(strategy.inference_head()) is not None
