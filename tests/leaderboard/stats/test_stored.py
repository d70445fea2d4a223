"""Kept statistics hang on the content of records and predictions, are made anew where they cannot be read, and are never needed."""

import errno
import json
import math
import shutil
from operator import itemgetter

import numpy as np
import pytest

from lt_bench.core import stored
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.seals import sealed
from lt_bench.core.stored import STORED_NAME, read_stored, stored_or_computed
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.stats import statistics
from lt_bench.results.store import Store


@pytest.fixture
def results(tmp_path, builder):
    store = Store(tmp_path / "results")
    for strategy, skill in (("los", 1.0), ("ce", 0.0)):
        for seed in (0, 1):
            store.write(*builder.make(strategy, seed, skill))
    return store.directory


def shown(results, directory):
    return [(row.label, row.statistics) for ranking in leaderboard(results, statistics_dir=directory).boards for row in ranking.rows]


def test_flipped_and_cut_files_are_computed_again(results, tmp_path):
    directory, generator = tmp_path / "statistics", np.random.default_rng(0)
    right = shown(results, directory)
    (path,) = directory.iterdir()
    assert STORED_NAME.fullmatch(path.name)
    content = path.read_bytes()
    for position in generator.integers(len(content) - 1, size=15):
        path.write_bytes(content[:position] + bytes([content[position] ^ int(generator.integers(1, 256))]) + content[position + 1 :])
        with pytest.raises(UserError, match="anew"):
            read_stored(path)
        assert shown(results, directory) == right
        assert path.read_bytes() == content
    for damaged in (b"", b"\xff", b"{}\n", b"[" * 100_000, content[:-70]):
        path.write_bytes(damaged)
        assert shown(results, directory) == right
    assert read_stored(path)


def test_stored_text_of_another_shape_is_computed_again(tmp_path):
    path, value_of, absent = tmp_path / "x.json", itemgetter("value"), itemgetter("absent")
    write_text(path, json.dumps(sealed({"of": "another"})))
    assert stored_or_computed(path, lambda: 3.0, lambda value: {"value": value}, absent) == 3.0
    assert stored_or_computed(path, lambda: 1.0, lambda value: {"value": value}, value_of) == 3.0


def test_what_json_cannot_say_is_not_kept(tmp_path):
    for computed in (math.inf.__float__, (1.0).__float__):
        assert stored_or_computed(tmp_path / "x.json", computed, lambda value: {"value": value}, itemgetter("value")) == computed()


def test_statistics_of_another_program_are_computed_again(results, tmp_path, monkeypatch):
    right = shown(results, tmp_path)
    monkeypatch.setattr(statistics, "_program", lambda: "0" * 16)
    assert shown(results, tmp_path) == right
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_another_runs_predictions_are_never_shown_and_never_stay(results, tmp_path, builder):
    directory, paths = tmp_path / "statistics", Store(results).paths()
    right = shown(results, directory)
    one, other = (next(path.with_suffix(".npz") for path in paths if path.name.startswith(name)) for name in ("los-", "ce-"))
    own = one.read_bytes()
    for where in (directory, tmp_path / "fresh"):
        shutil.copyfile(other, one)
        with pytest.raises(UserError, match="run again") as error:
            shown(results, where)
        assert "\n" not in str(error.value)
        one.unlink()
        with pytest.raises(UserError, match="No such file"):
            shown(results, where)
        one.write_bytes(own)
        assert shown(results, where) == right


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_done_without(results, tmp_path, monkeypatch, number):
    right = shown(results, None)
    (tmp_path / "file").write_text("")
    assert shown(results, tmp_path / "file") == right

    def fails(path, text):
        raise OSError(number, "cannot be written")

    monkeypatch.setattr(stored, "write_text", fails)
    assert shown(results, tmp_path / "statistics") == right
    assert not (tmp_path / "statistics").exists()
