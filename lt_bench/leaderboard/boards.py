"""Boards and rows: what may be ranked together, and what is one line of a table."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.core.names import counted
from lt_bench.leaderboard.intervals import Estimate, seed_interval
from lt_bench.leaderboard.labels import classes_of, row_labels
from lt_bench.leaderboard.load import Runs, Split, from_records
from lt_bench.leaderboard.objective.objective import Objective, objective_of
from lt_bench.leaderboard.ties import tied
from lt_bench.results.health import signs_in
from lt_bench.results.record import MATMUL, PASSED, RunRecord
from lt_bench.results.store import TEST_GROUPS

if TYPE_CHECKING:
    from lt_bench.leaderboard.pairs import Pairs

Interval = Literal["images", "seeds", "none"]
"""The sample of ±: test images (of boards without statistics, which do not know them, head seeds), head seeds, or nothing."""
BOARD_FIELDS = ("dataset", "split_hash", "cache_key", "protocol", "mode")
_ROW_FIELDS = ("strategy", "class_path", "hyperparameters", "tuning", "code")
_WHY = {
    "dataset": "different tasks",
    "split_hash": "different images or classes: accuracies differ by more than a point from the split alone",
    "cache_key": "different features: the backbone, its weights or the views are not the same",
    "protocol": "a different way of training and evaluating",
    "mode": "a re-trained head is not a whole trained network",
}


@dataclass(frozen=True)
class Standing:
    """Standing of a row: places `first` to `last` are possible; rows that share a letter of `letters` (`b-e` has four) cannot be told apart. Large boards have no letters."""

    first: int
    last: int
    letters: str

    @property
    def text(self) -> str:
        """For instance `1-3 ab`; at most 12 characters on boards of up to 99,999 rows."""
        places = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{places} {self.letters}".rstrip()


NOTHING_TO_SET = "nothing to set"


@dataclass(frozen=True)
class RowStatistics:
    """Statistics of one row of a board: its standing (None for a control), and intervals over test images, or over groups of them, of its objective, of its difference to the best row, and of its accuracy on many, medium and few.

    `over_classes` and `behind_classes` are intervals over classes of the objective and of the difference to the best row; None where there are none. `sample` (N,) is the group of each test image; None where images are independent.
    """

    standing: Standing | None
    interval: tuple[float, float]
    behind: tuple[float, float] | None
    groups: dict[str, tuple[float, float]]
    over_classes: tuple[float, float] | None = None
    behind_classes: tuple[float, float] | None = None
    sample: NDArray[np.integer] | None = None


@dataclass(frozen=True, order=True)
class Board:
    """One ranking: runs on the same split, features, protocol and mode. Nothing else is ever ranked together."""

    dataset: str
    split_hash: str
    cache_key: str
    protocol: str
    mode: str

    @property
    def slug(self) -> str:
        """A name for files and anchors, unique to the board."""
        parts = (self.dataset, self.protocol, self.mode, self.split_hash[:8], self.cache_key[:8])
        return "-".join("".join(letter if letter.isalnum() or letter == "_" else "-" for letter in part) for part in parts)


@dataclass(frozen=True, eq=False)
class Row:
    """All runs that share everything but the seed. `positions` are their lines in the frame, sorted by seed; `objective` is that of the board."""

    runs: Runs
    board: Board
    positions: NDArray[np.intp]
    label: str
    objective: Objective
    statistics: RowStatistics | None = None
    computed: dict[str, Any] = field(default_factory=dict, repr=False)  # values of columns by key: every table asks for them

    def values(self, name: str) -> NDArray[np.float64]:
        """A numeric column for each seed (n,); NaN where a run does not have it."""
        if name not in self.runs.columns:
            return np.full(len(self.positions), np.nan)
        return self._column(name)[self.positions].astype(np.float64)

    def text(self, name: str) -> Any:
        """A field that all seeds share, or the first seed's."""
        return self._column(name)[self.positions[0]]

    def estimate(self, name: str) -> Estimate:
        """Mean and seed interval of a numeric column."""
        return seed_interval(self.values(name), self.varies)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """The objective (n,) of each seed: read from the records if they state it, as for macro and micro accuracy, else computed from stored predictions.

        Raises:
            UserError: a run lacks the stored predictions that the objective needs.
        """
        said = self.values(f"test/{self.objective.metric}")
        if not np.isnan(said).any():
            return said
        outcomes = (self.runs.read(int(position), "test_labels", "test_predictions") for position in self.positions)
        return np.array([self.objective.value(labels, predicted, len(self.split.class_names)) for labels, predicted in outcomes])

    @property
    def score(self) -> Estimate:
        """Mean and seed interval of the objective."""
        return seed_interval(self.scores, self.varies)

    @property
    def varies(self) -> str | None:
        """Random parts that the seeds vary; None where nothing is trained or only one value exists to vary."""
        varies = self.text("varies")
        return varies if isinstance(varies, str) else None

    @cached_property
    def hyperparameters(self) -> dict[str, Any]:
        """Every resolved hyper-parameter."""
        return json.loads(self.text("hyperparameters"))

    @property
    def origin(self) -> str:
        """Origin of the row's hyper-parameters, as in its records; `NOTHING_TO_SET` for a strategy that has none."""
        kind = str(self.text("tuning"))
        return NOTHING_TO_SET if kind in ("official", "inferred") and not self.hyperparameters else kind

    @property
    def control(self) -> bool:
        """Whether the row is a control, which is shown and not ranked."""
        return self.text("family") == "control"

    @property
    def verified(self) -> bool:
        """Whether every record of the row was repeated, as it stands, by `lt-bench verify` on a submission."""
        return self.runs.verified.issuperset(self._column("id")[self.positions])

    @property
    def exact(self) -> bool:
        """Whether the row was fitted with exact float32 products (`run --matmul highest`)."""
        return MATMUL not in self.hyperparameters

    @property
    def key(self) -> tuple[str, ...]:
        """Strategy, class, hyper-parameters, how they were tuned, and code."""
        return tuple(str(self.text(name)) for name in _ROW_FIELDS)

    @property
    def program(self) -> list[str]:
        """The program of a row, without hyper-parameters and their tuning."""
        return [str(self.text(name)) for name in _ROW_FIELDS if name not in ("hyperparameters", "tuning")]

    @property
    def name(self) -> str:
        """A name that no other row of any board has, of this row's identity alone: `los (tuned) 5d0c8a11, cifar100_lt-clean-head-b2b2aeb2-6f0b35a8`."""
        return f"{self.name_on_board}, {self.board.slug}"

    @property
    def name_on_board(self) -> str:
        """A name that no other row of this board has: `los (tuned) 5d0c8a11`."""
        kind = self.text("tuning")
        strategy = self.text("strategy") if kind == "official" else f"{self.text('strategy')} ({kind})"
        return f"{strategy} {hashlib.sha256(repr(self.key).encode()).hexdigest()[:8]}"

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return [int(seed) for seed in self.values("seed")]

    @property
    def varied_seeds(self) -> list[int] | None:
        """The seeds where they vary something, otherwise None."""
        return None if self.varies is None else self.seeds

    @property
    def split(self) -> Split:
        """Class names and training counts."""
        return self.runs.splits[self.board.cache_key]

    def _column(self, name: str) -> NDArray[Any]:
        return self.runs.columns[name]


@dataclass(frozen=True, eq=False)
class BoardRows:
    """A board with its rows, the best mean of the objective on test first; controls come after all others and have no places.

    `test_counts` (K,) are the numbers of test images of each class, None where no run has its predictions; `test_groups` (N,) is the group of each test image, None where images are independent; groups then are the sample of all statistics. With statistics, `resolvable` is
    the smallest resolvable difference, and `pairs` compares every two rows. Where only some rows of a board are here, `chosen_from` is the number of all rows, and `best` the label of the best row unless it is here. `interval` is the sample of the intervals in tables.
    """

    board: Board
    rows: list[Row]
    test_counts: NDArray[np.int64] | None
    resolvable: float | None = None
    pairs: Pairs | None = None
    chosen_from: int | None = None
    best: str = ""
    interval: Interval = "images"
    test_groups: NDArray[np.integer] | None = None

    @property
    def over(self) -> str:
        """The sample of its statistics: `test images`, or `40 groups of test images`."""
        return "test images" if self.test_groups is None else f"{counted(len(np.unique(self.test_groups)), 'group')} of test images"

    @property
    def objective(self) -> Objective:
        """The objective that the rows are ranked by."""
        return self.rows[0].objective

    @property
    def ranked(self) -> int:
        """Number of rows that are ranked; they come first."""
        return sum(not row.control for row in self.rows)

    @property
    def programs(self) -> str:
        """A line on strategies with rows of several programs; empty where there are none."""
        newest: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            newest[classes_of(row.key)].append(row)
        several = [
            max(rows, key=lambda row: row.text("finished")).label for rows in newest.values() if len({row.text("code") for row in rows}) > 1
        ]
        return f"Rows of one strategy with other code are other programs; the last to be run: {', '.join(several)}." if several else ""

    @property
    def health(self) -> str:
        """A line on rows with fits that look wrong; empty where there are none."""
        wrong = sum(bool(signs_in(row.runs.columns["health"][row.positions])) for row in self.rows)
        return (
            f"unhealthy: a fit of the row looks wrong, by the signs named ({wrong} of {len(self.rows)} rows; docs/records.md)."
            if wrong
            else ""
        )

    @property
    def shared_images(self) -> str:
        """A line on images that splits of the cache share, as the records say; empty where they share none."""
        said = [text for row in self.rows for text in row.runs.columns["shared_images"][row.positions] if isinstance(text, str)]
        return " ".join(dict.fromkeys(said))

    @property
    def task(self) -> str:
        """Dataset and imbalance, for instance `cifar100_lt, IF 100`; of one's own data, which have neither, the name of the cache too: `table plankton-lite0`."""
        dataset, factor, cache = self.board.dataset, self.rows[0].values("imbalance_factor")[0], self.rows[0].text("cache_name")
        if not np.isnan(factor):
            return f"{dataset}, IF {factor:g}"
        return f"{dataset} {cache}" if cache and cache != dataset else dataset

    @property
    def features(self) -> str:
        """Split, backbone and feature cache: what tells two boards of one task apart, for instance `seed0 split b2b2aeb2, resnet32 cache 6f0b35a8`."""
        selection = self.rows[0].text("selection")
        drawn = f"{selection} split" if selection and selection != "given" else "split"
        return f"{drawn} {self.board.split_hash[:8]}, {self.rows[0].text('backbone')} cache {self.board.cache_key[:8]}"

    @property
    def title(self) -> str:
        """Dataset, imbalance, split, backbone, cache and protocol; the mode where it is not a re-trained head; the objective."""
        mode = [] if self.board.mode == "head" else [self.board.mode]
        return ", ".join([self.task, self.features, self.board.protocol, *mode, f"objective {self.objective.text}"])

    @property
    def short(self) -> str:
        """A title for the head of a column: task, backbone, cache."""
        return f"{self.task}, {self.rows[0].text('backbone')} {self.board.cache_key[:8]}"

    @property
    def fingerprint(self) -> str:
        """32 hex digits of the objective and of the content of every record and of its predictions behind the board, row by row."""
        hashed = hashlib.sha256(self.objective.digest.encode())
        for row in self.rows:
            hashed.update(f"{len(row.positions)}\n".encode())
            for position in row.positions:
                hashed.update(hashlib.sha256(row.runs.content(int(position))).digest())
        return hashed.hexdigest()[:32]


def boards(runs: Runs, objective: str | None = None) -> list[BoardRows]:
    """Every board with its rows, ordered by data set, split and name of the cache; `objective` as in `objective_of`.

    Raises:
        UserError: the objective does not exist or its file does not fit the classes of a board, a run lacks the predictions that it needs, or records disagree on the groups of test images.
    """
    columns = runs.columns
    order = np.argsort(columns["seed"].astype(np.int64), kind="stable")
    members: dict[Board, dict[tuple[Any, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    board_values = zip(*(columns[name] for name in BOARD_FIELDS), strict=True)
    row_values = zip(*(columns[name] for name in _ROW_FIELDS), strict=True)
    keys = [(Board(*board), row) for board, row in zip(board_values, row_values, strict=True)]
    for position in order:
        board, row = keys[position]
        members[board][row].append(int(position))
    named = {board: columns["cache_name"][next(iter(rows.values()))[0]] for board, rows in members.items()}
    ordered = sorted(members, key=lambda board: (board.dataset, board.split_hash, named[board], board))
    of_split: dict[tuple[str, str], dict[tuple[Any, ...], None]] = defaultdict(dict)
    for board, rows in members.items():
        of_split[board.dataset, board.split_hash].update(dict.fromkeys(rows))
    return [_board_rows(runs, board, members[board], of_split[board.dataset, board.split_hash], objective) for board in ordered]


def row_of(record: RunRecord) -> Row:
    """The row that a record belongs to, with this record alone."""
    return boards(from_records([record]))[0].rows[0]


def one_board(runs: Runs, objective: str | None = None, **chosen: str) -> BoardRows:
    """The single board that fits `chosen` (values of the board's fields), ranked by an objective as of `boards`.

    Raises:
        UserError: none fits, or several do: the message says which field differs and why such runs are not ranked together.
    """
    if unknown := sorted(chosen.keys() - set(BOARD_FIELDS)):
        raise UserError(f"{', '.join(unknown)}: a board is chosen by {', '.join(BOARD_FIELDS)}")
    fitting = [
        ranking
        for ranking in boards(runs, objective)
        if all(str(getattr(ranking.board, name)).startswith(value) for name, value in chosen.items())
    ]
    if not fitting:
        raise UserError(f"no runs with {', '.join(f'{name}={value}' for name, value in chosen.items()) or 'any board'}")
    if len(fitting) > 1:
        differing = {name: sorted({str(getattr(ranking.board, name)) for ranking in fitting}) for name in BOARD_FIELDS}
        reasons = [
            f"{name} ({' / '.join(value[:16] for value in values)}: {_WHY[name]})" for name, values in differing.items() if len(values) > 1
        ]
        raise UserError(f"these runs are not ranked together because they differ in {'; '.join(reasons)}; choose one value of each")
    return fitting[0]


def _board_rows(
    runs: Runs, board: Board, members: dict[tuple[Any, ...], list[int]], of_split: Iterable[tuple[Any, ...]], named: str | None
) -> BoardRows:
    labels = row_labels(list(members), of_split)
    for key, positions in members.items():
        if runs.columns["family"][positions[0]] == "control":
            labels[key] = labels[key].replace(" (author-tuned)", "") + " (control)"  # who chose its settings stands under Tuning
        if any(isinstance(one, str) and one != PASSED for one in runs.columns["contract"][positions]):
            labels[key] += " (fails lt-bench check)"
        if signs := signs_in(runs.columns["health"][positions]):
            labels[key] += f" (unhealthy: {', '.join(signs)})"
    split = runs.splits[board.cache_key]
    shown = runs.find_array(next(iter(members.values()))[0], "test_labels")
    counts = None if shown is None else np.bincount(shown, minlength=len(split.class_names))
    try:
        objective = objective_of(named, split.class_names, split.train_counts, counts)
    except UserError as error:
        raise UserError(f"{board.dataset} (split {board.split_hash[:8]}): {error}") from None
    rows = [Row(runs, board, np.array(positions, dtype=np.intp), labels[key], objective) for key, positions in members.items()]
    scores = (1 if objective.lower else -1) * tied(np.array([np.mean(row.scores) for row in rows]))
    order = sorted(zip(scores, rows, strict=True), key=lambda pair: (pair[1].control, pair[0], pair[1].label))
    groups = _test_groups(runs, board, [position for positions in members.values() for position in positions])
    return BoardRows(board, [row for _, row in order], counts, test_groups=groups)


def _test_groups(runs: Runs, board: Board, positions: Iterable[int]) -> NDArray[np.integer] | None:
    """The group (N,) of each test image, as all records that have groups state it; None where none has."""
    holders: dict[str, int] = {}
    for position in positions:
        if (digest := runs.digest(position, TEST_GROUPS)) is not None:
            holders.setdefault(digest, position)
    if len(holders) > 1:
        first, second, *_ = (runs.columns["path"][position] or f"record {runs.columns['id'][position]}" for position in holders.values())
        raise UserError(
            f"{board.dataset} (split {board.split_hash[:8]}): {first} and {second} say other groups of the same test images; "
            "move those away whose groups are wrong, and run again"
        )
    return runs.array(next(iter(holders.values())), TEST_GROUPS) if holders else None
