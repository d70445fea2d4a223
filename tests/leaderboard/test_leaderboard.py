from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

import lt_bench as lt
from lt_bench.core.errors import UserError
from lt_bench.results.store import Store


@pytest.fixture
def made(builder):
    return [builder.make(strategy, seed, skill) for strategy, skill in (("los", 2.5), ("ce", 0.0)) for seed in range(3)]


def test_memory_and_files_give_the_same_tables(made, tmp_path):
    store = Store(tmp_path / "results")
    for record, arrays in made:
        store.write(record, arrays)
    of_files, of_pairs = lt.leaderboard(store.directory), lt.leaderboard(made)
    of_runs = lt.leaderboard(SimpleNamespace(record=record, arrays=arrays) for record, arrays in made)
    assert of_files.csv == of_pairs.csv == of_runs.csv
    assert list(of_pairs.frame["rank"]) == ["1 a", "2 b"]
    (ranking,) = of_pairs.boards
    assert [row.label for row in ranking.rows] == ["los", "ce"]


def test_a_run_given_twice_counts_once(made):
    record, arrays = made[0]
    slower = replace(record, time=replace(record.time, fit_s=99.0))
    assert lt.leaderboard([record, *made, (slower, arrays)]).csv == lt.leaderboard(made).csv
    other = replace(record, metrics=record.metrics | {"train": record.metrics["train"] | {"nll": 9.0}})
    with pytest.raises(UserError, match=f"run {record.id} was given twice, with another train/nll; leave one of them out"):
        lt.leaderboard([*made, other])


def test_two_files_of_one_run_are_both_named(made, tmp_path):
    store = Store(tmp_path / "my results")
    record = store.write(*made[0])
    path, folder = store.path(record), store.directory / "embeddings"
    shutil.copytree(path.parent, folder)
    with pytest.raises(UserError, match="are the same run: move one of them out of") as caught:
        lt.leaderboard(store.directory)
    assert str(path) in str(caught.value)
    assert str(folder / path.name) in str(caught.value)
    shutil.rmtree(folder)
    other = Store(tmp_path / "other").write(
        replace(record, metrics=record.metrics | {"train": record.metrics["train"] | {"nll": 9.0}}), made[0][1]
    )
    shutil.copytree(Store(tmp_path / "other").path(other).parent, folder)
    with pytest.raises(UserError, match=r"with another train/nll; `lt-bench verify '\S+/my results/\S+\.json'` says which one repeats"):
        lt.leaderboard(store.directory)


def test_nothing_is_written_or_printed_unless_asked(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    board = lt.leaderboard(made)
    assert len(board.frame) == len(board.boards[0].rows) == 2
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    files = board.write(tmp_path / "out", ["csv", "markdown"])
    assert (
        sorted(path.name for path in files)
        == sorted(path.name for path in (tmp_path / "out").iterdir())
        == ["LEADERBOARD.md", "leaderboard.csv"]
    )
    with pytest.raises(UserError, match="no such leaderboard format: pdf"):
        board.write(tmp_path / "other", ["pdf"])
    assert not (tmp_path / "other").exists()


def test_a_file_that_is_none_of_a_leaderboard_is_not_replaced(made, tmp_path):
    board = lt.leaderboard(made)
    files = board.write(tmp_path)
    assert board.write(tmp_path) == files
    for path in files:
        text = path.read_text()
        path.write_text("of the user")
        with pytest.raises(UserError, match=f"{path.name}: not a file that lt-bench wrote"):
            board.write(tmp_path)
        path.write_text(text)
    assert board.write(tmp_path, full=True) == board.write(tmp_path) == files


def test_records_without_predictions_have_no_ranks(made):
    records = [record for record, _ in made]
    board = lt.leaderboard(records)
    assert board.frame["rank"].isna().all()
    assert list(board.frame["accuracy"]) == list(lt.leaderboard(made).frame["accuracy"])
    position = list(board.runs.columns["id"]).index(records[0].id)
    with pytest.raises(UserError, match=f"record {records[0].id}: no array test_labels"):
        board.runs.array(position, "test_labels")


def test_files_of_boards_that_are_gone_are_removed_and_no_others(builder, tmp_path):
    def boards_of(*caches):
        made = [replace(builder, cache_key=key).make(name, 0, skill)[0] for key in caches for name, skill in (("los", 1.0), ("ce", 0.0))]
        return lt.leaderboard(made)

    several = [path.name for path in boards_of("cache-a", "cache-b", "cache-c").write(tmp_path, ["latex"])]
    assert len(several) == 4
    own, edited = tmp_path / "leaderboard-own.tex", tmp_path / several[2]
    own.write_text("of the user")
    edited.write_text("edited by the user")
    boards_of("cache-a").write(tmp_path, ["csv"])
    assert (tmp_path / several[1]).is_file()  # tables of another format are not touched
    boards_of("cache-a").write(tmp_path, ["latex"])
    assert sorted(path.name for path in tmp_path.glob("*.tex")) == sorted(["leaderboard.tex", own.name, edited.name])
    assert edited.read_text() == "edited by the user"
    (tmp_path / "files.json").write_text("{damaged")
    boards_of("cache-a").write(tmp_path, ["latex"])
    assert own.is_file()
