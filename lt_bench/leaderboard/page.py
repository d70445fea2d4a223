"""The leaderboard as one HTML file that needs nothing else: data, style, script and plots inside, no network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lt_bench.leaderboard.across import across
from lt_bench.leaderboard.boards import Board, BoardRows, Row
from lt_bench.leaderboard.cells import MISSING, Cell, fixed, notes, number, table_cells, usable
from lt_bench.leaderboard.columns import Column
from lt_bench.leaderboard.published import for_dataset

_ON_A_PHONE = {"rank", "accuracy", "few"}


def page(found: list[BoardRows], columns: tuple[Column, ...], plots: Mapping[Board, Sequence[tuple[Path, str]]] | None = None) -> str:
    """The whole page.

    Args:
        found: the boards.
        columns: every column; those that are not `main` show in a row's details and on request.
        plots: for each board its SVG files with their captions, in order.
    """
    data = {
        "boards": [_board(board, usable(board, columns), (plots or {}).get(board.board, ())) for board in found],
        "across": [
            {
                "note": "Places among the rows that are on every board; accuracies of different boards are never averaged. "
                + ("Left out: " + "; ".join(result.missing) if result.missing else ""),
                "columns": ["Strategy", "Mean rank", "Wins", *result.boards],
                "rows": [
                    [label, f"{result.mean_rank[index]:.2f}", str(result.wins[index]), *(f"{rank:g}" for rank in result.ranks[index])]
                    for index, label in enumerate(result.labels)
                ],
            }
            for result in across(found)
        ],
    }
    # "<" cannot end the script element from within a string
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    files = resources.files("lt_bench.leaderboard").joinpath("page_files")
    html = files.joinpath("page.html").read_text(encoding="utf-8")
    for mark, content in (
        ("/*CSS*/", files.joinpath("page.css").read_text(encoding="utf-8")),
        ("/*JS*/", files.joinpath("page.js").read_text(encoding="utf-8")),
        ("/*DATA*/", text),
    ):
        html = html.replace(mark, content, 1)
    return html


def _board(found: BoardRows, columns: tuple[Column, ...], plots: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    board, first = found.board, found.rows[0]
    cells = table_cells(found, columns)
    rows = [_row(row, line) for row, line in zip(found.rows, cells, strict=True)]
    ends = [end for row in rows for end in (row["mean"], *(row["images"] or ()), *(row["seeds"] or ()))]
    return {
        "slug": board.slug,
        "title": found.title,
        "dataset": found.title.partition(f", {first.text('backbone')}")[0],
        "setting": f"{board.protocol}, {board.mode}, {first.text('backbone')}, cache {board.cache_key[:8]}",
        "split": board.split_hash[:16],
        "cache": board.cache_key[:16],
        "notes": notes(found),
        "scale": [min(ends), max(ends)],
        "columns": [
            {
                "key": column.key,
                "title": column.title,
                "about": column.about,
                "style": column.style,
                "better": column.better,
                "main": column.main,
                "phone": column.key in _ON_A_PHONE,
            }
            for column in columns
        ],
        "rows": rows,
        "published": _published(board.dataset, float(first.values("imbalance_factor")[0])),
        "plots": [
            {"src": "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode(), "caption": caption}
            for path, caption in plots
        ],
    }


def _row(row: Row, cells: list[Cell]) -> dict[str, Any]:
    accuracy = row.estimate("test/accuracy")
    images = None if row.statistics is None else row.statistics.interval
    environment = json.loads(row.text("environment"))
    facts = {
        "Hyper-parameters": ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(row.hyperparameters.items())),
        "Paper": str(row.text("paper")),
        "Class": str(row.text("class_path")),
        "Family": str(row.text("family")),
        "Sampler": str(row.text("sampler")),
        "Trains": str(row.text("trains")),
        "Environment": ", ".join(f"{name} {value}" for name, value in environment.items()),
        "Records": " ".join(str(row.runs.columns["id"][position]) for position in row.positions),
    }
    search = " ".join([row.label, facts["Family"], str(row.text("tuning")), facts["Sampler"]]).lower()
    return {
        "label": row.label,
        "search": search,
        "mean": round(accuracy.mean, 6),
        "seeds": None if accuracy.low is None or accuracy.high is None else [round(accuracy.low, 6), round(accuracy.high, 6)],
        "images": None if images is None else [round(end, 6) for end in images],
        "cells": [_cell(cell) for cell in cells],
        "facts": {name: value for name, value in facts.items() if value},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    value = number(cell.value)
    return {"t": cell.text, "v": None if math.isnan(value) else float(f"{value:.9g}"), "p": cell.place}


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
