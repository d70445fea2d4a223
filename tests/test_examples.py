"""The three kinds of own strategy in examples/ run as a user would run them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OWN = {"margin.MyHead": 25, "learned_margin.LearnedMargin": 25, "loss_memory.LossMemory": 25}


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor docstrings, nor comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    documented = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in documented for number, line in enumerate(lines, 1))


def lt_bench(*words, cwd):
    paths = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "lt_bench", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.mark.parametrize("dotted", OWN)
def test_an_example_is_short(dotted):
    assert code_lines(EXAMPLES / f"{dotted.partition('.')[0]}.py") <= OWN[dotted]


@pytest.mark.parametrize("dotted", OWN)
def test_an_example_keeps_the_contract(dotted, monkeypatch):
    from lt_bench.bench.contract.check import check_strategy
    from lt_bench.strategies.registry import find

    monkeypatch.syspath_prepend(EXAMPLES)
    assert [finding for finding in check_strategy(find(dotted)) if finding.problem is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("dotted", OWN)
def test_an_example_is_checked_and_run_from_its_folder(dotted, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / f"{dotted.partition('.')[0]}.py").write_text((EXAMPLES / f"{dotted.partition('.')[0]}.py").read_text())
    for words in (
        ("check", dotted),
        ("run", "--strategy", dotted, "--dataset", "cifar100_lt", "--strategy.epochs", 2, "--results", tmp_path / "r", "--seeds", "0,1"),
    ):
        done = lt_bench(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "r").rglob(f"{dotted}*.json"))) == 2


def test_samples_with_large_losses_are_drawn_more_often(monkeypatch):
    import torch

    from lt_bench.bench.contract.subject import fit, job, problem
    from lt_bench.engine.heads.plain import epoch_order
    from lt_bench.strategies.registry import find

    monkeypatch.syspath_prepend(EXAMPLES)
    on = problem((40, 30, 20, 10))
    strategy = fit(on, [job(find("loss_memory.LossMemory"), epochs=8)])[0].strategy
    weights, order = strategy.sample_weights(), epoch_order(strategy, on.train, (0,))
    rows = torch.cat([next(iter(_at(order, epoch)))[0] % len(on.train) for epoch in range(200)])
    drawn = torch.bincount(rows, minlength=len(on.train)).double()
    assert torch.corrcoef(torch.stack([weights.double(), drawn]))[0, 1] > 0.7


def _at(order, epoch):
    order.set_epoch(epoch)
    return order
