"""The part of a board that a table or a figure shows: which rows and columns, under which names, with which digits and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lt_bench.core.documents import parse_yaml
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.names import suggestion
from lt_bench.leaderboard.boards import BoardRows, Interval, Row
from lt_bench.leaderboard.priors import prior_name
from lt_bench.leaderboard.stats.across import Across
from lt_bench.leaderboard.stats.effects import Effects
from lt_bench.leaderboard.stats.groups import standings
from lt_bench.leaderboard.tables.columns import Column, arranged


@dataclass(frozen=True)
class Selection:
    """Rows, columns and their looks.

    Attributes:
        show: keys or titles of columns, or test priors (`vets.csv`, `forward:25`), in their order; none: as each table has them.
        rows: labels (`los (tuned)`), strategies (`los`) or strategies with how they were tuned (`los:tuned`); none: all. Rows stay in the order of the board.
        names: what a row or column is called, by label, `STRATEGY:KIND`, strategy or key of the column.
        digits: behind the point, of percentages and other figures; None: as each column has them.
        interval: what the intervals run over: test images (of accuracies under any class shares), head seeds, or nothing.
    """

    show: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    digits: int | None = None
    interval: Interval = "images"

    def boards(self, rankings: list[BoardRows]) -> list[BoardRows]:
        """The boards with the chosen rows; those that have none of them are left out. Places are among the chosen rows, with tests corrected over all pairs of the board.

        Raises:
            UserError: a row that no board has.
        """
        if self == Selection():
            return rankings
        for spec in self.rows:
            if not any(_fitting(spec, ranking.rows) for ranking in rankings):
                rows = [row for ranking in rankings for row in ranking.rows]
                near = suggestion(spec, dict.fromkeys(text for row in rows for text in (row.label, str(row.text("strategy")), _spec(row))))
                raise UserError(f"no row {spec!r}{near or '; there are ' + ', '.join(dict.fromkeys(row.label for row in rows))}")
        return [shown for ranking in rankings if (shown := self._of_board(ranking)).rows]

    def effects(self, results: list[Effects]) -> list[Effects]:
        """Differences over boards of the chosen rows, with their names and digits; those that have none of them are left out."""
        if self == Selection():
            return results
        return [shown for result in results if (shown := self._of_effects(result)).rows]

    def across(self, results: list[Across]) -> list[Across]:
        """Comparisons across boards under the names of their rows; their rows are those of boards that are chosen already."""
        return [self._of_across(result) for result in results]

    def columns(self, ranking: BoardRows, columns: tuple[Column, ...], default: tuple[str, ...] = ()) -> tuple[Column, ...]:
        """The columns to show of a board, by `show`, else by `default`, else all, with their names, digits and intervals.

        Raises:
            UserError: no such column.
        """
        by_key = {column.key: column for column in (*columns, *arranged(columns, ranking.objective))}
        by_name = {column.title.lower(): column for column in by_key.values()} | by_key
        wanted = [by_key[key] for key in default] if not self.show else []
        for name in self.show:
            known = next((by_name[one] for one in (name, name.lower(), prior_name(name)) if one in by_name), None)
            if known is None:
                raise UserError(f"no column {name!r}{suggestion(name, by_key) or '; there are ' + ', '.join(by_key)}")
            wanted.append(known)
        return tuple(map(self._looks, wanted or arranged(columns, ranking.objective)))

    def unknown_names(self, rankings: Iterable[BoardRows], results: Iterable[Across], columns: Iterable[Column]) -> list[str]:
        """Keys of `names` that match no row of the boards or of the comparisons across them and no column, each with the closest match."""
        known = dict.fromkeys(column.key for column in columns) | {label: None for result in results for label in result.labels}
        for row in (row for ranking in rankings for row in ranking.rows):
            known |= dict.fromkeys((row.label, str(row.text("strategy")), _spec(row)))
        return [f"{name}{suggestion(name, known)}" for name in self.names if name not in known]

    def _of_board(self, ranking: BoardRows) -> BoardRows:
        at = sorted({place for spec in self.rows for place in _fitting(spec, ranking.rows)}) if self.rows else range(len(ranking.rows))
        chosen, pairs = [ranking.rows[position] for position in at], None
        if ranking.pairs is not None and at:
            pairs = ranking.pairs.of(at)
            R = sum(not row.control for row in chosen)
            places = [*standings(pairs.better(lower=ranking.objective.lower)[:R, :R]), *[None] * (len(chosen) - R)]
            chosen = [
                replace(row, statistics=replace(row.statistics, standing=standing))
                for row, standing in zip(chosen, places, strict=True)
                if row.statistics is not None
            ]
        rows = [replace(row, label=self._name(row), computed={}) for row in chosen]
        total = len(ranking.rows) if len(at) < len(ranking.rows) else None
        best = self._name(ranking.rows[0]) if ranking.pairs is not None and at and 0 not in at else ""
        return replace(ranking, rows=rows, pairs=pairs, chosen_from=total, best=best, interval=self.interval)

    def _of_across(self, result: Across) -> Across:
        named = {label: self._name(replace(rows[0], label=label)) for label, rows in zip(result.labels, result.rows, strict=True)}
        once = Counter(named.values())
        new = {label: name if once[name] == 1 else label for label, name in named.items()}  # a name of several settings tells none of them
        return replace(result, labels=tuple(new.values()), repeated={new[one]: new[other] for one, other in result.repeated.items()})

    def _of_effects(self, result: Effects) -> Effects:
        rows = [replace(effect.row, label=effect.label) for effect in result.rows]
        at = sorted({place for spec in self.rows for place in _fitting(spec, rows)}) if self.rows else range(len(rows))
        chosen = tuple(replace(result.rows[place], label=self._name(rows[place])) for place in at)
        digits = result.digits if self.digits is None else self.digits
        return replace(result, reference=self._name(replace(result.row, label=result.reference)), rows=chosen, digits=digits)

    def _name(self, row: Row) -> str:
        strategy = str(row.text("strategy"))
        own = next((self.names[name] for name in (row.label, _spec(row)) if name in self.names), None)
        return row.label.replace(strategy, self.names.get(strategy, strategy), 1) if own is None else own

    def _looks(self, column: Column) -> Column:
        if self.digits is not None and column.style not in ("text", "count"):
            column = replace(column, digits=self.digits, style="fixed" if column.style == "number" else column.style)
        return replace(column, title=self.names.get(column.key, column.title), interval=self.interval)


def read_names(path: Path) -> dict[str, str]:
    """Names of rows and columns from a YAML file of lines such as `los: LOS`.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    try:
        names = parse_yaml(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); names are lines such as `los: LOS`") from None
    except ValueError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}; names are lines such as `los: LOS`") from None
    if not isinstance(names, dict) or not all(isinstance(text, str) for pair in names.items() for text in pair):
        raise UserError(f"{path}: names are lines such as `los: LOS`, a text for a text")
    return names


def _spec(row: Row) -> str:
    return f"{row.text('strategy')}:{row.text('tuning')}"


def _fitting(spec: str, rows: list[Row]) -> list[int]:
    """Places of the rows that are meant: the one with this label, else those of the strategy tuned in this way, else those of the strategy."""
    texts = [(row.label, _spec(row), row.text("strategy")) for row in rows]
    return next((at for kind in range(3) if (at := [place for place, of_row in enumerate(texts) if of_row[kind] == spec])), [])
