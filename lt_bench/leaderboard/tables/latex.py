r"""LaTeX tables that fit one column: a bare `tabular` for `\input`, or a float with its caption; the document needs the package booktabs."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lt_bench.core.errors import printable
from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.seeds import seeds_text
from lt_bench.leaderboard.tables.cells import (
    MISSING,
    Cell,
    budget_note,
    chosen_note,
    interval_note,
    order_note,
    own_note,
    reference_note,
    table_cells,
    validation_note,
)
from lt_bench.leaderboard.tables.columns import Column, leading

COLUMN, PAGE = 234.0, (487.0, 620.0)
"""Points of a narrow column of a two-column article, and of width and height of its text: those of ICML; CVPR's columns have 237, IEEE's 252."""
NEEDS = r"% \usepackage{booktabs}"
_MARK = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        MISSING: "--",
        "†": r"$^\dagger$",
        "Δ": r"$\Delta$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
    }
)
# Widths of Computer Modern at 10 pt, in thousandths of it.
_WIDTHS = {
    letter: width
    for width, letters in (
        (278, "!'`,.:;il[]"), (334, "-~ "), (395, "fjrst()|I"), (445, "cez"), (500, '0123456789ago*^"†\\{}<>?$'), (556, "bdhknpuqvxy_/S"), (778, "w+=±&@mABCDEFHJKLNOPQRTUVXYZ"),
        (500, MISSING), (834, "%#mGΔ"), (1028, "MW"),
    )
    for letter in letters
}  # fmt: skip
_BOLD = 1.16


class _Type(NamedTuple):
    """A size of type: its command, width beside 10 pt (small type is the wider for its size), points beside each column of a table, points from line to line."""

    command: str
    scale: float
    sep: float
    baseline: float


_SIZES = (
    _Type("", 1.0, 6.0, 12.0), _Type("", 1.0, 4.0, 12.0), _Type(r"\small", 0.926, 4.0, 11.0), _Type(r"\footnotesize", 0.852, 3.0, 9.5),
    _Type(r"\scriptsize", 0.798, 2.0, 8.0),
)  # fmt: skip
_SMALL = 0.682  # an interval stands in \tiny


def latex_table(ranking: BoardRows, columns: tuple[Column, ...], full: bool = False) -> str:
    """One board as a bare `tabular` in the largest type that fits `COLUMN`, or, `full`, as a float with its caption: over both columns where no type fits one."""
    lines = [[row.label, *line] for row, line in zip(ranking.rows, table_cells(ranking, columns), strict=True)]
    size, width = _size(lines, columns, COLUMN)
    name = "table*" if full and width > COLUMN else "table"
    if name == "table*":
        size, width = _size(lines, columns, PAGE[0])
    half = [any(_parts(line[1 + index])[1] for line in lines) for index in range(len(columns))]
    align = ["l" if column.style == "text" else "r@{}l" if wide else "r" for column, wide in zip(columns, half, strict=True)]
    heads = [_head(escape(column.title), kind) for column, kind in zip(columns, align, strict=True)]
    body = [
        _line([escape(_text(line[0])), *(_cell(cell, kind) for cell, kind in zip(line[1:], align, strict=True) if isinstance(cell, Cell))])
        for line in lines
    ]
    table = [
        rf"\begingroup{size.command}\setlength{{\tabcolsep}}{{{size.sep:g}pt}}%",
        rf"\begin{{tabular}}{{@{{}}l{''.join(align)}@{{}}}}",
        r"\toprule",
        _line(["Strategy", *heads]),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}\endgroup",
    ]
    title, said = f"% {escape(ranking.title)}", escape(caption(ranking, columns)).replace(r" \%", r"\,\%")
    comments = _too_large(width, size.baseline * len(lines), name == "table*")
    if not full:
        return "\n".join([title, NEEDS, f"% {said}", *comments, *table]) + "\n"
    skip = r"\setlength{\belowcaptionskip}{6pt}"  # article has none: its captions stand below
    head = [rf"\begin{{{name}}}", rf"\centering{skip}", rf"\caption{{{said}}}", rf"\label{{tab:{ranking.board.slug}}}"]
    return "\n".join([title, NEEDS, *comments, *head, *table, rf"\end{{{name}}}"]) + "\n"


def _too_large(width: float, height: float, both: bool) -> list[str]:
    """Comments on a table that is wider or taller than where it goes, and on what makes it smaller."""
    space, over, else_ = (PAGE[0], "both columns", "") if both else (COLUMN, "a column", "; --full makes a float over both columns")
    wide = f"% about {width:.0f} pt wide, which is more than {over}: --digits 1, fewer columns (--show) or shorter names (--names) make it narrower{else_}"
    tall = f"% about {height:.0f} pt tall, which is more than a page: choose rows (--rows)"
    return [*[wide] * (width > space), *[tall] * (height > PAGE[1])]


def notes_on_size(document: str) -> list[str]:
    """The comments of a LaTeX file on tables that fit neither a column nor the page, each once."""
    return list(dict.fromkeys(line.removeprefix("% ") for line in document.splitlines() if line.startswith("% about ")))


def caption(ranking: BoardRows, columns: tuple[Column, ...]) -> str:
    """The caption: data, backbone, test images and seeds, what ± and the marks mean, what chose hyper-parameters and whether among as many points."""
    first, lead = ranking.rows[0], next((column.title for column in columns if column.key == leading(ranking.objective)), "")
    images = "" if ranking.test_counts is None else f", {ranking.test_counts.sum():,} test images"
    tested = (
        f"Bold {lead}: not told apart from the best (paired tests, Holm-corrected, 5 %); underlined: nor from the best of the others; elsewhere bold is the best mean, underlined the second."
        if ranking.pairs is not None and lead
        else "Bold: the best mean; underlined: the second."
    )
    parts = [
        f"{ranking.task}, {first.text('backbone')}, protocol {ranking.board.protocol}{images}; seeds {seeds_text(ranking.rows).replace('-', MISSING)}.",
        ranking.shared_images,
        order_note(ranking, columns),
        interval_note(ranking.rows, columns, ranking.interval, ranking.over),
        reference_note(ranking, columns),
        tested,
        chosen_note(ranking),
        validation_note(ranking.rows, sure=False),
        budget_note(ranking.rows, advice=False),
        own_note(columns),
    ]
    return " ".join(filter(None, parts))


def table_width(lines: list[list[str | Cell]], columns: tuple[Column, ...], scale: float, sep: float) -> float:
    """Points that a table takes up, from the widths of Computer Modern; a little more than it does."""
    total = max(_width(text, scale) for text in ("Strategy", *(_text(line[0]) for line in lines)))
    for index, column in enumerate(columns, 1):
        cells = [line[index] for line in lines]
        head = _width(column.title, scale)
        means = max(_width(_parts(cell)[0], scale) * _factor(cell) for cell in cells)
        halves = max(_width(_interval_text(_parts(cell)[1]), _SMALL) for cell in cells)
        total += max(head, means + halves) + 2 * sep
    return total


def escape(text: str) -> str:
    """Text with LaTeX's special characters made plain."""
    return printable(text).translate(_SPECIAL)


def _size(lines: list[list[str | Cell]], columns: tuple[Column, ...], space: float) -> tuple[_Type, float]:
    """The largest type in which the table fits, else the smallest, with the width there."""
    widths = [(size, table_width(lines, columns, size.scale, size.sep)) for size in _SIZES]
    return next((fitting for fitting in widths if fitting[1] <= space), widths[-1])


def _width(text: str, scale: float) -> float:
    return _thousandths(text) * scale / 100


@lru_cache(maxsize=1 << 16)
def _thousandths(text: str) -> int:
    """Width of a text in ``_WIDTHS``; every size of type asks for it."""
    return sum(_WIDTHS.get(letter, 1000) for letter in text)


def _factor(cell: str | Cell) -> float:
    return _BOLD if isinstance(cell, Cell) and cell.place == 1 else 1.0


def _text(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _parts(cell: str | Cell) -> tuple[str, str]:
    return (cell, "") if isinstance(cell, str) else cell.parts


def _head(title: str, kind: str) -> str:
    """A heading over its column: over both parts of one that has intervals, over the end of numbers."""
    return rf"\multicolumn{{2}}{{c}}{{{title}}}" if kind == "r@{}l" else title


def _cell(cell: Cell, kind: str) -> str:
    mean, interval = cell.parts
    marked = _MARK.get(cell.place or 0, "{}").format(escape(mean))
    return (
        marked
        if kind != "r@{}l"
        else f"{marked} & " + (rf"{{\tiny{escape(_interval_text(interval)).replace(' ', '~')}}}" if interval else "")
    )


def _interval_text(text: str) -> str:
    """An interval behind its figure, which ± touches and two ends do not."""
    return text.replace("± ", "±").replace("(", " (")


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
