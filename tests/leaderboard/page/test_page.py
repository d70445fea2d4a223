from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lt_bench.data.priors import tail_prior
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.class_accuracies import class_accuracies
from lt_bench.leaderboard.leaderboard import FORMATS, leaderboard
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.page.by_class import outer_ends
from lt_bench.leaderboard.page.page import _links, page
from lt_bench.leaderboard.plots.draw import PLOTS
from lt_bench.leaderboard.tables.columns import Column, registered
from lt_bench.results.store import Store


def read_data(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1))


@pytest.fixture
def results(tmp_path, builder):
    store = Store(tmp_path / "results")
    for made in (builder, replace(builder, dataset="cifar100_lt", cache_key="cache-b"), replace(builder, protocol="images-eval")):
        for seed in range(2):
            store.write(*made.make("los", seed, 1.0))
            store.write(*made.make("ce", seed, 0.0))
    return store.directory


def test_the_page_holds_what_the_records_say(results, tmp_path):
    path = leaderboard(results).write(tmp_path / "out", ["html"])[0]
    html = path.read_text()
    data = read_data(html)
    assert [(board["dataset"], board["setting"].split(", ")[-2]) for board in data["boards"]] == [
        ("cifar100_lt, IF 100", "clean"),
        ("cifar10_lt, IF 100", "clean"),
        ("cifar10_lt, IF 100", "images-eval"),
    ]
    found = {board.board.slug: board for board in boards(load_records(results))}
    for board in data["boards"]:
        position = [column["key"] for column in board["columns"]].index("accuracy")
        for row, wanted in zip(board["rows"], found[board["slug"]].rows, strict=True):
            estimate = wanted.estimate("test/accuracy")
            assert row["label"] == wanted.label
            assert row["cells"][position]["v"] == pytest.approx(estimate.mean)
            assert row["seeds"] == pytest.approx([estimate.low, estimate.high], abs=1e-6)
            assert row["images"][0] < row["mean"] < row["images"][1]
        published = [line[-1] for line in board["published"]]
        assert all(published)
        assert dict(map(tuple, board["chips"]))["split"] == found[board["slug"]].board.split_hash[:16]
    assert len({board["setting"] for board in data["boards"]}) == 3
    assert "memory" not in json.dumps([board["published"] for board in data["boards"]])
    assert leaderboard(results).write(tmp_path / "again", ["html"])[0].read_bytes() == path.read_bytes()


def test_controls_are_not_among_the_ranked(builder):
    made = [builder.make(name, 0, skill) for name, skill in (("los", 1.0), ("ce", 0.0))]
    made.append(builder.make("random_head", 0, -2.0, trains="nothing", family="control"))
    (board,) = read_data(page(leaderboard(made).boards, registered()))["boards"]
    assert (board["ranked"], len(board["rows"])) == (2, 3)


def test_nothing_is_fetched(builder, tmp_path, monkeypatch):
    some = {name: PLOTS[name] for name in ("accuracy_by_size", "head_against_tail")}  # tests/leaderboard/plots draws every one
    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.PLOTS", some)
    made = [builder.make(name, seed, skill) for name, skill in (("los", 1.0), ("ce", 0.0)) for seed in range(2)]
    paths = leaderboard(made).write(tmp_path / "out", FORMATS)
    html = next(path for path in paths if path.suffix == ".html").read_text()
    assert "default-src 'none'" in html
    outside = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)", outside) == []
    plots = [plot for board in read_data(html)["boards"] for plot in board["plots"]]
    assert len(plots) == len(some)
    assert all(plot["src"].startswith("data:image/svg+xml;base64,") and plot["caption"] for plot in plots)
    assert not re.search(r"/\*(CSS|JS|DATA)\*/", html)


def test_text_from_records_cannot_end_the_script(builder):
    record, _ = builder.make()
    record = replace(record, command="</script><script>alert(1)</script>")
    html = page(boards(from_records([record])), registered())
    assert html.count("</script>") == 2
    assert "</script><script>alert(1)</script>" in json.dumps(read_data(html), ensure_ascii=False)


def test_one_row_far_away_flattens_no_other():
    assert outer_ends([0.4, 0.41, 0.42, 0.43, 0.44, 0.18]) == (0.4, 0.44)
    assert outer_ends([0.4, 0.44]) == (0.4, 0.44)
    assert outer_ends([0.5, float("nan"), 0.5]) == (0.5, 0.5)


def test_pairs_links_and_places_without_letters(results):
    (board, *_) = read_data(page(leaderboard(results).boards, registered()))["boards"]
    (pair,) = board["pairs"][0]
    assert pair[0] == pytest.approx(board["rows"][0]["mean"] - board["rows"][1]["mean"], abs=2e-5)
    assert pair[1] > 0
    at = [column["key"] for column in board["columns"]].index("rank")
    assert all(re.fullmatch(r"\d+(-\d+)?", row["cells"][at]["t"]) for row in board["rows"])
    assert "letter" not in " ".join(board["notes"])
    (row, *_) = boards(load_records(results))[0].rows
    row.runs.columns["paper"][row.positions[0]] = "Sun et al., Title, ICLR 2025; code bilibili/LOS"
    paper, code = _links(row)
    assert paper == ("paper", "https://www.semanticscholar.org/search?q=Sun%20et%20al.%2C%20Title%2C%20ICLR%202025")
    assert code == ("code bilibili/LOS", "https://github.com/bilibili/LOS")


def test_classes_priors_and_boards(results):
    """Figures of the page on single classes, other test sets and rows on every board are those that the board's rows say."""
    found = leaderboard(results).boards
    data = read_data(page(found, registered()))
    for board, wanted in zip(data["boards"], found, strict=True):
        assert board["classes"]["names"] == list(wanted.rows[0].split.class_names)
        assert board["classes"]["train"] == wanted.rows[0].split.train_counts.tolist()
        assert board["classes"]["test"] == [20] * 10
        assert set(board["classes"]["groups"]) == {"many", "medium", "few"}
        assert list(board["priors"]) == ["macro_accuracy", "forward_50", "forward_10", "backward_50", "backward_10"]
        for row, of in zip(board["rows"], wanted.rows, strict=True):
            accuracy = np.frombuffer(base64.b64decode(row["classes"]), "<u2") / 10_000
            assert accuracy == pytest.approx(np.mean([one for one, _ in class_accuracies(of)], axis=0), abs=5e-5)
            for way in ("forward", "backward"):
                expected = tail_prior(of.split.train_counts, 50, backward=way == "backward") @ accuracy
                assert row["priors"][f"{way}_50"][0] == pytest.approx(expected, abs=1e-4)
                assert row["priors"][f"{way}_50"][1] < expected < row["priors"][f"{way}_50"][2]
    (across,) = data["across"]  # the board of the other protocol is compared with none
    assert across["slugs"] == [board["slug"] for board in data["boards"][:2]]
    (label, _, _, (place, interval), _), *_ = across["rows"]
    (best,) = [row for row in data["boards"][0]["rows"] if row["label"] == label]
    assert (place, label) == ("1", "los")
    assert interval == f"{100 * best['mean']:.2f} % ({100 * best['images'][0]:.2f} to {100 * best['images'][1]:.2f})"


def test_differences_over_backbones_stand_on_the_page(tmp_path, builder):
    """Boards of one split and two backbones: the page has the differences that the Markdown has."""
    store = Store(tmp_path / "results")
    for made in (builder, replace(builder, cache_key="cache-b")):
        for strategy, shift in (("joint", 0.0), ("los", 1.0)):
            store.write(*made.make(strategy, 0, shift))
    board = leaderboard(store.directory)
    data = read_data(board.write(tmp_path / "out", ["html"])[0].read_text())
    (found,), (wanted,) = data["differences"], board.effects
    assert (found["columns"], found["rows"], found["note"]) == (wanted.head, wanted.lines, wanted.note)
    assert [line[0] for line in found["rows"]] == ["los"]


def test_a_class_without_test_images_has_no_accuracy(builder):
    record, arrays = builder.make()
    kept = arrays["test_labels"] != 3
    arrays |= {name: arrays[name][kept] for name in ("test_labels", "test_predictions", "test_true_probability")}
    arrays["test/class_accuracy"][3], arrays["test/class_total"][3] = np.nan, 0
    hits = arrays["test_labels"] == arrays["test_predictions"]
    record.metrics["test"]["accuracy"] = float(hits.mean())
    (board,) = read_data(page(leaderboard([(record, arrays)], statistics=False).boards, registered()))["boards"]
    assert np.frombuffer(base64.b64decode(board["rows"][0]["classes"]), "<u2")[3] == 65_535
    assert board["classes"]["test"][3] == 0


def test_a_figure_and_its_interval_are_apart_and_a_text_is_whole(results):
    own = Column("mine", "Mine", lambda row: "not run")
    (board, *_) = read_data(page(leaderboard(results).boards, (*registered(), own)))["boards"]
    keys = [column["key"] for column in board["columns"]]
    for row in board["rows"]:
        accuracy, mine = row["cells"][keys.index("accuracy")], row["cells"][keys.index("mine")]
        assert re.fullmatch(r"\d+\.\d\d", accuracy["t"])
        assert accuracy["i"][0] in "±("
        assert (mine["t"], "i" in mine) == ("not run", False)
