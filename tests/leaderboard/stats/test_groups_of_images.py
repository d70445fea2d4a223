"""Boards whose records say the groups that their test images come in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.leaderboard.stats.ranking import ranked, statistics_note
from lt_bench.leaderboard.stats.statistics import board_statistics
from lt_bench.leaderboard.tables.cells import interval_note
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.results.store import Store
from tests.leaderboard.builder import Builder

FRAMES = 4
ONCE, FRAMED = Builder(per_class=20), Builder(per_class=20 * FRAMES)
TRACKS = np.arange(FRAMED.num_classes * FRAMED.per_class) // FRAMES
STRATEGIES = {"los": 0.6, "ncm": 0.3, "lda": -0.5}


def made(frames: int, groups: np.ndarray | None = None, said_by: tuple[str, ...] = tuple(STRATEGIES)):
    """Three strategies with three seeds on the same images, each of them `frames` times."""
    builder = ONCE if frames == 1 else FRAMED
    for name, skill in STRATEGIES.items():
        for seed in range(3):
            hits = np.repeat(ONCE.correct(name, skill, seed), frames)
            record, arrays = builder.make(name, seed, correct=hits)
            yield record, arrays | ({"test_groups": groups.astype(np.int32)} if groups is not None and name in said_by else {})


def board(*args, **kwargs):
    return boards(from_records(made(*args, **kwargs)))[0]


def widths(statistics):
    ends = [statistics.intervals, *statistics.groups.values(), statistics.behind[1:]]
    return np.concatenate([np.diff(np.array(one), axis=1)[:, 0] for one in ends])


@pytest.mark.parametrize("objective", ["macro", "micro"])
def test_frames_that_are_the_same_count_once(objective):
    once, framed, naive = (
        boards(from_records(made(frames, groups)), objective)[0] for frames, groups in ((1, None), (FRAMES, TRACKS), (FRAMES, None))
    )
    wanted, found, narrow = (board_statistics(one) for one in (once, framed, naive))
    assert widths(found) == pytest.approx(
        widths(wanted), rel=0.06
    )  # of many, medium and few with Student's t in place of the normal distribution
    assert widths(narrow).max() < 0.75 * widths(found).max()
    assert found.standings == wanted.standings
    above = np.triu_indices(len(STRATEGIES), 1)
    assert found.pairs.half[above] == pytest.approx(wanted.pairs.half[above], rel=0.02)


def test_groups_that_one_record_says_are_those_of_the_board(tmp_path):
    whole = board_statistics(board(FRAMES, TRACKS))
    store = Store(tmp_path)
    for record, arrays in made(FRAMES, TRACKS, said_by=("ncm",)):
        store.write(record, arrays)
    assert not store.validate()
    (read,) = boards(load_records(tmp_path))
    assert np.array_equal(read.test_groups, TRACKS)
    assert board_statistics(read) == whole
    assert read.fingerprint != boards(from_records(made(FRAMES)))[0].fingerprint


def test_notes_say_that_groups_are_the_sample():
    grouped = ranked(board(FRAMES, TRACKS))
    assert f"paired over {ONCE.num_classes * ONCE.per_class} groups of test images" in statistics_note(grouped)
    assert "(95 %, over 200 groups of test images within classes)" in statistics_note(
        ranked(boards(from_records(made(FRAMES, TRACKS)), "macro")[0])
    )
    assert "over 200 groups of test images, of accuracies" in interval_note(grouped.rows, registered(), over=grouped.over)
    assert "groups of test images" not in statistics_note(ranked(board(FRAMES)))


def test_records_that_say_other_groups_are_refused():
    runs = [*made(FRAMES, TRACKS, said_by=("ncm",))]
    record, arrays = runs[-1]
    with pytest.raises(UserError, match=r"say other groups of the same test images; move those away whose groups are wrong"):
        boards(from_records([*runs[:-1], (record, arrays | {"test_groups": TRACKS[::-1].astype(np.int32)})]))


def test_the_store_refuses_groups_of_other_images(tmp_path):
    record, arrays = next(made(FRAMES, TRACKS))
    with pytest.raises(UserError, match=r"test_groups has shape \(799,\), expected \(800,\)"):
        Store(tmp_path).write(record, arrays | {"test_groups": TRACKS[1:]})
    assert Store(tmp_path).write(record, arrays).arrays.keys() == arrays.keys()
    with pytest.raises(UserError, match="already recorded with other content"):
        Store(tmp_path).write(replace(record), arrays | {"test_groups": TRACKS + 1})
