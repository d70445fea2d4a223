"""The leaderboard as one HTML file that needs nothing else: data, style, script and plots inside, no network."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lt_bench.leaderboard.boards import Board, BoardRows, Row
from lt_bench.leaderboard.intervals import ends_text, fixed, objective_text
from lt_bench.leaderboard.page.by_class import add_classes, add_priors, outer_ends
from lt_bench.leaderboard.published.published import for_dataset
from lt_bench.leaderboard.stats.across import Across, across
from lt_bench.leaderboard.stats.effects import Effects
from lt_bench.leaderboard.stats.ranking import LETTERED
from lt_bench.leaderboard.stats.shares import GROUPS
from lt_bench.leaderboard.tables.against import about, beside_table
from lt_bench.leaderboard.tables.cells import MISSING, Cell, notes, number, table_cells, usable
from lt_bench.leaderboard.tables.columns import PUBLISHED, Column, leading, published_citation

_ON_A_PHONE = {"rank", "few"}
_MOST_COMPARED = 150
"""Rows of a board any two of which are compared on the page."""
_PLACES = "possible places by the tests (paired over {over}, each row with its variance over seeds, Holm-corrected)"
_CODE = re.compile(r"code ([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)")


def page(
    rankings: list[BoardRows],
    columns: tuple[Column, ...],
    plots: Mapping[Board, Sequence[tuple[Path, str]]] | None = None,
    differences: Sequence[Effects] = (),
) -> str:
    """The whole page.

    Args:
        rankings: the boards.
        columns: every column; those that are not `main` show in a row's details and on request.
        plots: for each board its SVG files with their captions, in order.
        differences: to one row over boards, with backbones and classes as samples.
    """
    data = {
        "boards": [_board(board, usable(board, columns), (plots or {}).get(board.board, ())) for board in rankings],
        "across": [_across(result) for result in across(rankings)],
        "differences": [{"note": result.note, "columns": result.head, "rows": result.lines} for result in differences],
        "besideNote": about(),
    }
    # "<" cannot end the script element from within a string
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    files = resources.files("lt_bench.leaderboard.page").joinpath("files")
    html = files.joinpath("page.html").read_text(encoding="utf-8")
    for mark, content in (
        ("/*CSS*/", files.joinpath("page.css").read_text(encoding="utf-8")),
        (
            "/*JS*/",
            "".join(
                files.joinpath(name).read_text(encoding="utf-8")
                for name in ("choice.js", "priors.js", "classes.js", "boards.js", "page.js")
            ),
        ),
        ("/*DATA*/", text),
    ):
        html = html.replace(mark, content, 1)
    return html


def _across(result: Across) -> dict[str, Any]:
    """Rows that are on every board: mean place with its interval, wins, and for each board place and interval; `slugs` are the boards."""
    note = " ".join(filter(None, (result.note, "Left out: " + "; ".join(result.missing) if result.missing else "")))
    lines = [
        [*line[:3], *([place, _interval(row)] for place, row in zip(line[3:], rows, strict=True))]
        for line, rows in zip(result.lines, result.rows, strict=True)
    ]
    return {"note": note, "columns": result.head, "rows": lines, "slugs": [row.board.slug for row in result.rows[0]] if result.rows else []}


def _interval(row: Row) -> str:
    """The objective with its interval over test images or their groups, else over seeds."""
    score = row.score
    seeds = None if score.low is None or score.high is None else (score.low, score.high)
    ends = ends_text(seeds if row.statistics is None else row.statistics.interval, row.objective)
    return objective_text(score.mean, row.objective) + (f" ({ends})" if ends else "")


def _board(ranking: BoardRows, columns: tuple[Column, ...], plots: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    board, first = ranking.board, ranking.rows[0]
    cells = table_cells(ranking, columns)
    rows = [_row(row, columns, line) for row, line in zip(ranking.rows, cells, strict=True)]
    ends = [end for row in rows for end in (row["mean"], *(row["images"] or ()), *(row["seeds"] or ()))]
    priors = {} if ranking.objective.lower else add_priors(ranking, columns, rows)
    return {
        "slug": board.slug,
        "short": ranking.short,
        "under": ", ".join([board.protocol, *([] if board.mode == "head" else [board.mode]), f"by {ranking.objective.text}"]),
        "dataset": ranking.task,
        "setting": ranking.title.removeprefix(f"{ranking.task}, "),
        "chips": _chips(ranking),
        "stage1": first.text("stage1"),
        "ranked": ranking.ranked,
        "summary": _summary(ranking),
        "notes": [note.replace(LETTERED, "") for note in notes(ranking, columns)],
        "scale": outer_ends(ends),
        "bars": {
            column.key: outer_ends([number(line[at].value) for line in cells]) for at, column in enumerate(columns) if column.key in GROUPS
        },
        "priors": priors,
        "classes": add_classes(ranking, rows),
        "pairs": _pairs(ranking),
        "over": ranking.over,
        "lead": leading(ranking.objective),
        "factor": 1 if ranking.objective.lower else 100,
        "baseline": next((row["mean"] for row, of in zip(rows, ranking.rows, strict=True) if of.label == "joint"), None),
        "columns": [
            {name: getattr(column, name) for name in ("key", "title", "about", "style", "better", "main")}
            | ({"about": _PLACES.format(over=ranking.over)} if column.key == "rank" else {})
            | {"phone": column.key in _ON_A_PHONE or column.key == leading(ranking.objective)}
            for column in columns
        ],
        "rows": rows,
        "beside": beside_table(ranking),
        "published": _published(board.dataset, float(first.values("imbalance_factor")[0])),
        "plots": [
            {"src": "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode(), "caption": caption}
            for path, caption in plots
        ],
    }


def _pairs(ranking: BoardRows) -> list[list[list[float | int | None]]] | None:
    """For each row and each after it: difference of the objective, half of its paired interval, whether the two are told apart; None for boards without statistics or with very many rows."""
    pairs, R = ranking.pairs, len(ranking.rows)
    if pairs is None or R > _MOST_COMPARED:
        return None
    return [
        [
            [round(float(pairs.difference[i, j]), 5), round(half, 5) if math.isfinite(half := float(pairs.half[i, j])) else None, int(pairs.different[i, j])]
            for j in range(i + 1, R)
        ]
        for i in range(R)
    ]  # fmt: skip


def _links(row: Row) -> list[tuple[str, str]]:
    """Title and address: a search for the paper, and the repositories of code that a strategy names."""
    paper, _, code = str(row.text("paper")).partition("; ")
    search = [("paper", f"https://www.semanticscholar.org/search?q={quote(paper)}")] if "," in paper else []
    return [*search, *((f"code {name}", f"https://github.com/{name}") for name in _CODE.findall(code))]


def _chips(ranking: BoardRows) -> list[tuple[str, str]]:
    """Name and value of each identity field of a board."""
    board, first = ranking.board, ranking.rows[0]
    return [
        ("dataset", ranking.task),
        ("backbone", str(first.text("backbone"))),
        ("protocol", board.protocol if board.mode == "head" else f"{board.protocol}, {board.mode}"),
        ("objective", ranking.objective.text),
        ("split", board.split_hash[:16]),
        ("cache", f"{first.text('cache_name')} {board.cache_key[:16]}"),
    ]


def _summary(ranking: BoardRows) -> list[tuple[str, str, str]]:
    """Cards above the table: label, value, more."""
    best, classes = ranking.rows[0], ranking.rows[0].split.groups
    records = sum(len(row.positions) for row in ranking.rows)
    cards = [
        (f"Best by {ranking.objective.text}", objective_text(best.score.mean, ranking.objective), best.label),
        ("Rows", f"{len(ranking.rows)}", f"{len({row.text('strategy') for row in ranking.rows})} strategies, {records} runs"),
        (
            "Classes",
            f"{len(best.split.train_counts)}",
            f"{classes.many.sum()} many, {classes.medium.sum()} medium, {classes.few.sum()} few; {best.split.train_counts.sum():,} training images",
        ),
    ]
    if best.statistics is not None:
        places = [row.statistics.standing for row in ranking.rows if row.statistics is not None]
        first = sum(standing is not None and standing.first == 1 for standing in places)
        cards.insert(1, ("May be the best", f"{first} of {ranking.ranked}", "cannot be told apart from the top (paired, Holm, 5 %)"))
    if ranking.resolvable is not None:
        cards.insert(
            2,
            (
                "Resolves",
                objective_text(ranking.resolvable, ranking.objective, "points"),
                "smallest difference of a typical pair, 80 % power",
            ),
        )
    return cards


def _row(row: Row, columns: tuple[Column, ...], cells: list[Cell]) -> dict[str, Any]:
    score = row.score
    images = None if row.statistics is None else row.statistics.interval
    environment = json.loads(row.text("environment"))
    facts = {
        "Hyper-parameters": ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(row.hyperparameters.items())),
        "Paper": str(row.text("paper")),
        "Class": str(row.text("class_path")),
        "Code": str(row.text("code")),
        "Family": str(row.text("family")),
        "Sampler": str(row.text("sampler")),
        "Trains": str(row.text("trains")),
        "Environment": ", ".join(f"{name} {value}" for name, value in environment.items()),
        "Records": " ".join(str(row.runs.columns["id"][position]) for position in row.positions),
    }
    search = " ".join([row.label, facts["Family"], str(row.text("tuning")), facts["Sampler"]]).lower()
    return {
        "label": row.label,
        "name": str(row.text("strategy")),
        "tag": row.text("tuning") if f"({row.text('tuning')})" in row.label else None,
        "rest": row.label[row.label.index("[") :] if "[" in row.label else None,
        "standing": None if row.statistics is None or row.statistics.standing is None else asdict(row.statistics.standing),
        "search": search,
        "mean": round(score.mean, 6),
        "seeds": None if score.low is None or score.high is None else [round(score.low, 6), round(score.high, 6)],
        "images": None if images is None else [round(end, 6) for end in images],
        "cells": [
            _cell(_without_letters(cell) if column.key == "rank" else cell, published_citation(row) if column.key in PUBLISHED else None)
            for column, cell in zip(columns, cells, strict=True)
        ],
        "facts": {name: value for name, value in facts.items() if value},
        "links": _links(row),
    }


def _without_letters(cell: Cell) -> Cell:
    return replace(cell, text=cell.text.partition(" ")[0])


def _cell(cell: Cell, source: str | None) -> dict[str, Any]:
    """Text of the figure and of its interval, value for sorting, place, and what is said on hover: of these, what there is."""
    value, (figure, interval) = number(cell.value), cell.parts
    data = {"t": figure, "i": interval or None, "v": None if math.isnan(value) else float(f"{value:.9g}"), "p": cell.place, "s": source}
    return {name: one for name, one in data.items() if one is not None}


def _published(dataset: str, imbalance_factor: float) -> list[list[str]]:
    """Published lines of the dataset, best first."""
    lines = sorted(for_dataset(dataset, imbalance_factor), key=lambda line: -(line.top1 or 0.0))
    return [
        [
            line.name,
            line.backbone,
            *(
                (MISSING if value is None else fixed(value, 1)) + (line.mark if index == 0 else "")
                for index, value in enumerate((line.top1, line.many, line.medium, line.few))
            ),
            line.citation,
        ]
        for line in lines
    ]
