"""Differences over boards with backbones and classes as samples, and intervals over classes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats.effects import random_effects
from lt_bench.leaderboard.stats.shares import over_classes
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.leaderboard.tables.terminal import differences_table


def test_over_one_kind_of_unit_it_is_the_t_interval():
    differences = np.random.default_rng(0).normal(1, 1, (4, 9))
    mean, boards, classes, both = random_effects(differences)
    for values, half in ((differences.mean(1), boards), (differences.mean(0), classes)):
        wanted = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (mean - half, mean + half) == pytest.approx(wanted)
    assert both >= max(boards, classes) * 0.9
    assert random_effects(differences[:1])[1] == random_effects(differences[:1])[3] == np.inf


@pytest.mark.parametrize(("of_board", "of_class"), [(0.0, 1.0), (0.7, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_the_interval_over_both_covers(of_board, of_class):
    """Over new boards and new classes; an interval over classes alone misses where boards differ."""
    rng = np.random.default_rng(1)
    trials, covered, by_classes = 1000, 0, 0
    for _ in range(trials):
        effect = of_board * rng.standard_normal((4, 1)) + of_class * rng.standard_normal((1, 30)) + 2 * rng.standard_normal((4, 30))
        mean, _, classes, both = random_effects(effect)
        covered, by_classes = covered + (abs(mean) < both), by_classes + (abs(mean) < classes)
    assert covered / trials > 0.94
    if of_board == 1.0:
        assert by_classes / trials < 0.9


def test_over_classes_by_hand():
    accuracy = np.array([[0.2, 0.4, 0.9, 0.5]])
    weights = np.array([2.0, 2.0, 2.0, 0.0])
    wanted = stats.t.interval(0.95, 2, accuracy[0, :3].mean(), stats.sem(accuracy[0, :3]))
    assert over_classes(accuracy, weights)[0] == pytest.approx(wanted)
    assert over_classes(accuracy, np.array([1.0, 0, 0, 0])) == [None]


def test_boards_of_one_split_are_compared_with_the_named_row(builder):
    records = []
    for key, gain in (("cache-a", 0.4), ("cache-b", 0.8), ("cache-c", 0.6)):
        of_board = replace(builder, cache_key=key)
        records += [of_board.make(name, seed, skill) for name, skill in (("joint", 0.0), ("los", gain), ("crt", 0.1)) for seed in (0, 1)]
    board = leaderboard(records, against="joint")
    (result,) = board.effects
    by_label = {row.label: row for row in result.rows}
    assert set(by_label) == {"los", "crt"}
    means = {(row.text("strategy"), row.board.cache_key): row.score.mean for one in board.boards for row in one.rows}
    wanted = [100 * (means["los", key] - means["joint", key]) for key in ("cache-a", "cache-b", "cache-c")]
    assert by_label["los"].by_board == pytest.approx(wanted)
    assert by_label["los"].boards == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(wanted))
    assert "## Differences over boards" in board.markdown
    assert f"| los | {np.mean(wanted):+.2f} |" in board.markdown
    frame = leaderboard(records).frame
    assert frame["over_classes"].str.contains(" to ").all()
    with pytest.raises(UserError, match="--against nothing: not on every board of one split; there are crt, joint, los"):
        _ = leaderboard(records, against="nothing").markdown
    with pytest.raises(UserError, match="no two boards share"):
        _ = leaderboard(records[:6], against="joint").markdown
    alone = [record for record in records if record[0].strategy.name == "joint"] + records[2:4]
    with pytest.raises(UserError, match="no two rows are on every board of one split"):
        _ = leaderboard(alone, against="joint").markdown


@pytest.mark.parametrize(("weights", "said"), [(("0123456789", "0123456789", "x"), True), (("x", "y", "z"), False)])
def test_caches_of_one_backbone_are_no_two_backbones(builder, weights, said):
    records = []
    for key, of_cache in zip(("cache-a", "cache-b", "cache-c"), weights, strict=True):
        of_board = replace(builder, cache_key=key, weights=of_cache)
        records += [of_board.make(name, 0, skill) for name, skill in (("joint", 0.0), ("los", 0.4))]
    board = leaderboard(records, against="joint")
    notes = [board.effects[0].note, *(result.note for result in board.across)]
    assert len(notes) == 2
    for note in notes:
        assert bool(re.search(r"cache-a and .*cache-b are caches of one backbone \(weights 01234567\) and count as 2 boards", note)) == said
    assert ("caches of one backbone" in board.markdown) == said


def test_networks_that_were_trained_with_the_method_are_each_their_own(builder):
    records = [
        replace(builder, cache_key=key, mode="end-to-end", weights="fresh resnet32").make(name, 0, skill)
        for key in ("cache-a", "cache-b")
        for name, skill in (("joint", 0.0), ("los", 0.4))
    ]
    assert "caches of one backbone" not in leaderboard(records, against="joint").markdown


def test_a_row_of_the_users_own_is_compared_over_boards(builder):
    """By its label over boards, or by that of a board that has no other setting; and what is left out says why."""
    records = []
    for key, taus in (("cache-a", (0.5,)), ("cache-b", (0.5, 0.7))):
        of_board = replace(builder, cache_key=key)
        records += [of_board.make(name, seed) for name in ("joint", "los") for seed in (0, 1)]
        records += [of_board.make("my.Head", seed, 0.5, kind="user", hyperparameters={"tau": tau}) for tau in taus for seed in (0, 1)]
        records.append(of_board.make("val_probe", 0, 3.0, trains="nothing", family="control"))
    for label in ("my.Head (user)", "my.Head (user) [tau=0.5]"):
        (result,) = leaderboard(records, against=label).effects
        assert result.reference == "my.Head (user) [tau=0.5]"
        assert {row.label for row in result.rows} == {"joint", "los"}
    (usual,) = leaderboard(records).effects
    assert {row.label for row in usual.rows} == {"los", "my.Head (user) [tau=0.5]"}
    for label, why in (("my.Head (user) [tau=0.7]", "missing on "), ("val_probe (control)", "controls are in no comparison")):
        with pytest.raises(UserError, match=f"--against {re.escape(label)}: {why}.*; there are joint, los, my.Head"):
            _ = leaderboard(records, against=label).effects


def test_differences_over_boards_take_the_selection(builder):
    records = [
        replace(builder, cache_key=key).make(name, seed, skill)
        for key in ("cache-a", "cache-b")
        for name, skill in (("joint", 0.0), ("los", 0.5), ("crt", 0.1))
        for seed in (0, 1)
    ]
    whole = leaderboard(records, against="joint")
    selection = Selection(rows=("los", "joint"), names={"los": "LOS", "joint": "Stage 1"}, digits=1)
    some = replace(whole, selection=selection)
    ((line,),) = (result.lines for result in some.shown_effects)
    ((of_los, *_),) = ([line for line in result.lines if line[0] == "los"] for result in whole.shown_effects)
    assert line[0] == "LOS"
    shorter = [text if text in ("yes", "no") else f"{float(text):+.1f}" if text[0] in "+-" else f"{float(text):.1f}" for text in of_los[1:]]
    assert line[1:] == shorter
    assert "minus that of Stage 1" in some.markdown
    (of_crt,) = replace(whole, against="crt", selection=replace(selection, names={"crt:official": "cRT"})).shown_effects
    assert of_crt.reference == "cRT"
    assert "| LOS |" in some.markdown.partition("## Across boards")[2].partition("## Differences")[0]


def test_the_terminal_leaves_out_single_boards_where_it_is_narrow(builder):
    records = [
        replace(builder, cache_key=key).make(name, 0, skill)
        for key in ("cache-a", "cache-b")
        for name, skill in (("joint", 0.0), ("los", 0.5))
    ]
    (result,) = leaderboard(records).effects
    wide, narrow = (differences_table(result, width) for width in (200, 60))
    assert [column.header for column in wide.columns] == result.head
    assert [column.header for column in narrow.columns] == result.head[:6]
    assert all(board in str(narrow.caption) for board in result.boards)
