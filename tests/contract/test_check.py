import pytest

from lt_bench.bench.contract.check import check_one, check_strategy, contract_of
from lt_bench.strategies.registry import describe, find
from tests.contract import broken

BROKEN = {
    "Averages": ("per_sample", "has shape (), expected (6,)"),
    "WrongGradient": ("gradients", "finite differences give"),
    "NaiveSoftmax": ("extreme_logits", "a very sure"),
    "MeansTheBatch": ("batches", "(kernel)"),
    "ZeroOverZero": ("sizes", "with equal class counts, the loss is nan"),
    "SharedAcrossHeads": ("stack", "in a stack and alone"),
    "TakesANumber": ("stack", "is a tensor (H, 1)"),
    "Forgets": ("saved_and_restored", "persistent buffers"),
    "StillTrainable": ("inference_head", "still trainable"),
    "TakesAnotherHome": ("inference_head", "needs an override of its own"),
    "NothingTrainable": ("gradients", 'fitting = "none"'),
    "DeadParameter": ("gradients", "extra is trainable but the loss does not depend on it"),
    "NoShift": ("fast_as_plain", "fitted by the engine and by a plain Trainer differ"),
    "BadGrid": ("grid_and_settings", "'temperature'"),
    "Crashes": ("per_sample", "broken.py"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_told_what_is_wrong(name):
    check_name, words = BROKEN[name]
    assert words in (check_one(describe(getattr(broken, name)), check_name).problem or "")


def test_a_sound_strategy_passes_every_check():
    assert [finding for finding in check_strategy(describe(broken.Sound)) if finding.problem is not None] == []


def test_a_record_names_the_first_problem():
    assert contract_of(describe(broken.Sound), {}) == "passed"
    assert (contract_of(describe(broken.TakesAnotherHome), {}) or "").startswith("inference_head: ")
    assert (contract_of(describe(broken.NaiveSoftmax), {}) or "").startswith("extreme_logits: ")
    assert (contract_of(describe(broken.WrongGradient), {}) or "").startswith("gradients: ")
    assert contract_of(find("los"), {}) is None
