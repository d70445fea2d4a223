from __future__ import annotations

import io
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.plots import by_class, by_prior, by_row, critical, special
from lt_bench.leaderboard.plots.critical import critical_over_boards
from lt_bench.leaderboard.plots.data import MOST, binned, chosen, series, vector
from lt_bench.leaderboard.plots.draw import PLOTS, draw_across, draw_board
from lt_bench.leaderboard.plots.style import KEY, WIDTH, figure, footnote, look, places_by_lines, save, short_name
from lt_bench.leaderboard.stats.across import across
from lt_bench.leaderboard.stats.groups import equal_runs
from lt_bench.leaderboard.tables.selection import Selection
from lt_bench.results.store import Store
from lt_bench.strategies._lib.ffds import frequency_groups
from tests.leaderboard.builder import Builder

SHIPPED = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "shipped"

SKILLS = {"los": 0.8, "ce": 0.0, "crt": 0.3, "joint": -0.2}


def course(points):
    """An invented course over ``points`` measured epochs."""
    values = np.linspace(1.0, 2.0, points)[:, None] * np.linspace(0.5, 0.2, 10)
    return {"course/epoch": 2 * np.arange(points)} | {f"course/{name}": values for name in ("weight_norm", "feature_norm", "cosine")}


@pytest.fixture(scope="module")
def found(tmp_path_factory, builder):
    store = Store(tmp_path_factory.mktemp("results"))
    for index, (strategy, skill) in enumerate(SKILLS.items()):
        for seed in range(2):
            record, arrays = builder.make(strategy, seed, skill, loma=3.0 + index, fit_s=1.0 + index)
            store.write(record, arrays | course(1 if strategy == "joint" else 11))
    for epsilon in (0.1, 0.5, 0.9):
        store.write(*builder.make("los", 0, epsilon, kind="user", hyperparameters={"epsilon": epsilon, "learning_rate": 0.1}))
    (result,) = boards(load_records(store.directory))
    return result


def test_every_plot_is_drawn_and_the_same_bytes_again(found, tmp_path, monkeypatch):
    drawn = draw_board(found, tmp_path)
    assert [plot.name for plot in drawn] == [name for name in PLOTS if name != "critical_difference"]  # needs statistics
    written = {path: path.read_bytes() for plot in drawn for path in (plot.svg, plot.png, plot.pdf)}
    for plot in drawn:
        assert plot.svg.read_text().count("<path") > 10
        picture = np.asarray(Image.open(io.BytesIO(written[plot.png])).convert("L"))
        assert 0.002 < np.mean(picture < 200) < 0.5
    time = drawn[0].svg.stat().st_mtime_ns
    assert draw_board(found, tmp_path) == drawn
    assert drawn[0].svg.stat().st_mtime_ns == time  # the same records: nothing is drawn again
    drawn[0].svg.unlink()
    some = {plot.name: PLOTS[plot.name] for plot in drawn if plot.name in ("accuracy_by_size", "head_against_tail", "places_by_prior")}
    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.PLOTS", some)  # lines, points and names; all are saved by one function
    again = draw_board(found, tmp_path)
    assert [plot.name for plot in again] == list(some)
    assert all(path.read_bytes() == written[path] for plot in again for path in (plot.svg, plot.png, plot.pdf))


def test_labels_of_a_few_rows_do_not_meet(builder):
    made = [builder.make(name, seed, skill) for name, skill in (("los", 1.0), ("ce", 0.0), ("crt", 0.5)) for seed in range(2)]
    (ranking,) = leaderboard(made).boards
    with look():
        drawing = critical.critical_difference(ranking)
        footnote(drawing, PLOTS["critical_difference"][2])
        drawing.draw_without_rendering()
    boxes = sorted((label.get_window_extent() for label in drawing.axes[0].get_yticklabels()), key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(lower.y1 <= upper.y0 for lower, upper in pairwise(boxes))


def test_long_names_are_not_cut_off(tmp_path):
    with look():
        drawing, (axes,) = figure()
        axes.set_yticks([0, 1], ["balanced_softmax (tuned)  42.6", "los"], fontsize=6)
        save(drawing, tmp_path / "names")
    ink = (np.asarray(Image.open(tmp_path / "names.png").convert("L")) < 200).any(axis=0)
    assert not ink[:5].any()


def test_names_wider_than_a_figure_leave_room_for_its_panels(builder, tmp_path, monkeypatch):
    """Labels of several settings of the user's own, and of classes; matplotlib warns where a panel has no room, as soon as it is laid out."""
    made = [builder.make("los", 0), builder.make("joint", 0, -0.2)]
    settings = [{"gamma": gamma, "learning_rate": 1e-4 * gamma, "weight_decay": 5e-4 * gamma} for gamma in (0.5, 1.5)]
    made += [builder.make("temp_head.TempHead", 0, 0.3, kind="user", hyperparameters=one) for one in settings]
    for record, _ in made:
        record.dataset.class_names[:] = [f"{name}, and how else it is called in the field" for name in record.dataset.class_names]
    (ranking,) = leaderboard(made).boards
    assert max(len(row.label) for row in ranking.rows) > 70

    def lay_out(drawing, stem):
        drawing.draw_without_rendering()
        return [stem.with_suffix(f".{kind}") for kind in ("svg", "png", "pdf")]

    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.save", lay_out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = draw_board(ranking, tmp_path)
    assert {plot.name for plot in drawn} >= {"critical_difference", "rsd_across", "places_by_prior", "difference_by_class"}


def test_places_of_rows_are_as_high_as_their_names():
    places, height = places_by_lines(["a", "b\nb", "c"])
    assert (list(places), height) == ([3.0, 1.5, 0.0], 4)


def test_a_footnote_keeps_a_number_and_its_unit_on_one_line():
    drawing, _ = figure()
    footnote(drawing, "x" * 67 + " 5 %.")  # "5" would end the line
    assert drawing.get_supxlabel().split("\n") == ["x" * 67, "5\N{NO-BREAK SPACE}%."]


def test_critical_difference_over_boards(builder, tmp_path):
    """Bars beside rows that the test over boards and classes does not tell apart; no figure from records without class accuracies."""
    names = ("los", "ce", "crt", "cb", "joint")
    made = []
    for board in range(8):
        other = replace(builder, cache_key=f"cache-{board}", per_class=200)
        for name, skill in zip(names, (2.0, 1.95, 1.0, 0.95, 0.0), strict=True):
            hits = np.random.default_rng([board, names.index(name)]).random(2000) < 1 / (1 + np.exp(-skill))
            made.append(other.make(name, 0, correct=hits))
    (result,) = across(boards(from_records(made)))
    with look():
        drawing = critical_over_boards(result)
        fewer = critical_over_boards(replace(result, repeated={"joint": "cb"}))
        assert critical_over_boards(replace(result, repeated=dict.fromkeys(names[2:], "los"))) is None
        (alone,) = across(boards(from_records([record for record, _ in made])))
        assert critical_over_boards(alone) is None
    axes, bars = drawing.axes
    assert {tick.get_text().split()[0] for tick in axes.get_yticklabels()} == set(names)
    assert {tick.get_text().split()[0] for tick in fewer.axes[0].get_yticklabels()} == set(names[:-1])
    spans = [sorted(line.get_ydata().round().astype(int).tolist()) for line in bars.lines]
    assert spans == [[3, 4], [1, 2], [0, 0]]  # of places 0 to 4 from below
    (lines,) = (one for one in axes.collections if hasattr(one, "get_segments"))
    ends = [sorted(segment[:, 0].tolist()) for segment in lines.get_segments()]
    assert ends == pytest.approx(result.intervals)
    assert all(low <= mean <= high for (low, high), mean in zip(ends, result.mean_rank, strict=True))
    (written,) = draw_across([result], tmp_path)
    assert written.svg.parent.name == "boards-clean-head"


def test_figures_say_that_splits_share_images(builder, tmp_path, monkeypatch):
    below = []
    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.footnote", lambda _, text: below.append(text))
    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.PLOTS", {"head_against_tail": PLOTS["head_against_tail"]})
    made = [replace(builder, cache_key=key).make(name, 0, skill) for key in ("clean", "leaky") for name, skill in SKILLS.items()]
    for record, _ in made[len(SKILLS) :]:
        record.cache.shared["test in train"] = [30, 200]
    of_boards = boards(from_records(made))
    for ranking in of_boards:
        draw_board(ranking, tmp_path / ranking.board.slug)
    draw_across(across(of_boards), tmp_path)
    said = "seeds 0. Splits are not independent: 30 of 200 test images (15.0 %) are also training images. So accuracies are"
    assert [said in text for text in below] == [ranking.rows[0].text("cache_key") == "leaky" for ranking in of_boards] + [False]
    assert below[-1].endswith("On 1 of the boards splits share images, as their own tables say.")


def test_a_label_is_no_longer_than_its_axis(found):
    with look():
        drawing = by_class.norms_by_size(found)
        drawing.draw_without_rendering()
    for axes in drawing.axes:
        assert axes.xaxis.label.get_window_extent().width <= axes.get_window_extent().width


def test_no_date_and_no_address_of_this_machine(tmp_path):
    with look():
        made, (axes,) = figure()
        axes.plot([1, 2])
        svg = save(made, tmp_path / "x")[0].read_text()
    assert "<dc:date>" not in svg
    assert str(Path.home()) not in svg


def test_vectors_are_means_over_seeds_largest_class_first(found, builder):
    row = next(row for row in found.rows if row.label == "crt")
    wanted = np.mean([builder.make("crt", seed, 0.3)[1]["test/class_accuracy"] for seed in range(2)], axis=0)
    assert np.allclose(vector(row, "test/class_accuracy"), wanted)
    assert vector(row, "test/no_such_vector") is None
    (one,) = series(found, [row], "test/class_accuracy")
    assert np.allclose(one.values, wanted)  # the builder's classes are in order of size


def test_binned_means_leave_out_nan():
    assert list(binned(np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan]), 3)[:2]) == [2.0, 5.0]
    assert np.isnan(binned(np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan]), 3)[2])


def test_the_difference_plot_shows_the_paired_difference_and_its_interval(found, builder):
    by_label = {row.label: row for row in found.rows}
    made = by_class.difference_by_class(found, by_label["los"], by_label["joint"])
    axes = made.axes[0]
    hits = {
        name: np.mean([builder.correct(name, SKILLS[name], seed) for seed in range(2)], axis=0).reshape(10, 20) for name in ("los", "joint")
    }
    difference = 100 * (hits["los"] - hits["joint"])
    points = next(
        collection
        for collection in axes.collections
        if len(collection.get_offsets()) == 10 and type(collection).__name__ == "PathCollection"
    )
    assert np.allclose(points.get_offsets()[:, 1], difference.mean(1))
    bars = np.array([segment[:, 1] for segment in axes.collections[0].get_segments()])
    mean, square = difference.sum(1) / 22, ((difference**2).sum(1) + 2 * 100**2) / 22  # two images more of 20, one won and one lost
    half = stats.norm.ppf(0.975) * np.sqrt((square - mean**2) / 22)
    assert np.allclose(np.diff(bars).ravel(), 2 * half)


def test_dynasmooth_by_hand():
    p, mean = np.array([0.81, 0.25]), np.array([0.25, 0.25])
    wanted = 0.81 - (0.9 * (0.9 - 0.5)) ** 2 * (0.81 - 0.25)
    assert special.dynasmooth(p, mean, 0.9) == pytest.approx([wanted, 0.25])


def test_epsilon_lines_hold_all_else_equal(found):
    (line,) = special.epsilon_lines([row for row in found.rows if row.text("strategy") == "los"])
    assert [row.hyperparameters["epsilon"] for row in line] == [0.1, 0.5, 0.9]
    assert {row.hyperparameters["learning_rate"] for row in line} == {0.1}


def test_names_do_not_lie_on_each_other():
    with look():
        made, (axes,) = figure()
        points = [(0.5 + 0.001 * n, 0.5, str(n)) for n in range(12)] + [(0.1, 0.9, "alone")]
        axes.scatter([x for x, _, _ in points], [y for _, y, _ in points])
        made.draw_without_rendering()
        assert not by_row.name_points(axes, [(x, y, "a long strategy name") for x, y, _ in points])
        assert len(axes.texts) == len(points)  # none is left out
        for text in list(axes.texts):
            text.remove()
        assert by_row.name_points(axes, points, size=5.0, rings=9)
        made.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert {text.get_text() for text in axes.texts} == {name for _, _, name in points}
    assert not any(a.shrunk(0.95, 0.95).overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_users_own_and_the_best_come_first_or_what_was_chosen(found, builder):
    made = [builder.make(name, seed, skill) for name, skill in SKILLS.items() for seed in range(2)]
    made += [builder.make("MyHead", seed, -1.0, class_path="my_head.MyHead") for seed in range(2)]
    made += [builder.make(f"other_{n}", 0, 0.1) for n in range(5)]
    board = leaderboard(made)
    assert [row.label for row in chosen(board.boards[0])][:3] == ["MyHead", "los", "joint"]
    assert len(chosen(board.boards[0])) == 6
    (some,) = leaderboard(made, selection=Selection(rows=("ce", "crt"), names={"ce": "CE"})).shown
    assert [row.label for row in chosen(some)] == ["crt", "CE"]


def test_the_users_own_is_compared_also_where_rows_were_chosen(builder):
    """With the untouched head, against that; else against the best of the others."""
    made = [builder.make(name, seed, skill) for name, skill in SKILLS.items() for seed in range(2)]
    made += [builder.make("MyHead", seed, -1.0, class_path="my_head.MyHead") for seed in range(2)]
    for rows, said in (
        (("los", "MyHead", "joint"), "accuracy of MyHead\nminus joint, points"),
        (("crt", "los", "MyHead"), "accuracy of MyHead\nminus los, points"),
        (("crt", "los"), "accuracy of los\nminus crt, points"),
    ):
        (some,) = leaderboard(made, selection=Selection(rows=rows)).shown
        assert by_class.difference_by_class(some).axes[0].get_ylabel() == said


def test_a_row_has_one_colour_in_all_figures(found):
    of_lines = {line.get_label(): line.get_color() for line in by_class.accuracy_by_size(found).axes[0].lines}
    of_places = {text.get_text().partition("  ")[2]: text.get_color() for text in by_prior.places_by_prior(found).axes[0].texts}
    both = of_lines.keys() & of_places.keys()
    assert len(both) >= 4
    assert {label: of_lines[label] for label in both} == {label: of_places[label] for label in both}
    assert len({of_places[label] for label in of_places if label}) == len(of_places) - 1, "one row, one colour"


def test_of_many_rows_the_places_by_prior_are_those_among_the_rows_shown(builder):
    made = [builder.make(f"strategy_{n}", 0, 0.02 * n, trains="nothing") for n in range(40)]
    with look():
        axes = by_prior.places_by_prior(leaderboard(made).boards[0]).axes[0]
    heights = np.array([line.get_ydata() for line in axes.lines])
    assert len(heights) == by_prior._MOST
    assert (np.sort(heights, axis=0) == np.arange(1, len(heights) + 1)[:, None]).all()


def test_a_figure_leaves_out_why_a_fit_is_unhealthy():
    assert short_name("ce (tuned) (unhealthy: one_class, scale)") == "ce (tuned) (unhealthy)"


def test_a_head_without_hyper_parameters_is_not_called_official(builder):
    made = [builder.make("joint", 0, 0.0, hyperparameters={}, trains="nothing"), *(builder.make(name, 0, 1.0) for name in ("los", "crt"))]
    made.append(builder.make("ce", 0, 0.5, kind="user"))
    drawing = by_row.head_against_tail(leaderboard(made).boards[0])
    (names,) = drawing.legends
    assert [text.get_text() for text in names.get_texts()] == ["official", "user", "nothing to set"]


def test_a_crowded_figure_numbers_its_points_and_has_a_key(builder):
    made = [builder.make(f"a_strategy_with_a_long_name_{n}", 0, 0.02 * n, trains="nothing") for n in range(25)]
    (ranking,) = leaderboard(made).boards
    with look():
        drawing = by_row.head_against_tail(ranking)
        assert drawing.get_figwidth() == WIDTH
        (key,) = [one for one in drawing.legends if one.get_gid() == KEY]
    assert [text.get_text() for text in key.get_texts()] == [f"{n} {row.label}" for n, row in enumerate(ranking.rows, 1)]
    assert sorted(int(text.get_text()) for text in drawing.axes[0].texts) == list(range(1, 26))


def test_bars_join_rows_that_are_not_told_apart(builder):
    made = [builder.make(name, seed, skill) for name, skill in (("a", 4.0), ("b", 0.02), ("c", 0.0), ("d", -0.05)) for seed in range(3)]
    (ranking,) = leaderboard(made).boards
    drawing = critical.critical_difference(ranking)
    assert drawing is not None
    spans = [tuple(np.round(line.get_ydata()).astype(int)) for line in drawing.axes[1].lines]
    assert spans == [(3 - group[0], 3 - group[-1]) for group in equal_runs(ranking.pairs.different)]
    assert critical.critical_difference(boards(from_records([record for record, _ in made]))[0]) is None


@pytest.mark.parametrize(("K", "groups"), [(10, 3), (100, 3), (8, 4), (11, 4), (2, 3)])
def test_frequency_parts_are_those_of_the_method(K, groups):
    counts = np.random.default_rng(K).integers(5, 12, K)  # with ties
    wanted = frequency_groups(torch.tensor(counts), groups).numpy()
    found = special.frequency_parts(counts, groups)
    assert [sorted(part) for part in found] == [list(np.nonzero(wanted == group)[0]) for group in range(groups)]
    if (K, groups) == (10, 3):
        assert [len(part) for part in found] == [3, 3, 4]


@pytest.mark.parametrize("name", ["accuracy_by_size", "gap_by_size", "logits_by_size"])
def test_names_of_many_lines_lie_beside_the_panels(builder, name):
    made = [builder.make(f"a_strategy_of_{n}", 0, 0.02 * n, kind="tuned") for n in range(24)]
    (ranking,) = leaderboard(made).boards
    with look():
        drawing = PLOTS[name][0](replace(ranking, rows=ranking.rows[:MOST], chosen_from=24))
        footnote(drawing, "Data. " + PLOTS[name][2])
        drawing.draw_without_rendering()
    (names,) = drawing.legends
    assert len(names.get_texts()) == MOST
    assert all(names.get_window_extent().y0 >= axes.get_window_extent().y1 for axes in drawing.axes)
    assert all(axes.get_window_extent().height > 0.4 * drawing.dpi for axes in drawing.axes)


def test_the_difference_plot_keeps_long_names_within_its_edges():
    made = []
    for strategy, skill in (("joint", 0.0), ("a_strategy_whose_name_is_long", 1.0)):
        record, arrays = Builder(num_classes=50).make(strategy, 0, skill, kind="tuned")
        names = [f"a_class_whose_name_is_long_number_{k}" for k in range(50)]
        made.append((replace(record, dataset=replace(record.dataset, class_names=names)), arrays))
    with look():
        drawing = by_class.difference_by_class(leaderboard(made).boards[0])
        footnote(drawing, PLOTS["difference_by_class"][2])
        drawing.draw_without_rendering()
    (axes,) = drawing.axes
    below, along = axes.xaxis.label.get_window_extent(), axes.yaxis.label.get_window_extent()
    assert "a_class_whose_name_is_long_number_" in axes.get_xlabel()
    assert below.x0 >= 0
    assert below.x1 <= drawing.bbox.x1
    assert along.y0 >= below.y0
    assert along.y1 <= drawing.bbox.y1


def test_a_control_far_below_all_methods_is_out_of_sight():
    ranking = leaderboard(SHIPPED, statistics=False).boards[0]
    drawing = by_row.balance_against_accuracy(ranking)
    assert [axes.get_xlabel().split(",")[0] for axes in drawing.axes] == [
        "class bias",
        "LoMa balance (std / |mean|; smaller is more balanced)",
        "LoMa",
    ]
    assert drawing.axes[0].get_title().startswith("Spearman -0.90")
    seen = {row.label for row in by_row._in_sight(ranking)}
    assert {row.label for row in ranking.rows} - seen == {"random_head (control)"}
