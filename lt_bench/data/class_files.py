"""Files of a prior over classes and of costs of errors: CSV or JSON, classes by name or by number."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.names import suggestion

Numbers = NDArray[np.float64]


def read_prior(path: Path, class_names: Sequence[str]) -> Numbers:
    """(K,) shares of the classes, adding up to 1, from numbers in proportion to them: a CSV file with the columns ``class,prior``, or a JSON object.

    Raises:
        UserError: unreadable, a class is unknown, missing or stands twice, a number is negative, or all are 0.
    """
    prior = _by_class(path, class_names, "prior")
    if not prior.sum() > 0:
        raise UserError(f"{path}: every prior is 0; give at least one class more")
    return prior / prior.sum()


def read_costs(path: Path, class_names: Sequence[str]) -> Numbers:
    """(K, K) costs, true class by row and predicted class by column.

    One of: a CSV file of K lines of K numbers in label order; the same with the predicted classes in a first line and the true class before each line; a CSV file with
    the columns ``class,cost`` (or a JSON object), the cost of any error on a class, where what is right costs nothing.

    Raises:
        UserError: as of `read_prior`; or not K by K.
    """
    K = len(class_names)
    lines = [] if path.suffix == ".json" else _lines(path)
    if path.suffix == ".json" or _head(lines) == ["class", "cost"]:
        costs = np.repeat(_by_class(path, class_names, "cost")[:, None], K, 1)
        np.fill_diagonal(costs, 0.0)
    elif len(lines) == K + 1:
        rows = _positions(path, [line[0] for line in lines[1:]], class_names)
        columns = _positions(path, lines[0][1:], class_names)
        costs = np.empty((K, K))
        costs[np.ix_(rows, columns)] = _table(path, [line[1:] for line in lines[1:]], K)
    else:
        costs = _table(path, lines, K)
    if not costs.any():
        raise UserError(f"{path}: every cost is 0; give at least one error a cost")
    return costs


def _by_class(path: Path, class_names: Sequence[str], column: str) -> Numbers:
    """(K,) one number from 0 for every class."""
    if path.suffix == ".json":
        try:
            value = parse_json(path.read_bytes())
        except PermissionError as error:
            raise unreadable(path, error) from None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); expected a JSON object of class and {column}"
            ) from None
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: a {type(value).__name__}, expected a JSON object of class and {column}")
        pairs = [(name, str(number)) for name, number in value.items()]
    else:
        lines = _lines(path)
        if _head(lines) != ["class", column]:
            raise UserError(f"{path}: the first line is {','.join(lines[0] if lines else [])!r}, expected class,{column}")
        if wrong := next((number for number, line in enumerate(lines, 1) if len(line) != 2), None):
            raise UserError(f"{path}: line {wrong} has {len(lines[wrong - 1])} cells, expected class,{column}")
        pairs = [(line[0], line[1]) for line in lines[1:]]
    values = np.empty(len(class_names))
    values[_positions(path, [name for name, _ in pairs], class_names)] = [_number(path, number) for _, number in pairs]
    return values


def _positions(path: Path, words: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """The class of each word, every class once; words are names, or numbers from 0 where not one of them is a name.

    Raises:
        UserError: a class is unknown, missing or stands twice.
    """
    by_name = {name: position for position, name in enumerate(class_names)}
    by_number = {str(position): position for position in range(len(class_names))}
    known = by_name if any(word in by_name for word in words) else by_number if all(word in by_number for word in words) else by_name
    if unknown := [word for word in words if word not in known]:
        raise UserError(
            f"{path}: no class {unknown[0]!r}{suggestion(unknown[0], by_name)}; there are {len(class_names)}, by name or as 0 to {len(class_names) - 1}"
        )
    if twice := next((word for word in words if words.count(word) > 1), None):
        raise UserError(f"{path}: class {twice!r} stands twice")
    if missing := sorted(set(range(len(class_names))) - {known[word] for word in words}):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{path}: nothing for class {class_names[missing[0]]!r}{more}; every class needs a line, of 0 where it does not count"
        )
    return [known[word] for word in words]


def _table(path: Path, lines: Sequence[Sequence[str]], K: int) -> Numbers:
    """(K, K) numbers from 0."""
    if len(lines) != K or any(len(line) != K for line in lines):
        widest = max(map(len, lines), default=0)
        raise UserError(
            f"{path}: {len(lines)} lines of up to {widest} cells, expected {K} by {K} costs (true class by line, with or without class names), "
            "or the columns class,cost"
        )
    return np.array([[_number(path, cell) for cell in line] for line in lines])


def _number(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value < np.inf:
        raise UserError(f"{path}: {text!r} is no number from 0")
    return value


def _head(lines: Sequence[Sequence[str]]) -> list[str]:
    return [cell.lower() for cell in lines[0]] if lines else []


def _lines(path: Path) -> list[list[str]]:
    """The cells of a CSV file, without empty lines and space around cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    return [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in line)]
