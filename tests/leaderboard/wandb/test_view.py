"""Files of `wandb push`, read back from W&B's own offline files; what the dashboard is built of, without a network."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections import defaultdict

import numpy as np
import pytest
import wandb
from wandb_files import artifacts, items, messages

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.boards import boards, row_of
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import load_records
from lt_bench.leaderboard.plots.draw import PLOTS
from lt_bench.leaderboard.wandb import dashboard as wandb_dashboard
from lt_bench.leaderboard.wandb.ledger import LEDGER, Destination
from lt_bench.leaderboard.wandb.view import _cut, push, run_config, table
from lt_bench.results.store import Store


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Folder of W&B for the files of artifacts until they are sent."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))


def test_what_is_pushed_can_be_read_back_and_is_pushed_once(results, tmp_path):
    to = tmp_path / "here"
    first = push(results, Destination("p", directory=to), plots=False)
    ids = sorted(record.id for record in Store(results).records())
    assert sorted(name for name in first.written if not name.startswith("board-")) == ids
    assert len(first.written) == 3
    files = {path.parent.name.rpartition("-")[2]: path for path in to.glob("wandb/offline-run-*/*.wandb")}
    for record in Store(results).records():
        found = messages(files[record.id])
        run = next(message.run for message in found if message.WhichOneof("record_type") == "run")
        assert (run.run_id, run.project, run.run_group, run.job_type) == (record.id, "p", row_of(record).name, "fit")
        assert list(run.tags) == [record.strategy.family, "official", "clean", "head", record.dataset.name]
        config = items(run.config.update)
        assert {name: config[f"hyper_{name}"] for name in record.identity.hyperparameters} == record.identity.hyperparameters
        assert not any(isinstance(value, dict) for name, value in config.items() if name != "_wandb")  # flat
        assert (config["cache_key"], config["environment_torch"]) == (record.cache.key, record.environment["torch"])
        assert artifacts(found) == [(f"cache-{record.cache.key}", "cache", True), (f"record-{record.id}", "record", False)]
        summary = {}
        for message in found:
            if message.WhichOneof("record_type") == "summary":
                summary |= items(message.summary.update)
        for view, values in record.metrics.items():
            assert {name: summary.get(f"{view}/{name}") for name, value in values.items() if not np.isnan(value)} == pytest.approx(
                {name: value for name, value in values.items() if not np.isnan(value)}
            )
        history = [items(message.history.item) for message in found if message.WhichOneof("record_type") == "history"]
        assert [(line["_step"], line["fit/loss"]) for line in history if "fit/loss" in line] == [(1, 0.7)]
    again = push(results, Destination("p", directory=to), plots=False)
    assert again.written == []
    assert sorted(again.skipped) == sorted(first.written)
    assert len(list(to.glob("wandb/offline-run-*"))) == 3
    assert set(json.loads((to / LEDGER).read_text())) == {f"offline:/p/{name}" for name in first.written}


def test_a_run_and_its_board_say_that_splits_share_images(tmp_path, builder):
    record, arrays = builder.make("los", 0)
    assert "shared_images" not in run_config(record)
    record.cache.shared["test in train"] = [30, 200]
    Store(tmp_path / "leaky").write(record, arrays)
    push(tmp_path / "leaky", Destination(directory=tmp_path / "here"), plots=False)
    files = list(tmp_path.glob("here/wandb/offline-run-*/*.wandb"))
    runs = [message.run for file in files for message in messages(file) if message.WhichOneof("record_type") == "run"]
    said = [items(run.config.update)["shared_images"] for run in runs]
    assert len(said) == 2
    assert all(text.startswith("Splits are not independent: 30 of 200 test images (15.0 %) are also training images.") for text in said)


def test_a_board_has_its_table_and_its_plots(results, tmp_path, monkeypatch):
    some = {
        name: PLOTS[name] for name in ("accuracy_by_size", "difference_by_class", "norms_by_size")
    }  # tests/leaderboard/plots draws every one
    monkeypatch.setattr("lt_bench.leaderboard.plots.draw.PLOTS", some)
    push(results, Destination(directory=tmp_path / "here"))
    (board,) = tmp_path.glob("here/wandb/offline-run-*-board*")
    (written,) = board.glob("files/media/table/*.json")
    stored = json.loads(written.read_text())
    (found,) = boards(load_records(results))
    position = stored["columns"].index("accuracy")
    assert {line[0]: line[position] for line in stored["data"]} == pytest.approx(
        {row.label: row.estimate("test/accuracy").mean for row in found.rows}
    )
    (file,) = board.glob("*.wandb")
    made_of, table_of = artifacts(messages(file))
    assert (made_of[0], made_of[1:]) == (f"cache-{found.rows[0].runs.columns['cache_key'][0]}", ("cache", True))
    assert table_of[1:] == ("leaderboard", False)
    pictures = list(board.glob("files/media/images/plots/*.png"))
    assert {path.name.partition("_0_")[0].partition("_")[0] for path in pictures} == {"accuracy", "difference", "norms"}


def test_a_head_of_ones_own_without_a_family_is_pushed(tmp_path, builder):
    """W&B refuses an empty tag and one of more than 64 letters."""
    records = tmp_path / "own"
    for seed, family in enumerate(("", "a" * 70)):
        Store(records).write(*builder.make("my_head.MyHead", seed, 1.0, family=family))
    push(records, Destination("p", directory=tmp_path / "here"), plots=False)
    tags = []
    for record in Store(records).records():
        (path,) = tmp_path.glob(f"here/wandb/offline-run-*-{record.id}/*.wandb")
        run = next(message.run for message in messages(path) if message.WhichOneof("record_type") == "run")
        tags.append(list(run.tags))
    common = ["official", "clean", "head", record.dataset.name]
    assert sorted(tags, key=len) == [common, ["a" * 64, *common]]


def test_what_wandb_says_of_a_bad_name_is_one_line(results, tmp_path):
    with pytest.raises(UserError, match=r"W&B refused run .*project") as error:
        push(results, Destination("a/b", directory=tmp_path / "here"), plots=False)
    assert "\n" not in str(error.value)


def test_a_new_record_is_pushed_and_its_board_again(results, tmp_path, builder, monkeypatch):
    for package in ("matplotlib", "lt_bench.leaderboard.plots.draw"):  # which a push without plots does without
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="`--plots false` needs the package matplotlib"):
        push(results, Destination(directory=tmp_path / "here"))
    push(results, Destination(directory=tmp_path / "here"), plots=False)
    Store(results).write(*builder.make("crt", 0, 0.5))
    second = push(results, Destination(directory=tmp_path / "here"), plots=False)
    assert len(second.written) == 2
    assert sum(name.startswith("board-") for name in second.written) == 1


def test_table_has_the_ends_of_intervals(results, builder):
    Store(results).write(*builder.make("los", 1, 1.0))
    (found,) = boards(load_records(results))
    names, data = table(found)
    line = dict(zip(names, data[0], strict=True))
    estimate = found.rows[0].estimate("test/accuracy")
    assert (line["accuracy_seeds_low"], line["accuracy_seeds_high"]) == (estimate.low, estimate.high)
    assert line["accuracy_low"] is None  # without statistics


def test_online_without_an_account_is_one_line(results, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "5")
    with pytest.raises(UserError, match="wandb login") as error:
        push(results, Destination(directory=tmp_path / "here", online=True), plots=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "here" / LEDGER).exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb-workspaces' own
def test_the_dashboard_of_a_board_is_built_without_a_network(results):
    (board,) = leaderboard(results).boards
    workspace = wandb_dashboard.workspace("me", "p", board)
    assert workspace.name == board.title
    assert [section.name for section in workspace.sections] == ["Accuracy", "Logits", "Fit"]
    report = wandb_dashboard.report("me", "p", board)
    assert report.blocks[0].text.count("\n| ") == 4  # its table: a heading, a line, two rows
    assert "Holm" in report.blocks[0].text
    grids = [block for block in report.blocks if hasattr(block, "runsets")]
    for grid in grids:
        assert (grid.runsets[0].entity, grid.runsets[0].project) == ("me", "p")
        grid.runsets[0].entity = grid.runsets[0].project = ""  # with them it would ask the server for the project's id
    kinds = ["official", "inferred", "author-tuned", "tuned", "user"]
    shown = [(kinds, ["row_of_board.value"])] * 4 + [
        (["leaderboard"], [])
    ]  # the workspace and four grids of rows, one of the board's figures
    runs = [workspace._to_model().spec.section.run_sets[0], *(grid.runsets[0]._to_model() for grid in grids)]
    for one, (tags, groups) in zip(runs, shown, strict=True):
        asked = {(leaf["key"]["section"], leaf["key"]["name"], leaf["op"]): leaf["value"] for leaf in one.filters["filters"]}
        assert asked == {("config", "board", "="): board.board.slug, ("run", "tags", "IN"): tags}
        assert [(key.section, key.name) for key in one.grouping] == [("config", name) for name in groups]
    bars = [panel for grid in grids for panel in grid.panels if type(panel).__name__ == "BarPlot"]
    assert [bar.metrics[0].name for bar in bars[:4]] == ["test/accuracy", "test/many", "test/medium", "test/few"]
    assert {(bar.groupby.name, bar.max_bars_to_show, bar.max_runs_to_show) for bar in bars} == {("row_of_board", 2, 2)}
    assert [panel.media_keys for panel in grids[-1].panels] == [[f"plots/{name}"] for name in wandb_dashboard.FIGURES]
    assert set(wandb_dashboard.FIGURES) <= set(PLOTS)


@pytest.mark.parametrize(("key", "reason"), [("", "No API key configured"), ("short", "40\\+ characters")])
def test_a_run_that_is_to_be_logged_online_asks_for_the_account_first(cli, tmp_path, monkeypatch, key, reason):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()  # a run of another test, in this process, may have left W&B offline
    done = cli("run", "--strategy", "joint", "--dataset", "cifar100_lt", "--wandb", "online")
    assert done.code == 2
    assert re.search(reason, done.err.splitlines()[-1])
    assert not (tmp_path / "results").exists()


def test_a_dashboard_without_an_account_is_one_line(results, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"me/p: .*API key.*; `wandb login`, then again"):
        wandb_dashboard.dashboard(results, "me", "p")


def test_without_the_extra_the_message_says_what_to_install(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match=r"lt-bench\[dashboard\]"):
        wandb_dashboard.dashboard(results, "me", "p")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_bar_is_a_row_of_the_leaderboard(tmp_path, builder):
    """Official and tuned runs, data sets, caches and protocols are never averaged, and no two runs have one name."""
    store = Store(tmp_path / "results")
    others = [
        dataclasses.replace(builder, **changes)
        for changes in ({"cache_key": "cache-b"}, {"dataset": "other", "cache_key": "cache-c"}, {"protocol": "images-eval"})
    ]
    for one in (builder, *others):
        for seed in (0, 1):
            for kind, epsilon in (("official", 0.98), ("tuned", 0.98), ("tuned", 0.9)):
                store.write(*one.make("los", seed, kind=kind, hyperparameters={"epsilon": epsilon}))
    push(store.directory, Destination(directory=tmp_path / "here"), plots=False)
    names, bars, of_boards = [], defaultdict(list), defaultdict(list)
    for path in (tmp_path / "here").glob("wandb/offline-run-*/*.wandb"):
        run = next(message.run for message in messages(path) if message.WhichOneof("record_type") == "run")
        if run.run_group != "leaderboard":
            names.append(run.display_name)
            config = items(run.config.update)
            assert run.run_group == config["row"]
            bars[config["board"], config["row"]].append(run.run_id)
            of_boards[config["board"], config[wandb_dashboard.ROW]].append(run.run_id)
    assert len(names) == len(set(names)) == 24
    rows = [row for ranking in boards(load_records(store.directory)) for row in ranking.rows]
    wanted = {(row.board.slug, row.name): sorted(row.runs.columns["id"][row.positions]) for row in rows}
    assert {key: sorted(ids) for key, ids in bars.items()} == wanted
    assert len(wanted) == 12
    assert sorted(map(sorted, of_boards.values())) == sorted(wanted.values())  # a dashboard shows one board, by the row without it
    assert len({name for _, name in wanted}) == 12  # the group of a run is its row alone
    for board in leaderboard(store.directory).boards:
        panels = [panel for section in wandb_dashboard.workspace("me", "p", board).sections for panel in section.panels]
        groups = [getattr(panel, "groupby", None) for panel in panels]
        assert {getattr(group, "name", group) for group in groups if group} == {"row_of_board"}


def test_a_long_group_is_cut_and_stays_its_own():
    first, second = ("x" * 200 + end for end in "ab")
    assert len(_cut(first)) == len(_cut(second)) == 128
    assert _cut(first) != _cut(second)
    assert _cut("short") == "short"


def test_a_damaged_ledger_is_one_line(results, tmp_path):
    (tmp_path / LEDGER).write_text("{")
    with pytest.raises(UserError, match=r"lt-bench-pushed\.json: damaged .*; move it away to push everything again"):
        push(results, Destination(directory=tmp_path), plots=False)
