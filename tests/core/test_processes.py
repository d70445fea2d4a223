"""Sharing and exchange of processes; and heads fitted on several nodes under torchrun: the head of one process, recorded once, by the first."""

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
from lt_bench.core.launchers import Layout, is_first_process
from lt_bench.core.processes import Processes, current
from lt_bench.engine.heads.fit import Hardware
from lt_bench.results.store import Store

RUN = ("run", "--strategy", "ce", "--cache", "small", "--strategy.epochs", "2", "--strategy.batch_size", "36", "--seeds", "0,1")
CPU = ("--accelerator", "cpu")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_are_disjoint_and_together_everything(world):
    shares = [Processes(rank, world) for rank in range(world)]
    entries = torch.arange(14).view(2, 7)
    assert sorted(torch.cat([one.mine(entries, 1).flatten() for one in shares]).tolist()) == list(range(14))
    assert torch.equal(shares[-1].mine(entries, -1), entries[:, world - 1 :: world])
    assert [i for one in shares for i in one.part(7)] == list(range(7))
    assert max(len(one.part(7)) for one in shares) - min(len(one.part(7)) for one in shares) <= 1


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0"}, True),
    ],
)
def test_the_first_process_before_there_is_a_group(variables, first, monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


def exchange(rank, folder):
    """View of one of two processes, with the environment of a first one: the group says which it is."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    processes = current(own_channel=True)
    whole = torch.arange(10.0).view(2, 5)
    own = processes.mine(whole, 1).clone().requires_grad_()
    gathered = processes.gathered(own, 5, 1)
    (gathered * torch.tensor([1.0, 2, 3, 4, 5])).sum().backward()
    seen = {
        "first": is_first_process(), "sum": processes.all_reduce(torch.tensor(rank + 1)).item(), "whole": torch.equal(gathered, whole),
        "gradient": own.grad[0].tolist(), "all": processes.all_do(lambda: rank), "of_first": processes.first_does(lambda: f"by {rank}"),
        "own": processes.each_does(lambda: rank), "copied": processes.broadcast(torch.tensor(rank + 5)).item(),
    }  # fmt: skip
    torch.save(seen, folder / f"{rank}.pt")


def test_two_processes_exchange(tmp_path):
    torch.multiprocessing.start_processes(exchange, (tmp_path,), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    same = {"sum": 3, "whole": True, "all": [0, 1], "of_first": "by 0", "copied": 5}
    assert first == {**same, "first": True, "own": 0, "gradient": [2, 6, 10]}  # of the losses of both processes
    assert second == {**same, "first": False, "own": 1, "gradient": [4, 8]}


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
