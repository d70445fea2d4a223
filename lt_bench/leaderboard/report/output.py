"""A report in a terminal, as CSV and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lt_bench.core.errors import printable
from lt_bench.leaderboard.page.document import breakable, cards, escaped, html_document
from lt_bench.leaderboard.report.classes import ClassLine, ClassReport
from lt_bench.leaderboard.tables.cells import MISSING
from lt_bench.leaderboard.tables.text import csv_text

_NARROW = 120
IN_TERMINAL, IN_NARROW = 20, 12
"""Classes that a terminal shows."""


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:.0f}"


def _recall(one: ClassLine) -> str:
    return MISSING if math.isnan(one.recall) else f"{_percent(one.recall)} ({_percent(one.low)}-{_percent(one.high)})"


def class_table(report: ClassReport, width: int) -> Group:
    """The figures of the row and its worst classes in a terminal of ``width`` characters; in a narrow one what a class is taken for stands under its name."""
    narrow = width < _NARROW
    shown = IN_NARROW if narrow else IN_TERMINAL
    figures = Table(box=None, show_header=False, pad_edge=False)
    for line in report.figures:
        figures.add_row(*(Text(text, style="bold" if position == 1 else "") for position, text in enumerate(line)))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("Class and what it is taken for (images)" if narrow else "Class", overflow="fold")
    for title in ("Train", "Test", "Recall %", "Prec.", "F1"):
        table.add_column(title, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("Taken for (images)", overflow="fold")
    worst = report.worst_first
    for one in worst[:shown]:
        numbers = (f"{one.train:,}", f"{one.test:,}", _recall(one), _percent(one.precision), _percent(one.f1))
        others = [f"{printable(name)} {images:.3g}" for name, images in one.taken_for]
        name = Text(printable(one.name)).append("".join(f"\n  {other}" for other in others if narrow), "dim")
        table.add_row(name, *map(Text, numbers), *([] if narrow else [Text(", ".join(others))]))
    untested = len(report.classes) - len(worst)
    more = [f"{len(worst) - shown} more classes with test images are in the files." if len(worst) > shown else ""]
    more += [f"{untested} {'class has' if untested == 1 else 'classes have'} no test images." if untested else "", report.note]
    return Group(Text(report.title, style="bold"), figures, table, Text(" ".join(filter(None, more))))


def classes_csv(report: ClassReport) -> str:
    """A line for each class in label order: shares in %, empty where there is nothing to divide by."""
    head = ["class", "number", "group", "train_images", "test_images", "recall", "recall_low", "recall_high", "precision", "f1"]
    head += [text for n in (1, 2, 3) for text in (f"taken_for_{n}", f"images_{n}")]
    lines = []
    for one in report.classes:
        shares = ["" if math.isnan(value) else f"{100 * value:.6g}" for value in (one.recall, one.low, one.high, one.precision, one.f1)]
        pairs = [cell for name, images in one.taken_for for cell in (name, f"{images:.6g}")]
        lines.append([one.name, one.number, one.group, one.train, one.test, *shares, *pairs, *[""] * (6 - len(pairs))])
    return csv_text([head, *lines])


def confusions_csv(report: ClassReport) -> str:
    """A line for each pair of classes that occurs: true class, predicted class, images (mean over seeds)."""
    names = report.row.split.class_names
    return csv_text(
        [["true", "predicted", "images"], *([names[a], names[b], f"{n:.6g}"] for (a, b), n in sorted(report.confusions.items()))]
    )


def report_page(report: ClassReport, picture: tuple[Path, str], thumbnails: Mapping[int, Sequence[tuple[bytes, str]]], without: str) -> str:
    """The page.

    Args:
        report: the row class by class.
        picture: the SVG file of the confusions and what it shows.
        thumbnails: for some classes images that were taken for others: JPEG and the name of the class that each was taken for.
        without: why there are no thumbnails.
    """
    untested = [one for one in report.classes if not one.test]
    rows = "".join(map(_row, [*report.worst_first, *untested]))
    head = "".join(f'<th scope="col"{text}>{title}</th>' for title, text in _HEAD)
    source = base64.b64encode(picture[0].read_bytes()).decode()
    main = _MAIN.format(
        cards=cards(report.figures), note=escaped(report.note), head=head, rows=rows, source=source, caption=escaped(picture[1]),
        images=_images(report, thumbnails) or f'<p class="soft">{escaped(without)}</p>',
    )  # fmt: skip
    return html_document("report by class", report.row.label, report.board.title, main, style=_STYLE)


def _row(one: ClassLine) -> str:
    bar = "" if math.isnan(one.recall) else f' class="bar" style="--share:{one.recall:.3f}"'
    others = ", ".join(f"{breakable(name)}&nbsp;{images:.3g}" for name, images in one.taken_for)
    cells = f"<td>{one.train:,}</td><td>{one.test:,}</td><td{bar}>{_recall(one)}</td><td>{_percent(one.precision)}</td><td>{_percent(one.f1)}</td>"
    return f'<tr><td>{breakable(one.name)}</td><td class="text">{one.group}</td>{cells}<td class="text wrap">{others}</td></tr>'


def _images(report: ClassReport, thumbnails: Mapping[int, Sequence[tuple[bytes, str]]]) -> str:
    parts = []
    for number, images in thumbnails.items():
        one = report.classes[number]
        figures = "".join(
            f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"><figcaption>{escaped(name)}</figcaption></figure>'
            for jpeg, name in images
        )
        parts.append(
            f'<h3>{escaped(one.name)} <span class="soft">recall {_recall(one)} %, {one.train:,} training images; below each image what it was taken for</span></h3><div class="thumbs">{figures}</div>'
        )
    return "".join(parts)


_HEAD = (
    ("Class", ""),
    ("Group", ' class="text"'),
    ("Train", ""),
    ("Test", ""),
    ("Recall % (95 %)", ""),
    ("Precision %", ""),
    ("F1 %", ""),
    ("Taken for (images)", ' class="text"'),
)
_STYLE = """td.wrap, td:first-child { white-space: normal; min-width: 160px; }
td.wrap { min-width: 260px; }
h3 { overflow-wrap: anywhere; margin: 22px 0 6px; font-size: 1rem; }
h3 .soft { font-weight: 400; }
.confusions img { display: block; max-width: none; background: #fff; }
.thumbs { display: flex; flex-wrap: wrap; gap: 10px; }
.thumbs figure { margin: 0; padding: 0; width: 112px; border: 0; box-shadow: none; background: none; cursor: default; }
.thumbs img { width: 112px; height: 112px; object-fit: contain; background: #8883; border-radius: 6px; }
.thumbs figcaption { margin: 0; padding: 0; font-size: 0.74rem; line-height: 1.25; overflow-wrap: anywhere; }
"""
_MAIN = """{cards}
<p class="soft">{note}</p>
<h2>Classes, the lowest recall first</h2>
<div class="scroll tall" tabindex="0" role="region" aria-label="Classes"><table class="everything"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
<h2>Confusions</h2>
<p class="soft">{caption}</p>
<div class="scroll confusions" tabindex="0" role="region" aria-label="Confusions"><img alt="{caption}" src="data:image/svg+xml;base64,{source}"></div>
<h2>Images of the worst classes</h2>
{images}
"""
