"""Intervals over test images of every accuracy of a row, and none over seeds beside them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from lt_bench.data.priors import tail_prior
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.intervals import Estimate
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.objective.objective import MACRO, MICRO, Objective
from lt_bench.leaderboard.over_images import of_accuracy, of_gap, of_share
from lt_bench.leaderboard.stats.ranking import ranked
from lt_bench.leaderboard.stats.shares import exact_interval
from lt_bench.leaderboard.tables.columns import column_value, registered
from lt_bench.leaderboard.tables.selection import Selection

FRAMES = 4
OVER_IMAGES = {"accuracy", "macro_accuracy", "many", "medium", "few", "forward_50", "forward_10", "backward_50", "backward_10", "gap"}
WITHOUT = {"class_bias", "equal_bias", "bias_cost", "worst_class", "harmonic_mean", "loma", "rsd", "nll", "calibration_error"}


@pytest.fixture
def made(builder):
    """Two rows with three seeds that matter much, and one that trains nothing; with figures of class bias."""
    moving = replace(builder, seed_spread=0.5)
    runs = [moving.make(name, seed, skill) for name, skill in (("los", 1.0), ("ce", 0.0)) for seed in range(3)]
    runs += [builder.make("joint", 0, trains="nothing", varies=None, hyperparameters={})]
    for record, _ in runs:
        seed = record.identity.seed
        record.metrics["test"] |= {"class_bias": 0.1 + 0.01 * seed, "accuracy_equal_bias": 0.6 + 0.01 * seed}
    return runs


def rows_of(runs, objective=None):
    return ranked(boards(from_records(runs), objective)[0]).rows


@pytest.mark.parametrize(("objective", "other"), [("macro", "micro"), ("micro", "macro"), ("prior=forward:50", "macro")])
@pytest.mark.parametrize("grouped", [False, True])
def test_an_accuracy_has_the_interval_of_a_board_that_is_ranked_by_it(made, objective, other, grouped):
    groups = {"test_groups": (np.arange(200) // FRAMES).astype(np.int32)} if grouped else {}
    runs = [(record, arrays | groups) for record, arrays in made]
    by_other = {row.label: row for row in rows_of(runs, other)}
    alone = {row.label: row for row in rows_of(made, other)}
    for row in rows_of(runs, objective):
        assert row.statistics is not None
        low, high = row.statistics.interval
        found = of_accuracy(by_other[row.label], row.objective)
        assert found == pytest.approx(
            (low, high), abs=0.1 * (high - low) if grouped else 1e-12
        )  # degrees of freedom of groups are those of all rows
        assert of_accuracy(row, row.objective) == (low, high)
        narrow = of_accuracy(alone[row.label], row.objective)
        assert not grouped or found[1] - found[0] > narrow[1] - narrow[0]


def test_figures_of_test_images_have_intervals_over_them_and_others_have_none(made):
    for row in rows_of(made):
        for column in registered():
            value = column_value(row, column)
            if isinstance(value, Estimate) and column.key in OVER_IMAGES | WITHOUT and not np.isnan(value.mean):
                assert (value.half is not None) == (column.key in OVER_IMAGES), column.key
        columns = {column.key: column for column in registered()}
        assert column_value(row, columns["many"]).low == row.statistics.groups["many"][0]
        tail = Objective("prior", prior=tail_prior(row.split.train_counts, 50, backward=True))
        wanted = of_accuracy(row, tail)
        assert (column_value(row, columns["backward_50"]).low, column_value(row, columns["backward_50"]).high) == wanted
        low, high = of_accuracy(row, MACRO)
        train = row.values("train/macro_accuracy").mean()
        assert of_gap(row) == pytest.approx((train - high, train - low))
        assert of_share(row, "test/accuracy") == pytest.approx(of_accuracy(row, MICRO))
        assert of_share(row, "test/accuracy") == pytest.approx(tuple(map(float, exact_interval(row.values("test/accuracy").mean(), 200))))
    assert of_accuracy(boards(from_records(made))[0].rows[0], MICRO) is None  # without statistics


def test_no_table_mixes_intervals(made):
    show = ("accuracy", "macro_accuracy", "forward_50", "at forward:7", "class_bias", "equal_bias", "bias_cost", "gap")
    board = leaderboard(made, objective="macro", test_priors=["forward:7"], selection=Selection(show=show))
    for text, mark in ((board.markdown, r"\|"), (board.latex, "&")):
        for name in ("los", "ce", "joint"):
            (line,) = [line for line in text.splitlines() if re.match(rf"(\| )?{name} {mark}", line)]
            assert len(re.findall(r"± |\(\d" if mark == r"\|" else r"\{\\tiny", line)) == 5
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(board.csv))}
    for key in ("accuracy", "forward_50", "forward_7", "gap"):
        low, value, high = (float(lines["joint"][key + end]) for end in ("_low", "", "_high"))
        assert low < value < high
        assert lines["joint"][f"{key}_seeds_low"] == ""
    assert "class_bias_low" not in lines["los"]
    assert float(lines["los"]["class_bias_seeds_low"]) < 11 < float(lines["los"]["class_bias_seeds_high"])


def test_a_figure_that_is_not_there_has_no_ends(made):
    """CIFAR's usual tails are of 10 and 50: the columns of 2 and 3 are empty, and so are those of their intervals."""
    (line, *_) = csv.DictReader(io.StringIO(leaderboard(made).csv))
    for key in ("forward_3", "backward_2"):
        assert [line.get(key + end) for end in ("", "_low", "_high")] == ["", "", ""]
    assert all(line[f"forward_50{end}"] for end in ("", "_low", "_high"))


def test_the_interval_covers_accuracy_under_another_prior():
    """Of a head with known accuracies on classes of 5 to 40 images."""
    from lt_bench.leaderboard.stats.shares import accuracy_intervals

    rng = np.random.default_rng(0)
    counts, truth = np.arange(5, 41, 5), np.linspace(0.9, 0.2, 8)
    objective = Objective("prior", prior=2.0 ** -np.arange(8) / (2.0 ** -np.arange(8)).sum())
    found = accuracy_intervals(rng.binomial(counts, truth, (2000, 8)) / counts, counts, objective, np.ones(2000))
    wanted = objective.class_weights(counts) @ truth
    assert 0.93 < np.mean([low <= wanted <= high for low, high in found]) < 0.995
