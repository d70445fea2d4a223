"""Across boards: wins and mean rank with its interval, on a dense grid only, and the list of what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.labels import row_labels
from lt_bench.leaderboard.seeds import seed_text
from lt_bench.leaderboard.stats.findings import distinct, duplicates_note
from lt_bench.leaderboard.stats.over_boards import OverBoards
from lt_bench.leaderboard.ties import ranks

_NOBODY = "No two rows are on every board."
ACROSS = "Places among the rows that are on every board, by its objective; accuracies of different boards are never averaged."
_ALONE = "the only row on every board, ranked against nobody"
_CONTROL = "controls are in no comparison over boards"
_INEXACT = "float32 products that are less exact (--matmul) are in no comparison over boards"
_ANYWHERE = {_ALONE, _CONTROL, _INEXACT}  # reasons that no further run can remove
INTERVALS = "In brackets: 95 % interval of the mean rank, by a bootstrap of boards and of classes, which boards of one split share."


@dataclass(frozen=True, eq=False)
class Across:
    """Rows that exist on every board, best mean rank first.

    `ranks` (R, boards) are places within each board among these rows (ties share their mean place); accuracies of different boards are never averaged.
    `rows` has, for each label, its row on each board. `wins` counts first places. `left_out` gives the reason why a row is not ranked: its kind, or the boards on which its cell is empty or ambiguous; nothing is imputed.
    `repeated` maps the label of a row that equals another on every board to that other's label: the two share one place.
    `one_backbone` is a note on boards whose features come from the same weights.
    """

    boards: tuple[str, ...]
    labels: tuple[str, ...]
    scores: NDArray[np.float64]
    ranks: NDArray[np.float64]
    wins: NDArray[np.int64]
    left_out: Mapping[str, str]
    rows: tuple[tuple[Row, ...], ...] = ()
    repeated: Mapping[str, str] = field(default_factory=dict)
    one_backbone: str = ""

    @cached_property
    def once(self) -> list[int]:
        """Positions of the rows, without those that repeat another row on every board."""
        return [row for row, label in enumerate(self.labels) if label not in self.repeated]

    @cached_property
    def over_boards(self) -> OverBoards | None:
        """Tests and mean places of `once` with boards and classes as samples; None where class accuracies are not stored."""
        return OverBoards.of([self.rows[row] for row in self.once])

    @property
    def missing(self) -> tuple[str, ...]:
        """A line for each set of rows that are left out for the same reason."""
        alike: dict[str, list[str]] = defaultdict(list)
        for name, why in self.left_out.items():
            alike[why].append(name)
        return tuple(f"{', '.join(names)}: {why}" for why, names in alike.items())

    @property
    def intervals(self) -> NDArray[np.float64] | None:
        """(R, 2) ends of the 95 % interval of each mean place."""
        if self.over_boards is None:
            return None
        stands_for = [self.labels.index(self.repeated.get(label, label)) for label in self.labels]
        return self.over_boards.mean_places[[self.once.index(row) for row in stands_for]]

    @property
    def note(self) -> str:
        """Note on places and intervals, on duplicate rows and on shared backbones, or that no rows are compared."""
        if not self.labels:
            return _NOBODY
        return " ".join(filter(None, (ACROSS, "" if self.over_boards is None else INTERVALS, self.duplicates, self.one_backbone)))

    @property
    def duplicates(self) -> str:
        """A note on the rows that are one and the same on every board."""
        return " ".join(duplicates_note(self.repeated))

    @property
    def head(self) -> list[str]:
        """The titles of `lines`."""
        return ["Strategy", "Mean rank", "Wins", *self.boards]

    @property
    def lines(self) -> list[list[str]]:
        """A line of texts for each row."""
        ends = [""] * len(self.labels) if self.intervals is None else [f" ({low:.1f} to {high:.1f})" for low, high in self.intervals]
        numbers = zip(self.labels, self.mean_rank, ends, self.wins, self.ranks, strict=True)
        return [[label, f"{mean:.2f}{end}", str(wins), *(f"{rank:g}" for rank in places)] for label, mean, end, wins, places in numbers]

    @property
    def mean_rank(self) -> NDArray[np.float64]:
        """(R,) mean place."""
        return self.ranks.mean(1)


def across(rankings: list[BoardRows]) -> list[Across]:
    """One comparison for each protocol and mode that has at least two boards, without comparisons that have no rows and that no further run could give one. Controls and rows with less exact products take no part."""
    alike: dict[tuple[str, str], list[BoardRows]] = defaultdict(list)
    for board in rankings:
        alike[board.board.protocol, board.board.mode].append(board)
    compared = [_compare(group) for _, group in sorted(alike.items()) if len(group) > 1]
    return [result for result in compared if result.labels or not _ANYWHERE.issuperset(result.left_out.values())]


def _compare(rankings: list[BoardRows]) -> Across:
    by_key = [_compared_rows(board) for board in rankings]
    labels = row_labels(list(set().union(*by_key)))
    tables = [{labels[key]: rows for key, rows in table.items()} for table in by_key]
    names = sorted(set().union(*tables))
    dense = [name for name in names if all(len(table.get(name, ())) == 1 for table in tables)]
    alone, dense = (dense, []) if len(dense) == 1 else ([], dense)
    scores = np.array([[table[name][0].score.mean for table in tables] for name in dense]).reshape(len(dense), len(tables))
    signs = np.array([[1 if board.objective.lower else -1] for board in rankings])
    repeated = _duplicates(tables, dense)
    once = [row for row, name in enumerate(dense) if name not in repeated]
    stands_for = [once.index(dense.index(repeated.get(name, name))) for name in dense]
    places = np.array([ranks(board) for board in signs * scores[once].T]).T.reshape(len(once), len(tables))[stands_for]
    order = sorted(range(len(dense)), key=lambda row: (float(places[row].mean()), dense[row]))
    wins = (places == places.min(0)).sum(1) if dense else np.zeros(0, np.int64)
    ordered = tuple(dense[row] for row in order)
    rows = tuple(tuple(table[name][0] for table in tables) for name in ordered)
    return Across(
        tuple(board.short for board in rankings),
        ordered,
        scores[order],
        places[order],
        wins[order],
        dict.fromkeys(alone, _ALONE) | _left_out(rankings, tables, names),
        rows,
        repeated,
        one_backbone(rankings),
    )


def one_backbone(rankings: Sequence[BoardRows]) -> str:
    """A note on boards of one split whose features come from the same weights: they are one sample of backbones and count as several; empty where every board has weights of its own."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for ranking in rankings:
        weights = ranking.rows[0].text("weights_hash")
        if weights and ranking.board.mode == "head":  # elsewhere each run trained a network of its own
            alike[ranking.board.dataset, ranking.board.split_hash, weights].append(ranking.short)
    return " ".join(
        f"{' and '.join(boards)} are caches of one backbone (weights {weights[:8]}) and count as {len(boards)} boards: intervals and tests over boards are too narrow for other backbones."
        for (*_, weights), boards in alike.items()
        if len(boards) > 1
    )


def _left_out(rankings: list[BoardRows], tables: list[dict[str, list[Row]]], names: list[str]) -> dict[str, str]:
    """Reasons why rows are not compared, by label: a row is missing on a board, has several settings there, or is of a kind that takes no part."""
    reasons = {}
    for name in names:
        where: dict[str, list[str]] = defaultdict(list)
        for board, table in zip(rankings, tables, strict=True):
            if name not in table:
                where["missing"].append(board.short)
            elif len(table[name]) > 1:
                where[f"{len(table[name])} settings, of which the test set chooses none,"].append(board.short)
        if where:
            reasons[name] = "; ".join(f"{why} on {' and '.join(boards)}" for why, boards in where.items())
    return reasons | {row.label: why for board in rankings for row in board.rows if (why := _takes_no_part(row)) is not None}


def _duplicates(tables: list[dict[str, list[Row]]], names: list[str]) -> dict[str, str]:
    """Names of rows that repeat one and the same other on every board: duplicate -> the row it repeats."""
    of_boards = []
    for table in tables:
        labels = {table[name][0].label: name for name in names}
        of_boards.append({labels[one]: labels[other] for one, other in distinct([table[name][0] for name in names])[1].items()})
    return {name: other for name, other in of_boards[0].items() if all(board.get(name) == other for board in of_boards)}


def missing_seeds(ranking: BoardRows) -> list[str]:
    """One line that names the rows which lack seeds that others of the board have, none where nothing is missing.

    Rows that train nothing need one seed only, a user's own settings none.
    """
    trained = [row for row in ranking.rows if row.varies is not None and row.text("tuning") != "user"]
    wanted = sorted({seed for row in trained for seed in row.seeds})
    lacking: dict[str, list[str]] = defaultdict(list)
    for row in trained:
        if missing := sorted(set(wanted) - set(row.seeds)):
            lacking[seed_text(missing)].append(row.label)
    named = "; ".join(f"{seeds} of {', '.join(labels)}" for seeds, labels in lacking.items())
    return [f"Seeds that other rows have and that are missing: {named}."] if named else []


def _compared_rows(ranking: BoardRows) -> dict[tuple[str, ...], list[Row]]:
    """Rows by program and kind of tuning, without rows that take no part. Settings of the user's own are distinguished by their hyper-parameters, others are not."""
    table: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in ranking.rows:
        if _takes_no_part(row) is None:
            strategy, class_path, settings, kind, code = row.key
            of_kind = (settings, kind) if kind == "user" else ("{}", "official" if kind == "inferred" else kind)
            table[strategy, class_path, *of_kind, code].append(row)
    return table


def _takes_no_part(row: Row) -> str | None:
    """The reason why a row takes part in no comparison over boards; None for a row that does."""
    if row.control:
        return _CONTROL
    return None if row.exact else _INEXACT
