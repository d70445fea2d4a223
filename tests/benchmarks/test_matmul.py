"""Products of two precisions beside each other, from lines whose differences are known."""

from __future__ import annotations

from benchmarks.matmul import Line, table

ENVIRONMENT = dict.fromkeys(("cpu", "device", "threads", "torch", "commit", "dirty"), "x")


def test_differences_are_of_the_same_seed():
    lines = [Line("los", seed, "highest", 40.0 + seed, 2.0) for seed in range(2)] + [
        Line("los", 0, "medium", 40.5, 1.0),
        Line("los", 1, "medium", 40.0, 1.0),
    ]
    text = table(lines, ENVIRONMENT, "highest", "medium")
    assert "| los | 40.50 | 40.25 | -0.250 | 1.00 | 4.0 | 2.0 |" in text
    assert "mean difference -0.250 points, largest of one seed 1.00; seconds of all fits 4 and 2" in text
