"""Rows over boards, with boards and classes as samples."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats.effects import random_effects
from lt_bench.leaderboard.stats.over_boards import OverBoards
from lt_bench.leaderboard.stats.seed_noise import shared_noise


def over(worth, splits=None, lower=None):
    """Of what R rows are worth (R, B, K), every class the same."""
    _, B, K = worth.shape
    return OverBoards([worth[:, b] for b in range(B)], [np.full(K, 1 / K)] * B, splits or [0] * B, lower or [False] * B)


def simulate(rng, boards, classes, rows=6, of_board=0.01, of_class=0.05, rest=0.05, skills=0.0):
    """Accuracies of rows, whose differences vary with the board, the class and both."""
    apart = of_board * rng.standard_normal((rows, boards, 1)) + of_class * rng.standard_normal((rows, 1, classes))
    return 0.5 + np.reshape(skills, (-1, 1, 1)) + apart + rest * rng.standard_normal((rows, boards, classes))


def variances(worth, one, other):
    """Of the mean difference of two rows: over boards, over classes, and chance."""
    apart = worth[one] - worth[other]
    B, K = apart.shape
    rest = apart - apart.mean(1, keepdims=True) - apart.mean(0) + apart.mean()
    return np.var(apart.mean(1), ddof=1) / B, np.var(apart.mean(0), ddof=1) / K, (rest**2).sum() / ((B - 1) * (K - 1)) / (B * K)


def test_a_pair_on_one_split_by_hand():
    """Its variance over boards is drawn toward that of all pairs where it is smaller, and its own where it is larger."""
    worth = simulate(np.random.default_rng(0), 4, 12)
    found, pairs = over(worth).tests, list(itertools.combinations(range(6), 2))
    own = {pair: variances(worth, *pair) for pair in pairs}
    means = worth.mean(2) - worth.mean((0, 2))
    usual, more = shared_noise(list(means * np.sqrt(6 / 5)))
    assert 2 * usual / 4 == pytest.approx(np.mean([boards for boards, _, _ in own.values()]))
    larger = 0
    for pair, (boards, classes, chance) in own.items():
        drawn = (3 * boards + more * usual / 2) / (3 + more)
        larger += boards > drawn
        assert found.error[pair] ** 2 == pytest.approx(max(max(boards, drawn) + classes - chance, max(boards, drawn), classes))
        assert found.difference[pair] == pytest.approx((worth[pair[0]] - worth[pair[1]]).mean())
        if boards > drawn and boards + classes - chance > max(boards, classes):
            *_, both = random_effects(worth[pair[0]] - worth[pair[1]])
            assert both / found.error[pair] >= stats.t.ppf(0.975, found.degrees[pair])
    assert 0 < larger < len(pairs)


def test_boards_of_their_own_splits_are_tested_over_boards_alone():
    worth = simulate(np.random.default_rng(1), 5, 12)
    found = over(worth, splits=[0, 1, 2, 3, 4]).tests
    widest = max(itertools.combinations(range(6), 2), key=lambda pair: variances(worth, *pair)[0])
    assert found.error[widest] ** 2 == pytest.approx(variances(worth, *widest)[0])
    assert found.difference[widest] / found.error[widest] == pytest.approx(
        stats.ttest_rel(*(worth[row].mean(1) for row in widest)).statistic
    )


@pytest.mark.parametrize(("boards", "splits"), [(3, [0, 0, 0]), (5, [0, 0, 0, 1, 1]), (4, [0, 1, 2, 3])])
@pytest.mark.parametrize("of_board", [[0.0] * 10, [0.02] * 10, [0.0] * 7 + [0.03] * 3])
def test_ties_are_rarely_told_apart_and_differences_are_found(boards, splits, of_board):
    """Any two of ten ties, on boards that share their classes or do not; a row that is 10 points better. Pair by pair it was 18 % on three boards that each move a row by 2 points."""
    rng, of_board = np.random.default_rng([boards, len(set(splits))]), np.reshape(of_board, (-1, 1, 1))
    trials, told, found = 300, 0, 0
    for _ in range(trials):
        parts = [simulate(rng, splits.count(one), 40, rows=10, of_board=of_board) for one in sorted(set(splits))]
        told += over(np.concatenate(parts, axis=1), splits).different.any()
        found += over(np.concatenate([one + np.eye(10)[0, :, None, None] * 0.1 for one in parts], axis=1), splits).different[0, 1:].mean()
    assert told / trials <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / trials)
    assert found / trials > 0.5


def test_mean_places_are_those_of_the_rows_and_do_not_change():
    skills = np.array([0.3, 0.0, 0.0, -0.3])
    worth = simulate(np.random.default_rng(2), 3, 50, rows=4, skills=skills)
    first, again = (over(worth).mean_places for _ in range(2))
    assert np.array_equal(first, again)
    assert first[0].tolist() == [1, 1]
    assert first[3].tolist() == [4, 4]
    assert (first[1, 0] < 3, first[1, 1] > 2) == (True, True)
    turned = over(-worth, lower=[True] * 3)
    assert np.array_equal(turned.mean_places, first)
    assert np.array_equal(turned.different, over(worth).different)


@pytest.mark.parametrize(("boards", "least"), [(3, 0.9), (6, 0.92)])
def test_intervals_of_mean_places_cover(boards, least):
    """The mean place over very many boards and classes, of rows that differ by no more than boards and classes do."""
    rng = np.random.default_rng(3)
    skills = np.linspace(0.02, -0.02, 5)
    many = [simulate(rng, 40, 60, rows=5, of_board=0.02, skills=skills).mean(2) for _ in range(60)]
    truth = np.mean([stats.rankdata(-one, axis=0).mean(1) for one in many], axis=0)
    covered = [
        (places[:, 0] <= truth + 1e-9) & (truth <= places[:, 1] + 1e-9)
        for _ in range(150)
        for places in [over(simulate(rng, boards, 60, rows=5, of_board=0.02, skills=skills)).mean_places]
    ]
    assert least < np.mean(covered) < 0.995


def test_the_table_of_places_and_that_of_differences_say_what_the_test_says(builder):
    records = []
    for board in range(4):
        of_board = replace(builder, cache_key=f"cache-{board}", per_class=200)
        for name, share in (("joint", 0.5), ("los", 0.9), ("crt", 0.52)):
            hits = np.random.default_rng([board, len(name)]).random(2000) < share
            records.append(of_board.make(name, 0, correct=hits))
    board = leaderboard(records, statistics=False)
    (places,), (differences,) = board.across, board.effects
    assert places.over_boards is not None
    told = dict(zip([places.labels[row] for row in places.once], places.over_boards.different, strict=True))
    joint = list(told).index("joint")
    assert {row.label: row.told_apart for row in differences.rows} == {name: bool(told[name][joint]) for name in ("los", "crt")}
    assert (told["los"][joint], told["crt"][joint]) == (True, False)
    assert "| los | 1.00 (1.0 to 1.0) | 4 |" in board.markdown
    assert "Told apart" in differences.head
    assert [line[5] for line in differences.lines] == ["yes", "no"]
    alone = leaderboard([record for record, _ in records], statistics=False)
    assert "| los | 1.00 | 4 |" in alone.markdown
    assert "bootstrap" not in alone.markdown


def test_costs_are_places_over_boards_too(builder, tmp_path):
    """Of a cost objective the worth of a class is what its predictions cost."""
    path = tmp_path / "costs.csv"
    path.write_text("class,cost\n" + "".join(f"{k},{k + 1}\n" for k in range(10)))
    records = [
        replace(builder, cache_key=f"cache-{board}").make(name, 0, skill)
        for board in range(3)
        for name, skill in (("joint", 0.0), ("los", 2.0), ("crt", 0.1))
    ]
    (result,) = leaderboard(records, objective=f"cost={path}", statistics=False).across
    assert result.over_boards is not None
    wanted = [[row.score.mean for row in rows] for rows in result.rows]
    assert -result.over_boards.means == pytest.approx(np.array(wanted))
    assert result.labels[0] == "los"
