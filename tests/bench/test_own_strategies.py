"""Strategies of the user's own, from a file in the current folder, through the command line (trials B)."""

import pytest

from lt_bench.results.store import Store

FAST = ("--cache", "small", "--strategy.epochs", "2", "--accelerator", "cpu")
HEAD = '''
import torch
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper

class {name}(Strategy):
    """z times a learned scale."""
    name = "{slug}"
    m: float = hyper(1.0, low=0, high=10, help="a number")

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def logits(self, features):
        return super().logits(features) * self.scale

    def transform(self, logits, labels):
        return logits * float(self.m) if self.m > 0.5 else logits
'''
TAKEN_HOME = """
    def inference_head(self):
        head = super().inference_head()
        head.weight.mul_(self.scale.detach()), head.bias.mul_(self.scale.detach())
        return head
"""


def contracts(folder):
    return {record.strategy.contract for record in Store(folder).records()}


def test_a_strategy_that_fails_the_quick_checks_is_recorded_and_marked(cli, small_cache, tmp_path):
    """Trials B2 and B8: a learned scale that the inference head lacks."""
    (tmp_path / "scaled_wrong.py").write_text(HEAD.format(name="Wrong", slug="wrong"))
    done = cli("run", "--strategy", "scaled_wrong.Wrong", *FAST)
    assert done.code == 0
    assert "scaled_wrong.Wrong fails `lt-bench check`" in done.err
    assert "inference_head" in done.err
    assert "(fails lt-bench check)" in done.out
    (said,) = contracts(tmp_path / "results")
    assert said.startswith("inference_head: ")
    assert "(fails lt-bench check)" in cli("leaderboard").out


def test_one_that_keeps_the_contract_says_so_in_its_record(cli, small_cache, tmp_path):
    (tmp_path / "scaled_right.py").write_text(HEAD.format(name="Right", slug="right") + TAKEN_HOME)
    done = cli("run", "--strategy", "scaled_right.Right", *FAST)
    assert (done.code, done.err) == (0, "")
    assert contracts(tmp_path / "results") == {"passed"}
    assert "fails" not in done.out


def test_one_of_the_suites_needs_no_check(cli, small_cache, tmp_path):
    assert cli("run", "--strategy", "los", *FAST).code == 0
    assert contracts(tmp_path / "results") == {None}


def test_a_number_is_a_number_in_a_suite_of_several_values(cli, small_cache, tmp_path):
    """Trials B5: float() and `if` of a hyper-parameter, with two values side by side."""
    (tmp_path / "own_numbers.py").write_text(HEAD.format(name="Numbers", slug="numbers") + TAKEN_HOME)
    for value in ("0.25", "2.0"):
        assert cli("run", "--strategy", "own_numbers.Numbers", *FAST, "--strategy.m", value, "--seeds", "0,1").code == 0
    assert len(list(Store(tmp_path / "results").records())) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("def transform", ("def transfrom", "did you mean 'transform'")),
        ("self.scale = torch", ("self.target = 1.0; self.scale = torch", "would hide the slot target")),
        ('    name = "typo"', ("", "has no name")),
        ("m: float = hyper", ("kernel: float = hyper", "would hide the slot kernel")),
    ],
)
def test_a_mistake_in_a_class_is_one_line(cli, small_cache, tmp_path, change, words):
    """Trials B3 and B4."""
    source = HEAD.format(name="Typo", slug="typo")
    assert change in source
    module = f"typo_{abs(hash(change))}"
    (tmp_path / f"{module}.py").write_text(source.replace(change, words[0], 1))
    done = cli("run", "--strategy", f"{module}.Typo", *FAST)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert words[1] in done.err
