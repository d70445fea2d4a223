"""The statistics against simulated leaderboards whose truth is known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.objective.objective import MICRO
from lt_bench.leaderboard.stats import statistics as statistics_module
from lt_bench.leaderboard.stats.across import across, missing_seeds
from lt_bench.leaderboard.stats.design import Design
from lt_bench.leaderboard.stats.groups import equal_runs, holm, standings
from lt_bench.leaderboard.stats.paired import compare_all, compared_seeds, covers_seeds
from lt_bench.leaderboard.stats.ranking import ranked, statistics_note
from lt_bench.leaderboard.stats.seed_noise import SeedNoise, pooled_noise, seed_noise, shared_noise
from lt_bench.leaderboard.stats.statistics import board_statistics
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.leaderboard.tables.text import across_table
from lt_bench.results.store import Store


def simulate(rng, skills, seeds, images, shared=1.5, run=0.0):
    """(R, S, N) correctness: image difficulty common to all rows, run noise common to all images of a run."""
    difficulty = shared * rng.standard_normal(images)
    logits = np.array(skills)[:, None, None] + run * rng.standard_normal((len(skills), seeds, 1)) + difficulty
    return rng.random(logits.shape) < 1 / (1 + np.exp(-logits))


@dataclass
class Pair:
    """First minus second row, as `compare_all` has it."""

    difference: float
    error: float
    degrees: float
    p: float


def images(outcomes):
    """The design of micro accuracy: all images weigh the same, in one stratum."""
    N = outcomes.shape[-1]
    return Design.of(MICRO, np.zeros(N, np.int64), 1)


def noise_of(outcomes):
    return seed_noise(outcomes, images(outcomes))


def compared(first, first_seeds, second, second_seeds, expected):
    tests = compare_all([first, second], [first_seeds, second_seeds], expected, images(first))
    return Pair(*(float(getattr(tests, name)[0, 1]) for name in ("difference", "error", "degrees", "p")))


def paired_test(first, second):
    seeds = list(range(len(first))) if len(first) > 1 else None
    return compared(first, seeds, second, seeds, None)


def assert_same(one, other):
    assert list(vars(one).values()) == pytest.approx(list(vars(other).values()))


def by_the_formulas(first, first_seeds, second, second_seeds, expected, shared):
    """One pair, written as the formulas are: row by row."""
    covered = covers_seeds(first_seeds, second_seeds)
    common = compared_seeds(first_seeds, second_seeds) if covered else None
    rows = [
        lines if common is None else lines[:1] if has is None else lines[[has.index(seed) for seed in common]]
        for lines, has in ((first, first_seeds), (second, second_seeds))
    ]
    D = rows[0].mean(0) - rows[1].mean(0)
    N = len(D)
    variance = np.var(D, ddof=1) / N
    scatter, once = variance**2 / (N - 1), []
    for lines, has, compared in ((first, first_seeds, rows[0]), (second, second_seeds, rows[1])):
        if has is None:
            continue
        own = noise_of(lines)
        if own is None:
            if expected is None:
                return Pair(D.mean(), np.inf, 1.0, 1.0)
            own, drawn, degrees = expected, expected.variance, expected.degrees
            once.append(max(drawn, own.residual))
        else:
            degrees = own.degrees + shared[1]
            drawn = (own.degrees * own.variance + shared[1] * shared[0]) / degrees
        S = max(len(compared), len(common or ()))
        variance += max(drawn - own.residual, 0) / S
        scatter += (max(drawn, own.residual) / S) ** 2 / degrees
    if len(once) == 2:
        scatter += 2 * once[0] * once[1] / expected.degrees
    error, degrees = np.sqrt(variance), variance**2 / scatter
    return Pair(D.mean(), error, degrees, 2 * stats.t.sf(abs(D.mean()) / error, degrees))


@pytest.mark.parametrize("known", [True, False])
def test_all_pairs_at_once_are_the_formulas(known):
    rng = np.random.default_rng(11)
    seeds = [[0, 1, 2], [0, 1, 2], None, [1, 2], [4], None, [0], [2, 5, 1, 0], [4], [7, 8]]
    rows = simulate(rng, 0.2 * rng.standard_normal(len(seeds)), 4, 9000, run=0.1)
    outcomes = [lines[: len(has or [0])] for lines, has in zip(rows, seeds, strict=True)]
    expected = pooled_noise([noise for noise in map(noise_of, outcomes) if noise]) if known else None
    tests = compare_all(outcomes, seeds, expected, images(rows))
    shared = shared_noise([one.mean(1) for one, has in zip(outcomes, seeds, strict=True) if has is not None and len(has) > 1])
    assert shared[1] > 0
    for i, j in itertools.permutations(range(len(seeds)), 2):
        wanted = by_the_formulas(outcomes[i], seeds[i], outcomes[j], seeds[j], expected, shared)
        for name in ("difference", "error", "degrees", "p"):
            assert getattr(tests, name)[i, j] == pytest.approx(getattr(wanted, name), rel=1e-8), (i, j, name)


def test_one_seed_is_the_paired_t_test():
    first, second = simulate(np.random.default_rng(0), [0.2, 0.0], 1, 500)
    found = paired_test(first, second)
    wanted = stats.ttest_rel(first[0].astype(float), second[0].astype(float))
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6)
    assert found.difference / found.error == pytest.approx(wanted.statistic, rel=1e-5)


def test_the_seeds_of_a_row_against_a_plain_analysis_of_variance():
    """The variance over images of the difference of means, and for each row what its mean square over seeds has above its residual."""
    rows = simulate(np.random.default_rng(1), [0.3, 0.0], 4, 60, run=2.0)
    S, N = rows[0].shape
    wanted = np.var(rows[0].mean(0) - rows[1].mean(0), ddof=1) / N
    for one in rows.astype(float):
        a, b = one.mean(1, keepdims=True), one.mean(0, keepdims=True)
        ms_seeds, ms_residual = N * np.var(a, ddof=1), np.sum((one - a - b + one.mean()) ** 2) / ((S - 1) * (N - 1))
        assert ms_seeds > ms_residual
        wanted += (ms_seeds - ms_residual) / (S * N)
    assert paired_test(*rows).error ** 2 == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("seeds", "run"), [(1, 0.0), (3, 0.0), (5, 0.0), (5, 0.15)])
def test_true_ties_are_called_different_at_most_as_often_as_stated(seeds, run):
    rng = np.random.default_rng(2)
    trials = 1200
    rejected = np.mean([paired_test(*simulate(rng, [0.0, 0.0], seeds, 400, run=run)).p < 0.05 for _ in range(trials)])
    assert rejected < 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)
    assert rejected > (0.005 if seeds != 3 else 0.0005)  # nor is the test empty; of two rows with three seeds nothing bounds what seeds do


def test_ignoring_the_seeds_would_be_wrong_where_runs_differ():
    rng = np.random.default_rng(3)
    naive = [stats.ttest_rel(*(x.mean(0) for x in simulate(rng, [0.0, 0.0], 5, 400, run=0.4))).pvalue < 0.05 for _ in range(300)]
    assert np.mean(naive) > 0.15  # the reason for paired_test's seed term


def test_a_family_of_ties_is_rarely_split_and_true_differences_are_found():
    rng = np.random.default_rng(4)
    split, found = 0, 0
    for _ in range(150):
        outcomes = simulate(rng, [0.0] * 5 + [1.2], 5, 400)
        pairs = [(i, j) for i in range(6) for j in range(i)]
        p = holm(np.array([paired_test(outcomes[i], outcomes[j]).p for i, j in pairs]))
        split += any(value < 0.05 for value, (i, _) in zip(p, pairs, strict=True) if i < 5)
        found += sum(value < 0.05 for value, (i, _) in zip(p, pairs, strict=True) if i == 5)
    assert split / 150 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 150)
    assert found / 150 > 4.7


def split_families(boards, spreads, seeds, images=1000, differing=0.0, lift=0.0):
    """Of boards whose rows are all ties, the share on which any two are told apart; accuracy of a row moves by its spread (a standard deviation) with the seed.

    With a `lift` of the first row, the share of the others that it is told apart from.
    """
    rows, spread = len(spreads), np.array(spreads)[:, None, None]
    rng = np.random.default_rng([rows, seeds, *(round(one * 1e4) for one in spreads)])
    design, (one, other) = Design.of(MICRO, np.zeros(images, np.int64), 1), np.triu_indices(rows, 1)
    found = []
    for _ in range(boards):
        moves = spread * np.exp(differing * rng.standard_normal((rows, 1, 1))) * rng.standard_normal((rows, seeds, 1))
        moves[0] += lift
        outcomes = list(rng.random((rows, seeds, images)) < rng.beta(0.6, 0.6, images) + moves)  # probabilities beyond 0 and 1 are certain
        expected = pooled_noise([noise for noise in (seed_noise(one, design) for one in outcomes) if noise])
        told = holm(compare_all(outcomes, [list(range(seeds))] * rows, expected, design).p[one, other]) < 0.05
        found.append(told[one == 0].mean() if lift else told.any())
    return float(np.mean(found))


def most_of(boards):
    """The most that a share of 6 % is seen as, of so many boards, at two standard errors."""
    return 0.06 + 2 * np.sqrt(0.06 * 0.94 / boards)


def test_ten_ties_are_rarely_split_where_seeds_matter():
    """Pair by pair, without what the rows have in common, three seeds that move accuracy by a point split 28 % of such boards."""
    assert split_families(60, [0.01] * 10, 3, images=400) <= most_of(60)


def test_ten_ties_are_rarely_split_where_the_seeds_of_two_rows_matter():
    """With one variance for each pair, drawn toward that of all rows, 9 % of such boards were split."""
    assert split_families(150, [0.0] * 8 + [0.03] * 2, 3) <= most_of(150)


MIXED = {
    "eight of none, two of 3 points": [0.0] * 8 + [0.03] * 2,
    "eight of none, two of 1.5 points": [0.0] * 8 + [0.015] * 2,
    "nine of none, one of 3 points": [0.0] * 9 + [0.03],
    "half of none, half of 2 points": [0.0] * 5 + [0.02] * 5,
    "evenly from 0 to 3 points": [float(one) for one in np.linspace(0.0, 0.03, 10)],
}


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spreads", [*([one] * 10 for one in (0.0, 0.003, 0.005, 0.01, 0.03)), *MIXED.values()])
def test_the_error_of_a_family_of_ten_ties(seeds, spreads):
    assert split_families(1000, spreads, seeds) <= most_of(1000)


def test_a_row_that_is_truly_better_is_found_where_the_seeds_of_all_rows_do_alike():
    """A row that is 5 points better, with three seeds that move accuracy by half a point; from seeds of each row alone it is a quarter."""
    assert split_families(40, [0.005] * 10, 3, lift=0.05) > 0.5


def test_what_rows_have_in_common_by_hand():
    alike = [np.array([-1.0, 0.0, 1.0]) * factor for factor in (1.0, 1.0, 1.0, 1.0)]
    assert shared_noise(alike) == (1.0, 1.6)  # two fifths of the two degrees of each row but two
    assert shared_noise(alike[:2]) == (0.0, 0.0)
    mean, degrees = shared_noise([np.array([-1.0, 0.0, 1.0]) * factor for factor in (0.1, 0.1, 0.1, 3.0)])
    squares = np.array([0.01, 0.01, 0.01, 9.0])
    assert mean == pytest.approx(squares.mean())
    assert degrees == pytest.approx(2 / ((np.var(squares / squares.mean(), ddof=1) - 1) / 2))


def test_holm_on_a_worked_example():
    # p = .01 .04 .03 .005 -> 4 x .005, 3 x .01, 2 x .03, then the running maximum
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_and_keeps_order(values):
    p = np.array(values)
    adjusted = holm(p)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, len(p) * p) + 1e-12)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


@settings(max_examples=60)
@given(st.integers(1, 7).flatmap(lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n)))
def test_groups_are_the_longest_runs_without_a_difference(flags):
    n = int(len(flags) ** 0.5)
    better = np.triu(np.array(flags).reshape(n, n), 1)
    found = standings(better)
    assert [(one.first, one.last) for one in found] == [(1 + better[:, i].sum(), n - better[i].sum()) for i in range(n)]
    equal = [range(i, j) for i in range(n) for j in range(i + 1, n + 1) if not better[i:j, i:j].any()]
    wanted = [run for run in equal if not any(run != other and set(run) <= set(other) for other in equal)]
    assert equal_runs(better | better.T) == wanted
    for i in range(n):
        letters = found[i].letters
        shown = [ord(one) - ord("a") for one in letters.replace("-", "")]
        groups = list(range(shown[0], shown[-1] + 1))
        assert groups == [number for number, run in enumerate(wanted) if i in run]
        assert ("-" in letters) == (len(groups) > 3)


def test_many_rows_have_short_cells():
    """Every third row differs from all that are 8 or more places away: exponentially many sets of rows that do not differ, and at most as many runs as rows."""
    for rows, lettered in ((20, True), (99, False), (500, False)):
        place = np.arange(rows)
        better = np.triu((place[None] - place[:, None] >= 8) & ((place[:, None] % 3 == 0) | (place[None] % 3 == 0)))
        texts = [one.text for one in standings(better)]
        assert max(map(len, texts)) <= 12
        assert any(text.endswith("a") for text in texts) == lettered
    assert texts[0] == "1-8"
    assert texts[250] == f"{1 + better[:, 250].sum()}-{500 - better[250].sum()}"
    none = [one.text for one in standings(np.zeros((500, 500), bool))]
    assert set(none) == {"1-500"}


def test_rows_are_paired_by_seed():
    first, second = simulate(np.random.default_rng(7), [0.2, 0.0], 4, 50)
    found = compared(first[:3], [0, 1, 2], second, [5, 2, 1, 0], None)
    assert found.difference == pytest.approx(paired_test(first[:3], second[[3, 2, 1]]).difference)
    assert found.difference != pytest.approx(first[:3].mean() - second.mean())


def test_only_a_row_that_trains_nothing_stands_beside_every_seed():
    first, second = simulate(np.random.default_rng(7), [0.2, 0.0], 4, 50)
    assert_same(compared(first, [0, 1, 2, 3], second[:1], None, None), paired_test(first, np.repeat(second[:1], 4, 0)))
    for of_first, of_second in (([0, 1, 2, 3], [0]), ([0, 1, 2, 3], [3, 4, 5, 6]), ([0, 1, 2, 3], [4, 5, 6, 7])):
        assert not covers_seeds(of_first, of_second)
    assert covers_seeds([0, 1], None)
    assert covers_seeds(None, None)
    assert not covers_seeds([0], None)


def test_one_seed_alone_is_told_apart_from_nothing():
    first, second = np.ones((1, 50), bool), np.zeros((1, 50), bool)
    assert compared(first, [0], second, [0], None).p == 1.0
    assert compared(first, [0], second, None, None).p == 1.0
    assert compared(first, None, second, None, None).p == 0.0


def test_seed_noise_and_its_pool_by_hand():
    outcomes = np.array([[1, 1, 0, 1], [1, 0, 0, 0]], bool)
    found = noise_of(outcomes)
    rows, columns = outcomes.mean(1, keepdims=True), outcomes.mean(0, keepdims=True)
    assert found is not None
    assert found.variance == pytest.approx(np.var(rows, ddof=1))
    assert found.residual == pytest.approx(np.sum((outcomes - rows - columns + outcomes.mean()) ** 2) / 3 / 4)
    assert noise_of(outcomes[:1]) is None
    assert pooled_noise([]) is None
    pool = pooled_noise([SeedNoise(1.0, 0.1, 2.0), SeedNoise(1.0, 0.3, 2.0), SeedNoise(1.0, 0.2, 2.0)])
    assert pool == SeedNoise(1.0, pytest.approx(0.2), 6.0)
    scattered = pooled_noise([SeedNoise(value, 0.1, 2.0) for value in (0.5, 1.0, 3.0)])
    assert scattered is not None
    assert scattered.degrees == pytest.approx(2 * 1.5**2 / np.var([0.5, 1.0, 3.0], ddof=1))


@pytest.mark.parametrize(
    ("seeds", "run", "differing", "images"),
    [(3, 0.15, 0.0, 400), (3, 0.15, 0.7, 400), (5, 0.15, 1.0, 400), (5, 0.0, 0.0, 400), (3, 0.05, 0.7, 2000)],
)
def test_ties_with_a_row_of_one_seed(seeds, run, differing, images):
    """The spread of runs over seeds differs by row (lognormal); four rows with more seeds stand in for the one with one seed."""
    rng = np.random.default_rng(9)
    trials, by_images, mixed, single = 250, 0, 0, 0
    for _ in range(trials):
        difficulty = 1.5 * rng.standard_normal(images)
        moves = run * np.exp(differing * rng.standard_normal(6))
        logits = moves[:, None, None] * rng.standard_normal((6, seeds, 1)) + difficulty
        rows = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
        expected = pooled_noise([noise for noise in map(noise_of, rows[2:]) if noise])
        mixed += compared(rows[0, :1], [0], rows[5], list(range(seeds)), expected).p < 0.05
        single += compared(rows[0, :1], [0], rows[1, :1], [0], expected).p < 0.05
        by_images += stats.ttest_rel(rows[0, 0].astype(float), rows[1, 0].astype(float)).pvalue < 0.05
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert mixed / trials < limit
    assert single / trials < limit
    if images == 2000:
        assert by_images / trials > limit  # the reason for the seed term


def test_a_row_of_one_seed_that_is_truly_better_is_found():
    rng = np.random.default_rng(10)
    rows = simulate(rng, [0.8] + [0.0] * 5, 3, 1000, run=0.05)
    expected = pooled_noise([noise for noise in map(noise_of, rows[1:]) if noise])
    assert compared(rows[0, :1], [0], rows[1], [0, 1, 2], expected).p < 0.01


@pytest.mark.parametrize("trains", [True, False])
def test_ties_of_rows_whose_seeds_differ_by_a_point(trains):
    """Skill varies by about 1 point over seeds; the truth is a row's mean over seeds, or what a row that trains nothing has."""
    rng = np.random.default_rng(8)
    rejected = []
    for _ in range(300):
        first, second = simulate(rng, [0.0, 0.0], 5, 1000, shared=0.0, run=0.04)
        second = second if trains else rng.random((1, 1000)) < 0.5
        seeds = list(range(5))
        rejected.append(compared(first, seeds, second, seeds if trains else None, None).p < 0.05)
    assert np.mean(rejected) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


def test_the_note_names_rows_with_one_seed(builder, tmp_path):
    def note(*runs):
        made = [builder.make(name, seed, trains=trains) for name, seeds, trains in runs for seed in seeds]
        store = Store(tmp_path / str(len(made)))
        for record, arrays in made:
            store.write(record, arrays)
        (found,) = boards(load_records(store.directory))
        return statistics_note(ranked(found, tmp_path / "cache"))

    weight = "weight and bias"
    assert "one seed" not in note(("los", range(2), weight), ("ce", range(2), weight), ("tau_norm", [0], "nothing"))
    said = note(("los", range(3), weight), ("ce", [0], weight), ("crt", [1], weight), ("tau_norm", [0], "nothing"))
    assert {*said.partition("with one seed (")[2].partition(")")[0].split(", ")} == {"ce", "crt"}
    assert "the seed spread of the other rows" in said
    assert "run with --seeds 0,1,2" in note(("los", [0], weight), ("ce", [0], weight))


@pytest.fixture
def results(tmp_path, builder):
    store = Store(tmp_path / "results")
    for strategy, skill in {"los": 1.5, "ce": 0.0, "crt": 0.0}.items():
        for seed in range(3):
            store.write(*builder.make(strategy, seed, skill))
    store.write(*builder.make("tau_norm", 0, 0.0, trains="nothing"))
    return store.directory


def test_a_board_from_its_files(results, tmp_path):
    (found,) = boards(load_records(results))
    result = board_statistics(found, tmp_path / "cache")
    standing = dict(zip((row.label for row in found.rows), result.standings, strict=True))
    assert standing["los"].text == "1 a"
    assert {standing[name].text for name in ("ce", "crt", "tau_norm")} == {"2-4 b"}
    assert len(result.intervals) == len(result.behind) == len(found.rows)
    low, high = result.intervals[0]
    assert low < found.rows[0].estimate("test/accuracy").mean < high
    assert result.behind[0] == (0.0, 0.0)
    assert all(high < 0 for _, high in result.behind[1:])
    assert 0.02 < result.resolvable < 0.2


def test_the_cache_is_read_and_follows_the_content(results, tmp_path, builder, monkeypatch):
    (found,) = boards(load_records(results))
    first = board_statistics(found, tmp_path / "cache")
    calls = []
    real = statistics_module.compute
    monkeypatch.setattr(statistics_module, "compute", lambda *arguments: calls.append(1) or real(*arguments))
    assert board_statistics(found, tmp_path / "cache") == first
    assert calls == []
    Store(results).write(*builder.make("cb", 0, 0.3))
    (found,) = boards(load_records(results))
    assert len(board_statistics(found, tmp_path / "cache").standings) == 5
    assert calls == [1]


def test_other_test_labels_are_an_error(results, tmp_path, builder):
    record, arrays = builder.make("cb", 0, 0.3)
    turned = {name: values[::-1] if name in ("test_labels", "test_predictions") else values for name, values in arrays.items()}
    Store(results).write(record, turned)
    (found,) = boards(load_records(results))
    with pytest.raises(UserError, match="test labels"):
        board_statistics(found, tmp_path / "cache")


def test_across_boards(builder):
    other = replace(builder, dataset="cifar100_lt", cache_key="cache-b")
    hits = {"los": (150, 140), "ce": (100, 150), "crt": (100, 90), "cb": (80, None)}
    made = [
        b.make(name, 0, correct=np.arange(200) < values[i])[0]
        for i, b in enumerate((builder, other))
        for name, values in hits.items()
        if values[i]
    ]
    made += [builder.make("ncm", 0, hyperparameters={"x": x}, kind="tuned")[0] for x in (1, 2)]
    found = boards(from_records(made))
    (result,) = across(found)
    assert result.labels == ("los", "ce", "crt")
    order = [0 if "cifar100" in title else 1 for title in result.boards]
    accuracy = np.array([[hits[name][1] / 200, hits[name][0] / 200] for name in result.labels])[:, order]
    assert np.allclose(result.scores, accuracy)
    assert np.array_equal(result.ranks, stats.rankdata(-accuracy, axis=0))
    assert list(result.wins) == [1, 1, 0]
    assert list(result.mean_rank) == list(result.ranks.mean(1))
    there, not_there = (title for _, title in sorted(zip(order, result.boards, strict=True)))
    assert sorted(result.missing) == sorted(
        [
            f"cb: missing on {there}",
            f"ncm (tuned): missing on {there}; 2 settings, of which the test set chooses none, on {not_there}",
        ]
    )
    assert across(found[:1]) == []


def test_two_programs_are_two_rows_across_boards(builder):
    """Ranks of one board never stand beside those of another program on another board."""
    other = replace(builder, dataset="cifar100_lt", cache_key="cache-b")
    made = [b.make(name, 0, correct=np.arange(200) < 100)[0] for b in (builder, other) for name in ("ce", "crt")]
    for b, codes in ((builder, ("revision 1", "revision 2")), (other, ("revision 2",))):
        made += [b.make("los", 0, correct=np.arange(200) < 150, code=code)[0] for code in codes]
    made += [b.make("my.Head", 0, class_path=path)[0] for b, path in ((builder, "my.Head"), (other, "their.Head"))]
    (result,) = across(boards(from_records(made)))
    assert sorted(result.labels) == ["ce", "crt", "los (revision 2)"]
    left_out = [line.partition(": missing on ") for line in result.missing]
    assert sorted(rows for rows, _, _ in left_out) == ["los (revision 1), my.Head [my.Head]", "my.Head [their.Head]"]
    assert {board for _, _, board in left_out} == set(result.boards)


def test_settings_of_the_users_own_are_compared_across_boards(builder):
    """Matched by what they are: on single boards their labels say no more than tells them apart there."""
    other = replace(builder, dataset="cifar100_lt", cache_key="cache-b")
    made = [b.make(name, 0, correct=np.arange(200) < 100)[0] for b in (builder, other) for name in ("ce", "crt")]
    for b, taus in ((builder, (0.5,)), (other, (0.5, 0.7))):
        made += [b.make("my.Head", 0, correct=np.arange(200) < 150, kind="user", hyperparameters={"tau": tau})[0] for tau in taus]
    made.append(builder.make("lws", 0, hyperparameters={"matmul": "high"})[0])
    found = boards(from_records(made))
    (result,) = across(found)
    assert result.labels[0] == "my.Head (user) [tau=0.5]"
    assert [row.hyperparameters for row in result.rows[0]] == [{"tau": 0.5}] * 2
    assert list(result.wins) == [2, 0, 0]
    there = next(board.short for board in found if board.board.dataset == builder.dataset)
    assert f"my.Head (user) [tau=0.7]: missing on {there}" in result.missing
    assert "lws [matmul=high]: float32 products that are less exact (--matmul) are in no comparison over boards" in result.missing


def test_one_name_of_several_settings_names_none_of_them_across_boards(builder):
    boards_of = (builder, replace(builder, dataset="cifar100_lt", cache_key="cache-b"))
    made = [
        b.make("my.Head", 0, correct=np.arange(200) < 150, kind="user", hyperparameters={"tau": tau})[0]
        for b in boards_of
        for tau in (0.5, 0.7)
    ]
    (result,) = Selection(names={"my.Head:user": "Ours"}).across(across(boards(from_records(made))))
    assert result.labels == ("my.Head (user) [tau=0.5]", "my.Head (user) [tau=0.7]")
    assert result.duplicates.endswith("my.Head (user) [tau=0.7] of my.Head (user) [tau=0.5].")


def test_a_row_alone_on_every_board_is_named_beside_those_left_out(builder):
    other = replace(builder, dataset="cifar100_lt", cache_key="cache-b")
    made = [b.make("ce", 0)[0] for b in (builder, other)]
    assert across(boards(from_records(made))) == []
    (result,) = across(boards(from_records([*made, builder.make("los", 0)[0]])))
    assert result.labels == ()
    assert result.left_out["ce"].startswith("the only row on every board")
    assert result.left_out["los"].startswith("missing on ")
    assert across_table(result).startswith("## Across boards\n\nNo two rows are on every board.\n\nLeft out:\n\n- ")
    assert "| Strategy" not in across_table(result)


@pytest.mark.parametrize("more", [{"family": "control"}, {"hyperparameters": {"matmul": "medium"}}])
def test_no_section_where_one_row_is_common_and_the_others_take_no_part(builder, more):
    other = replace(builder, dataset="cifar100_lt", cache_key="cache-b")
    made = [b.make(name, 0, **given)[0] for b in (builder, other) for name, given in (("ce", {}), ("val_probe", more))]
    assert across(boards(from_records(made))) == []


def test_duplicates_take_one_place_across_boards(builder):
    hits = {"ce": 100, "lort": 150, "los": 150, "crt": 120}
    made = []
    for b in (builder, replace(builder, dataset="cifar100_lt", cache_key="cache-b")):
        for name, count in hits.items():
            record, _ = b.make(name, 0, correct=np.arange(200) < count)
            rounding = 1e-9 if name == "los" else 0.0
            record.metrics["test"] = {key: (count if key == "accuracy" else 0) / 200 + rounding for key in ("accuracy", "nll")}
            made.append(record)
    (result,) = across(boards(from_records(made)))
    assert dict(zip(result.labels, result.ranks.tolist(), strict=True)) == {"lort": [1, 1], "los": [1, 1], "crt": [2, 2], "ce": [3, 3]}
    assert dict(zip(result.labels, result.wins.tolist(), strict=True)) == {"lort": 2, "los": 2, "crt": 0, "ce": 0}
    assert result.duplicates.endswith("the same: los of lort.")
    (named,) = Selection(names={"los": "LOS", "lort": "LORT"}).across([result])
    assert set(named.labels) == {"LORT", "LOS", "crt", "ce"}
    assert named.duplicates.endswith("the same: LOS of LORT.")
    assert set(named.repeated) == {"LOS"}


def test_missing_seeds_are_named_in_one_line(builder):
    made = [builder.make("los", seed)[0] for seed in range(3)]
    made += [builder.make(name, 1)[0] for name in ("ce", "crt")] + [builder.make("tau_norm", 0, trains="nothing")[0]]
    (found,) = boards(from_records(made))
    (line,) = missing_seeds(found)
    assert line.startswith("Seeds that other rows have and that are missing: 0,2 of c")
    assert {*line.removesuffix(".").partition(" of ")[2].split(", ")} == {"ce", "crt"}
    assert missing_seeds(boards(from_records(made[:3]))[0]) == []
