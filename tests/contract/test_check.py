import pytest

from lt_bench.bench.contract.check import CHECKS, check, check_strategy
from lt_bench.bench.options import CheckOptions
from lt_bench.core.errors import UserError
from lt_bench.strategies.registry import describe
from tests.contract import broken

BROKEN = {
    "Averages": ("per_sample", "has shape (), expected (1, 6)"),
    "WrongGradient": ("gradients", "finite differences give"),
    "NaiveSoftmax": ("extreme_logits", "a very sure"),
    "MeansTheBatch": ("batches", "(kernel)"),
    "ZeroOverZero": ("sizes", "with equal class counts, the loss is nan"),
    "SharedAcrossHeads": ("stack_of_three", "in a stack and alone"),
    "Forgets": ("saved_and_restored", "persistent buffers"),
    "StillTrainable": ("inference_head", "still trainable"),
    "TakesAnotherHome": ("inference_head", "needs an override of its own"),
    "NothingTrainable": ("gradients", 'fitting = "none"'),
    "DeadParameter": ("gradients", "extra is trainable but the loss does not depend on it"),
    "HidesInInputs": ("gradient_of_a_step", "inputs depends on what is trained"),
    "NoShift": ("gradient_of_a_step", "the gradient of a step with respect to weight and that of the loss differ"),
    "BadGrid": ("grid_and_settings", "'temperature'"),
    "Crashes": ("per_sample", "broken.py"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_told_what_is_wrong(name):
    findings = {finding.check: finding.problem for finding in check_strategy(describe(getattr(broken, name)))}
    check_name, words = BROKEN[name]
    assert words in (findings[check_name] or "")


def test_a_sound_strategy_passes_every_check(capsys):
    check(CheckOptions(strategy="tests.contract.broken.Sound"))
    assert f"keeps the contract: {len(CHECKS)} checks" in capsys.readouterr().out


def test_a_failure_is_one_line_for_the_user(capsys):
    with pytest.raises(UserError, match="checks failed"):
        check(CheckOptions(strategy="tests.contract.broken.Crashes"))
    assert "no_such_method" in capsys.readouterr().out
