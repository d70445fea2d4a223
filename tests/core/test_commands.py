import shlex
from pathlib import Path

import numpy as np
import pytest

from lt_bench.core.commands import results_words, text, with_results, word


def test_only_another_place_than_the_usual_one_is_named():
    assert (results_words(Path("results")), results_words("results/")) == ([], [])
    assert with_results("lt-bench leaderboard", Path("my runs")) == "lt-bench leaderboard --results 'my runs'"
    assert with_results("lt-bench leaderboard", "results") == "lt-bench leaderboard"


@pytest.mark.parametrize("value", ["plain", "my photos", "it's", "$HOME", "a;b", "(.)_frame", Path("a b/c")])
def test_a_shell_takes_a_word_as_it_was_meant(value):
    assert shlex.split(f"lt-bench verify {word(value)} --quiet") == ["lt-bench", "verify", str(value), "--quiet"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(100.0, "100"), (33.3333333, "33.3333333"), (1000000.0, "1000000"), (np.float64(0.1), "0.1"), (5, "5"), (1e-7, "1e-07")],
)
def test_a_number_is_said_with_all_its_digits(value, said):
    assert text(value) == word(value) == said
