from pathlib import Path

from lt_bench.core.commands import results_words, with_results


def test_only_another_place_than_the_usual_one_is_named():
    assert (results_words(Path("results")), results_words("results/")) == ([], [])
    assert with_results("lt-bench leaderboard", Path("my runs")) == "lt-bench leaderboard --results 'my runs'"
    assert with_results("lt-bench leaderboard", "results") == "lt-bench leaderboard"
