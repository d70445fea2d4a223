"""Extraction by several processes: what one would write, byte for byte; a dead one's shards are taken up by the next call."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import lightning.fabric  # noqa: F401 - before the processes are forked, so that it is paid once
import pytest
import torch
from extracting import extract_from
from photos import write_photos

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import UserError
from lt_bench.core.launchers import Layout, layout
from lt_bench.data.load import load_images
from lt_bench.features.extraction import extract as module
from lt_bench.features.resumable import Resumable


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", {"a": 14, "b": 7, "c": 4}, size=(40, 34))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(build_backbone("resnet20", 3), path)
    return path


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def arguments(photos, weights, out):
    return {
        "dataset": "folder", "data_dir": photos, "backbone": "resnet20", "weights": weights, "out": out, "views": 2, "augment": "crop+flip",
        "dtype": "float16", "workers": 0, "batch_size": 9,
        "accelerator": "cpu", "progress": False,
    }  # fmt: skip


def worker(rank, port, options, devices, dies, log):
    """One of two processes as Lightning starts them; forked, so that the imports are paid once."""
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    module.SHARD_VIEWS, write = 6, Resumable.write

    def logged(self, split, start, *more):
        write(self, split, start, *more)
        with log.open("a") as file:
            file.write(f"{rank} {split} {start}\n")
        if dies and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    Resumable.write = logged
    try:
        extract_from(**options, devices=devices)
    except UserError as error:
        log.with_suffix(".error").write_text(str(error))
        sys.exit(2)


def two(options, log, dies=False):
    """Exit codes of two processes, and which shards each wrote."""
    port, context = free_port(), multiprocessing.get_context("fork")
    pair = [context.Process(target=worker, args=(rank, port, options, 2, dies, log)) for rank in (0, 1)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
    shards = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [process.exitcode for process in pair], shards


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in (".safetensors", ".csv")}


@pytest.fixture(scope="module")
def alone(photos, weights, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARD_VIEWS", 6)
        extract_from(**arguments(photos, weights, tmp_path_factory.mktemp("alone") / "cache"))
    return tmp_path_factory.getbasetemp() / "alone0" / "cache"


def test_two_processes_write_what_one_writes(photos, weights, alone, tmp_path):
    codes, shards = two(arguments(photos, weights, tmp_path / "cache"), tmp_path / "log")
    assert codes == [0, 0]
    assert len({tuple(rest) for _, *rest in shards}) == len(shards)  # each once
    counts = [sum(rank == who for rank, *_ in shards) for who in "01"]
    assert abs(counts[0] - counts[1]) <= 1
    assert contents(tmp_path / "cache") == contents(alone)
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "log"}


def test_a_dead_process_is_noticed_and_its_shards_taken_up(photos, weights, alone, tmp_path):
    options = arguments(photos, weights, tmp_path / "cache")
    codes, before = two(options, tmp_path / "first", dies=True)
    assert codes == [2, -signal.SIGKILL]
    assert "another process died" in (tmp_path / "first.error").read_text()
    assert not (tmp_path / "cache").exists()
    codes, after = two(options, tmp_path / "second")
    assert codes == [0, 0]
    assert not {tuple(rest) for _, *rest in before} & {tuple(rest) for _, *rest in after}
    assert contents(tmp_path / "cache") == contents(alone)


def test_an_error_of_one_is_said_by_the_first(photos, weights, tmp_path):
    copy = write_photos(tmp_path / "mine", {"a": 14, "b": 7, "c": 4}, size=(40, 34))
    broken = load_images("folder", copy).splits["train"].paths[2]  # in the second shard, the second process's
    (copy / broken).write_bytes(b"not an image")
    codes, _ = two(arguments(copy, weights, tmp_path / "cache"), tmp_path / "log")
    assert codes == [2, 2]
    assert f"{broken}: not an image" in (tmp_path / "log.error").read_text()


def test_nodes_that_share_no_files_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.features.resumable.PATIENCE", 0)
    with pytest.raises(UserError, match="do not see the same files"):
        Resumable(tmp_path / "cache", "x", {}, 1, "float32", 1, lay_out=False)


def test_torchrun_decides_how_many(monkeypatch):
    assert layout(3) == Layout(1, 3)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "8"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert layout(1) == layout(4) == Layout(2, 4)
    with pytest.raises(UserError, match="devices is 2, and torchrun started 4 processes on this node"):
        layout(2)
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(UserError, match="give every node as many"):
        layout(1)


def command(options):
    words = [str(Path(sys.executable).with_name("lt-bench")), "extract"]
    for name, value in options.items():
        words += [] if name == "progress" else [f"--{name}", str(value)]
    return words


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_under_torchrun(photos, weights, tmp_path):
    """A process is a node: two torchrun agents with a process each, found by address and port."""
    options, port = arguments(photos, weights, tmp_path / "cache"), free_port()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    nodes = [
        subprocess.Popen([*torchrun, "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port), *command(options)])
        for rank in (0, 1)
    ]
    assert [node.wait(400) for node in nodes] == [0, 0]
    extract_from(**options | {"out": tmp_path / "alone"})
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_devices_on_the_command_line_and_sigkill(photos, weights, tmp_path):
    options = arguments(photos, weights, tmp_path / "cache")
    extract_from(**options | {"out": tmp_path / "alone"})
    started = subprocess.Popen([sys.executable, *command(options), "--devices", "2"], start_new_session=True)
    while not any(tmp_path.glob(".cache.*.extracting/done/*")):
        assert started.poll() is None
        time.sleep(0.005)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    subprocess.run([sys.executable, *command(options), "--devices", "2"], check=True, timeout=400)
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")
