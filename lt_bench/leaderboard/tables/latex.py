"""LaTeX tables: booktabs, best bold, second underlined."""

from __future__ import annotations

from lt_bench.core.errors import printable
from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.tables.cells import MISSING, notes, table_cells
from lt_bench.leaderboard.tables.columns import Column

_MARK = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
_SPECIAL = {
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
}
_SPECIAL |= {
    "±": r"$\pm$",
    MISSING: "--",
    "†": r"$^\dagger$",
    "Δ": r"$\Delta$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def latex_table(ranking: BoardRows, columns: tuple[Column, ...]) -> str:
    """One board as a `table*` environment; the document needs the package booktabs."""
    align = "l" + "".join("l" if column.style == "text" else "r" for column in columns)
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(ranking.title)}. {escape(' '.join(notes(ranking, columns)))}}}",
        rf"\label{{tab:{ranking.board.slug}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _line(["Strategy", *(escape(column.title) for column in columns)]),
        r"\midrule",
    ]
    for row, cells in zip(ranking.rows, table_cells(ranking, columns), strict=True):
        lines.append(_line([escape(row.label), *(_MARK.get(cell.place or 0, "{}").format(escape(cell.text)) for cell in cells)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"]) + "\n"


def escape(text: str) -> str:
    """Text with LaTeX's special characters made plain."""
    return "".join(_SPECIAL.get(letter, letter) for letter in printable(text))


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
