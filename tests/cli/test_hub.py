"""Caches and records on the hub, with a folder in its place: what comes from there is put in place only as it was sent."""

import errno
import fnmatch
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from lt_bench.cli.hub import _put_tuning
from lt_bench.core.errors import NotWrittenError
from lt_bench.features.cache import open_cache
from lt_bench.results.store import Store

AT = "hf://me/heads"


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder in which a repository lies."""
    folder = tmp_path / "hub"

    class Api:
        def create_repo(self, repo, *, repo_type, private, exist_ok):
            assert (repo, repo_type, private, exist_ok) == ("me/heads", "dataset", True, True)
            folder.mkdir(exist_ok=True)

        def create_commit(self, repo, operations, *, commit_message, repo_type, revision):
            for one in operations:
                (folder / one.path_in_repo).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one.path_or_fileobj, folder / one.path_in_repo)

        def list_repo_tree(self, repo, *, recursive, repo_type, revision):
            assert (recursive, repo_type) == (True, "dataset")
            for path in folder.rglob("*"):
                if path.is_file():
                    data, lfs = path.read_bytes(), None
                    if path.suffix != ".json":
                        lfs = SimpleNamespace(sha256=hashlib.sha256(data).hexdigest())
                    yield SimpleNamespace(path=path.relative_to(folder).as_posix(), lfs=lfs, blob_id=git_hash(data))

        def snapshot_download(self, repo, *, repo_type, revision, local_dir, allow_patterns):
            for path in folder.rglob("*"):
                if path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    (to := Path(local_dir) / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, to)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return folder


@pytest.fixture
def sent(cli, hub, make_cache, tmp_path, monkeypatch):
    """A cache, its records and a tuning on the hub; here is a home without them."""
    make_cache(tmp_path / "mine")
    fits = ("--cache", str(tmp_path / "mine"), "--accelerator", "cpu")
    assert cli("run", "--strategy", "tau_norm", *fits).code == 0
    assert cli("tune", "--strategy", "tau_norm", *fits, "--seeds", "0").code == 0
    (tmp_path / "mine" / "evil.py").write_text("raise SystemExit\n")
    done = cli("push", str(tmp_path / "mine"), "results", "--to", AT)
    assert done.code == 0, done.err
    assert not list(hub.rglob("*.py"))
    (hub / "evil.py").write_text("raise SystemExit\n")
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "other"))
    return hub


def everything(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


def test_what_is_pushed_is_pulled_elsewhere_and_holds(cli, sent, tmp_path):
    done = cli("pull", AT, "--results", "theirs")
    assert done.code == 0, done.err
    caches = tmp_path / "other" / "caches"
    (cache,) = caches.iterdir()
    assert open_cache(cache).manifest.key == open_cache(tmp_path / "mine").manifest.key
    assert cache.name == f"mine-{open_cache(cache).manifest.key}"
    assert not [name for name in everything(tmp_path / "other") | everything(tmp_path / "theirs") if name.endswith(".py")]
    assert [record.id for record in Store(tmp_path / "theirs").records()] == [record.id for record in Store(tmp_path / "results").records()]
    assert cli("validate", "theirs", str(caches)).code == 0
    assert cli("run", "--strategy", "tau_norm", "--cache", "mine", "--tuned", "--results", "theirs").code == 0
    again = cli("pull", AT, "--results", "theirs")
    assert (again.code, again.out.count("there already")) == (0, 3)
    assert "`lt-bench pull hf://me/heads` brings its caches" in cli("run", "--strategy", "joint", "--cache", AT).err


def test_what_was_changed_on_the_way_is_refused_whole(cli, sent, tmp_path):
    for what in ("caches/*/train.safetensors", "results/*/*.npz", "results/tuning/*.json", "results/embeddings/*.json"):
        (path,) = sent.glob(what)
        data = path.read_bytes()
        path.write_bytes(data.replace(b"tau_norm", b"tau_narm") if path.suffix == ".json" else data[:-100])
        done = cli("pull", AT, "--results", "theirs")
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert "nothing was put in place" in done.err
        assert everything(tmp_path / "other") | everything(tmp_path / "theirs") == set()
        path.write_bytes(data)


def test_other_content_here_is_not_replaced(cli, sent, tmp_path, make_cache, arrays):
    (name,) = (path.name for path in sent.glob("caches/*"))
    make_cache(tmp_path / "other" / "caches" / name, arrays={"test/features/plain": arrays()["test/features/plain"] + 1})
    done = cli("pull", AT, "--results", "theirs")
    assert (done.code, "other content under this name; move it away" in done.err) == (2, True), done.err
    assert everything(tmp_path / "theirs") == set()


def test_a_record_with_other_content_here_leaves_everything_as_it_is(cli, sent, tmp_path):
    """Its cache and its tuning are not put in place either."""
    (record,) = Store(tmp_path / "results").records()
    other = replace(record, backbone=replace(record.backbone, stage1="another"))
    Store(tmp_path / "theirs").write(other, Store(tmp_path / "results").arrays(record.id))
    before = everything(tmp_path / "theirs")
    done = cli("pull", AT, "--results", "theirs")
    assert (done.code, "already recorded with other content (backbone)" in done.err) == (2, True), done.err
    assert everything(tmp_path / "theirs") == before
    assert everything(tmp_path / "other" / "caches") == set()


def test_caches_of_one_folder_name_are_both_sent_and_nothing_there_is_replaced(cli, hub, make_cache, arrays, tmp_path):
    """`pretrain` writes every cache to OUT/cache."""
    for name, shift in (("a", 0), ("b", 1)):
        make_cache(tmp_path / name / "cache", arrays={"test/features/plain": arrays()["test/features/plain"] + shift})
    for name in ("a", "b"):
        line = ("tune", "--strategy", "tau_norm", "--cache", str(tmp_path / "a" / "cache"), "--seeds", "0", "--results", name)
        assert cli(*line, *(() if name == "a" else ("--objective", "micro"))).code == 0
    assert cli("push", "a/cache", "b/cache", "a", "--to", AT).code == 0
    keys = {open_cache(tmp_path / name / "cache").manifest.key for name in ("a", "b")}
    assert {path.name for path in hub.glob("caches/*")} == {f"cache-{key}" for key in keys}
    before = everything(hub)
    done = cli("push", "a/cache", "b/cache", "a", "--to", AT)
    assert (done.code, "0 of them new" in done.out) == (0, True), done.err
    for line, message in (
        (("a", "b"), "would both be results/tuning/tau_norm-"),
        (("b",), "is there with other content than b/tuning/tau_norm-"),
    ):
        done = cli("push", *line, "--to", AT)
        assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1), done.err
    (tuning,) = hub.glob("results/tuning/*.json")
    assert (everything(hub), tuning.read_bytes()) == (before, next(tmp_path.glob("a/tuning/*.json")).read_bytes())
    shutil.copytree(tmp_path / "b" / "tuning", hub / "more" / "tuning")
    done = cli("pull", AT, "--results", "theirs")
    assert (done.code, "two tunings of this name" in done.err) == (2, True), done.err
    assert everything(tmp_path / "theirs") == set()


def test_what_does_not_hold_is_not_sent(cli, hub, make_cache, tmp_path):
    manifest = make_cache(tmp_path / "mine") / "manifest.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"origin": "elsewhere", "key": "0" * 16}))
    for line in (
        ("push", "mine", "--to", AT),
        ("push", str(tmp_path / "mine"), "--to", AT),
        ("push", "--to", AT),
        ("push", "mine", "--to", "me/heads"),
    ):
        done = cli(*line)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert everything(hub) == set()


def test_a_full_disk_is_not_the_hubs_fault(cli, hub, tmp_path, monkeypatch):
    def full(self, repo, **_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.HfApi, "snapshot_download", full)
    done = cli("pull", AT)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "cannot be read or written here (No space left on device)" in done.err


def test_a_source_that_cannot_be_read_is_not_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    """The system names no file where the disk fails during a read."""

    def failing(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        _put_tuning(tmp_path / "los-1.json", tmp_path / "results")
    assert not isinstance(caught.value, NotWrittenError)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_it_is_one_line(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "other"))
    done = cli("pull", AT)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith("lt-bench: hf://me/heads: the hub does not do it (")
    assert everything(tmp_path / "other") == set()
