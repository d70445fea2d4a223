"""Texts of values, the same in all tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from lt_bench.leaderboard.boards import BoardRows, Interval, Row
from lt_bench.leaderboard.intervals import ERROR_IS, TO, Estimate, fixed, objective_text
from lt_bench.leaderboard.objective.objective import explained
from lt_bench.leaderboard.stats.across import missing_seeds
from lt_bench.leaderboard.stats.findings import findings
from lt_bench.leaderboard.stats.ranking import statistics_note
from lt_bench.leaderboard.tables.columns import Column, Value, absent, arranged, choice_error, column_value, ends_over_images, leading
from lt_bench.results.record import whole_validation
from lt_bench.strategies.ensembles import ENSEMBLE

_OVER_IMAGES, _OVER_SEEDS = ("_low", "_high"), ("_seeds_low", "_seeds_high")
_LOPSIDED = f", or (low{TO}high), its ends, where one side is over a fifth shorter"
MISSING = "–"  # noqa: RUF001 - an en dash: no value


@dataclass(frozen=True)
class Cell:
    """A value with its text; `place` is 1 for the best and 2 for the second of the column on its board (`table_cells`)."""

    value: Value
    text: str
    place: int | None = None

    @property
    def parts(self) -> tuple[str, str]:
        """The text of the figure, and that of its interval: `± 0.40`, `(89.35–99.95)`, or nothing."""
        mean, _, interval = self.text.partition(" ") if isinstance(self.value, Estimate) else (self.text, "", "")
        return mean, interval


def number(value: Value) -> float:
    """The value as a number for sorting; NaN for text and for what is missing."""
    if isinstance(value, Estimate):
        return value.mean
    return float(value) if isinstance(value, int | float) else math.nan


def scale(column: Column) -> float:
    """Factor from a stored value to the one in a table."""
    return 100.0 if column.style == "percent" else 1.0


def value_text(value: Value, column: Column) -> str:
    """The text of a cell: "53.12" without an interval, with one as of `Estimate.text`."""
    if isinstance(value, str):
        return value
    if absent(value):
        return MISSING
    if column.style == "count":
        return f"{number(value):,.0f}"
    mean = number(value) * scale(column)
    decimals = _decimals(mean, column)
    return value.text(scale(column), decimals) if isinstance(value, Estimate) else fixed(mean, decimals)


def _decimals(value: float, column: Column) -> int:
    """The column's digits; three significant ones where those would say next to nothing (collapsed logits have LoMa near 0.02)."""
    if column.style != "number" or value == 0 or abs(value) >= 10.0 ** (1 - column.digits):
        return column.digits
    return min(max(column.digits, 2 - math.floor(math.log10(abs(value)))), 6)


def table_cells(ranking: BoardRows, columns: tuple[Column, ...]) -> list[list[Cell]]:
    """Cells of every row and column, with first and second places where the column has a better end.

    The objective by the tests: 1 for rows that may be the best, 2 for those that may be the best of the others; other columns, and boards without statistics, by the printed means.
    """
    values = [[column_value(row, column) for column in columns] for row in ranking.rows]
    result = [[Cell(column_value(row, column), _text(row, column)) for column in columns] for row in ranking.rows]
    for index, column in enumerate(columns):
        tested = rank_groups(ranking) if column.key == leading(ranking.objective) else {}
        for position, place in (tested or _places([line[index] for line in values[: ranking.ranked]], column)).items():
            cell = result[position][index]
            result[position][index] = Cell(cell.value, cell.text, place)
    return result


def rank_groups(ranking: BoardRows) -> dict[int, int]:
    """Position -> 1 for ranked rows that no row beats by the tests, 2 for rows that only rows of place 1 beat; empty without statistics."""
    if ranking.pairs is None:
        return {}
    better = ranking.pairs.better(lower=ranking.objective.lower)[: ranking.ranked, : ranking.ranked]
    first = better.sum(0) == 0
    second = ~first & (better[~first].sum(0) == 0)
    return {position: 1 if first[position] else 2 for position in range(len(first)) if first[position] or second[position]}


def flat_cells(rows: list[Row], columns: tuple[Column, ...], convert: Callable[[float, Column], Any]) -> tuple[list[str], list[list[Any]]]:
    """Names and plain cells: text as it is, numbers (NaN: missing) as `convert` gives them, the ends of intervals over test images and over seeds in columns of their own."""
    by_seeds = [replace(column, interval="seeds") for column in columns]
    values = [[column_value(row, column) for column in by_seeds] for row in rows]
    estimated = {index for line in values for index, value in enumerate(line) if isinstance(value, Estimate)}
    names = [
        column.key + end
        for index, column in enumerate(columns)
        for end in ("", *(_OVER_IMAGES if column.images else ()), *(_OVER_SEEDS if index in estimated else ()))
    ]
    lines: list[list[Any]] = []
    for row, line in zip(rows, values, strict=True):
        lines.append([])
        for index, (value, column) in enumerate(zip(line, columns, strict=True)):
            lines[-1].append(value if isinstance(value, str) else convert(number(value), column))
            ends = (ends_over_images(row, column) or (None, None)) if column.images else ()
            if index in estimated:
                ends = (*ends, *((value.low, value.high) if isinstance(value, Estimate) else (None, None)))
            lines[-1] += [convert(math.nan if end is None else end, column) for end in ends]
    return names, lines


def _text(row: Row, column: Column) -> str:
    """A cell's text, made once: every table asks for it."""
    key = f"{column.key} {column.interval} as text"
    if key not in row.computed:
        row.computed[key] = value_text(column_value(row, column), column)
    return row.computed[key]


def _places(values: list[Value], column: Column) -> dict[int, int]:
    """Position -> 1 or 2, by the printed text, so that what reads equal is marked equal; none where fewer than two rows have a value."""
    if column.better is None:
        return {}
    printed = {
        position: round(number(value) * scale(column), column.digits)
        for position, value in enumerate(values)
        if not math.isnan(number(value))
    }
    distinct = sorted(set(printed.values()), reverse=column.better == "higher")[:2]
    if len(distinct) < 2:
        return {}
    return {position: distinct.index(value) + 1 for position, value in printed.items() if value in distinct}


def usable(ranking: BoardRows, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns that at least one row of the board has a value for, that of the objective first."""
    return with_values(ranking, arranged(columns, ranking.objective))


def with_values(ranking: BoardRows, columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns, in their order, that at least one row of the board has a value for."""
    return tuple(column for column in columns if any(_text(row, column) != MISSING for row in ranking.rows))


def interval_note(rows: list[Row], columns: Iterable[Column], interval: Interval = "images", over: str = "test images") -> str:
    """Note on the meaning of ± in these rows and columns, and on intervals that ± would misstate; ``over`` is the sample of their statistics."""
    if interval == "none":
        return ""
    if interval == "images" and any(row.statistics is not None for row in rows):
        if not (spreads := _spreads(rows, columns)):
            return ""
        return f"±: half of the 95 % interval over {over}, of accuracies and of Gap{_LOPSIDED if '(' in spreads else ''}; other figures have none, nor have told, equal-bias and best-epoch accuracies. The head seeds and the backbone stay as they are{_moved_more(rows)}."
    varied = sorted({row.varies for row in rows if row.varies is not None and len(row.positions) > 1})
    if not varied:
        return "One run a row: no interval over seeds."
    return f"±: 95 % t interval over seeds ({'; '.join(varied)}); rows without it have one run or train nothing."


def _spreads(rows: list[Row], columns: Iterable[Column]) -> set[str]:
    """Notation of intervals in these columns: `±`, `(` of two ends, or both."""
    cells = (Cell(column_value(row, column), _text(row, column)) for column in columns if column.style != "text" for row in rows)
    return {interval[0] for cell in cells if (interval := cell.parts[1])}


def _moved_more(rows: list[Row]) -> str:
    """The rows whose objective has a wider interval over seeds than over images, with half of it."""
    named = []
    for row in rows:
        half, ends = row.score.half, None if row.statistics is None else row.statistics.interval
        if half is not None and ends is not None and 2 * half > ends[1] - ends[0]:
            named.append(f"{row.label} ± {objective_text(half, row.objective, 'points').rstrip()}")
    return f"; seeds move these more (--interval seeds): {', '.join(named)}" if named else ""


def chosen_note(ranking: BoardRows) -> str:
    """Note on rows that are not here; empty where all are."""
    if ranking.chosen_from is None:
        return ""
    return f"{len(ranking.rows)} of {ranking.chosen_from} rows: places are among these, tests corrected over all pairs of the board."


def reference_note(ranking: BoardRows, columns: Iterable[Column]) -> str:
    """Note on the board's best row, where a column shows differences to it and the row itself is not shown; empty otherwise."""
    titles = [column.title for column in columns if column.key in ("behind", "behind_over_classes")]
    return f"{' and '.join(titles)}: from {ranking.best}, the best row of the board, which is not shown." if titles and ranking.best else ""


def validation_note(rows: list[Row], *, sure: bool = True) -> str:
    """Note on the validation images that chose hyper-parameters, and, ``sure``, on how sure the choices are; empty where no row says it."""
    texts = [images for row in rows if (images := row.text("validation"))]
    longest = {whole_validation(images): images for images in sorted(texts, key=len)}  # of texts on all images, the one with their number
    said = Counter(longest[whole_validation(images)] for images in texts)
    if not said:
        return ""
    how_sure = _shares_text(rows) + _errors_text(rows) if sure else ""
    return f"Tuned: chosen on {', on '.join(f'{images} (rows: {count})' for images, count in said.items())}{how_sure}."


def budget_note(rows: list[Row], *, advice: bool = True) -> str:
    """Note on tuned rows of which some tried more points than others, with ``advice`` on how to mend it; empty where all tried as many.

    Ensembles are not counted: their points are those of all their members.
    """
    sizes = [float(row.values("grid_size")[0]) for row in rows if row.text("tuning") == "tuned" and not _is_ensemble(row)]
    tried = sorted(int(size) for size in sizes if not math.isnan(size))
    if not tried or tried[0] == tried[-1]:
        return ""
    mend = "; `lt-bench tune --budget N` tries at most N of each" if advice else ""
    return f"Tuned over {tried[0]} to {tried[-1]} points: more points are an advantage{mend}."


def _is_ensemble(row: Row) -> bool:
    return str(row.text("strategy")).startswith(f"{ENSEMBLE}(")


def _shares_text(rows: list[Row]) -> str:
    """`; chosen alone in 4 to 51 % of redrawn validation sets`; nothing where no row says it."""
    shares = sorted(share for row in rows if (share := float(row.values("alone_best")[0])) >= 0)
    ends = dict.fromkeys(f"{100 * share:.0f}" for share in shares[:1] + shares[-1:])
    return f"; chosen alone in {' to '.join(ends)} % of redrawn validation sets" if ends else ""


def _errors_text(rows: list[Row]) -> str:
    """The standard errors of the choices, with what they are; nothing where no row has one."""
    parts = []
    for unit, of_cost in ((" points", False), (" in units of the cost", True)):
        errors = sorted(error for row in rows if (error := choice_error(row)) >= 0 and (row.text("tuning_objective") == "cost") is of_cost)
        ends = dict.fromkeys(f"{error:.3g}" if of_cost else f"{error:.2f}" for error in (errors[:1] + errors[-1:]))
        parts += [" to ".join(ends) + unit] if ends else []
    return f"; standard error of the choice {' and '.join(parts)} ({ERROR_IS})" if parts else ""


_LEGEND = (
    "many",
    "medium",
    "few",
    "gap",
    "class_bias",
    "loma",
    "loma_balance",
    "rsd",
    "calibration_error",
    "fit_s",
    "published",
    "published_difference",
)


def legend(columns: tuple[Column, ...]) -> str:
    """One line that says what the less usual columns of a table are."""
    said = [f"{column.title} = {column.about}" for key in _LEGEND for column in columns if column.key == key]
    return "; ".join(said) + "." if said else ""


def notes(ranking: BoardRows, columns: tuple[Column, ...]) -> list[str]:
    """Notes that a reader of this board's table with these columns needs; of columns of the user's own, the program that computes them."""
    computed = ranking.rows[0].computed
    keys = {column.key for column in columns}
    lead = leading(ranking.objective) in keys
    if "notes on rows" not in computed:
        computed["notes on rows"] = [
            [chosen_note(ranking), validation_note(ranking.rows), budget_note(ranking.rows), ranking.programs, ranking.health],
            [] if ranking.chosen_from else [*findings(ranking), *missing_seeds(ranking)],
        ]
    about, of_strategies = computed["notes on rows"]
    said = [
        ranking.shared_images,
        order_note(ranking, columns) or f"Ranked by {explained(ranking.objective, ranking.test_counts)}.",
        interval_note(ranking.rows, columns, ranking.interval, ranking.over),
        reference_note(ranking, columns),
        *about,
        statistics_note(ranking, places="rank" in keys, figure=lead),
        *of_strategies,
        own_note(columns),
    ]
    return [note for note in said if note]


def order_note(ranking: BoardRows, columns: Iterable[Column]) -> str:
    """Note on the objective of a table that does not show it; empty where it is shown."""
    if any(column.key == leading(ranking.objective) for column in columns):
        return ""
    return f"Ordered by {ranking.objective.title}, which is not shown: {explained(ranking.objective, ranking.test_counts)}."


def own_note(columns: Iterable[Column]) -> str:
    """Note on the programs of columns of the user's own; empty without such."""
    own = sorted({f"{column.title} by {column.program}" for column in columns if column.code})
    return f"Columns of your own: {'; '.join(own)}." if own else ""
