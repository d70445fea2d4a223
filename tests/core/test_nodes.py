"""Heads fitted on several nodes under torchrun: the head of one process, recorded once, by the first."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import lightning.pytorch  # noqa: F401 - before the processes are forked, so that it is paid once
import numpy as np
import pytest
import torch

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.core.nodes import Layout
from lt_bench.engine.heads.fit import Hardware
from lt_bench.results.store import Store

RUN = ("run", "--strategy", "ce", "--cache", "small", "--strategy.epochs", "2", "--strategy.batch_size", "36", "--seeds", "0,1")
CPU = ("--accelerator", "cpu")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def node(rank, port, folder, words):
    """A process as torchrun starts it on a node of its own."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "x", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    os.chdir(folder)
    sys.exit(main(list(words)))


def compare(folder, alone):
    """Two stores hold the same records, but for the order of floating-point sums."""
    ours, theirs = ({record.id: record for record in Store(where).records()} for where in (folder, alone))
    assert ours.keys() == theirs.keys()
    for name, record in ours.items():
        assert record.environment["devices"] == 2
        assert record.training.steps == theirs[name].training.steps
        for view, metrics in record.metrics.items():
            np.testing.assert_allclose(list(metrics.values()), list(theirs[name].metrics[view].values()), rtol=1e-4, atol=1e-5)


def test_two_nodes_that_share_no_files(cli, small_cache, tmp_path):
    folders, port, context = [tmp_path / "first", tmp_path / "second"], free_port(), multiprocessing.get_context("fork")
    for folder in folders:
        folder.mkdir()
    pair = [context.Process(target=node, args=(rank, port, folder, (*RUN, *CPU))) for rank, folder in enumerate(folders)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(120)
    assert [process.exitcode for process in pair] == [0, 0]
    assert list(folders[1].iterdir()) == []
    assert cli(*RUN, *CPU).code == 0
    compare(folders[0] / "results", tmp_path / "results")


def test_torchrun_decides_how_many(monkeypatch):
    assert Hardware("cpu", 2).layout == Layout(1, 2)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "6"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    assert Hardware("cpu").layout == Layout(2, 3)
    with pytest.raises(UserError, match="torchrun started 3 processes on this node"):
        Hardware("cpu", 2)


@pytest.mark.slow
def test_two_nodes_under_torchrun(cli, small_cache, tmp_path):
    """Two torchrun agents with a process each, on a suite in which one strategy fits nothing."""
    (tmp_path / "suite.yaml").write_text("{caches: [{cache: small}], strategies: [tau_norm, {name: ce, epochs: 2}], seeds: [0, 1]}")
    port, command = free_port(), (str(Path(sys.executable).with_name("lt-bench")), "bench", "suite.yaml", *CPU)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--no-python"]
    agents = [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port), *command, "--results", "two"]
        )
        for rank in (0, 1)
    ]
    assert [agent.wait(250) for agent in agents] == [0, 0]
    assert cli(*command[1:]).code == 0
    compare(tmp_path / "two", tmp_path / "results")
