"""One look for all plots, at the width of a column, and saving without anything that changes from run to run."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from lt_bench.core.files import write_atomic

# Okabe and Ito's palette, told apart by people with any colour vision; each series also has its own marker.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":")
WIDTH = 3.3
"""Inches: a column of a two-column article."""
KEY = "key"
SMALL = 6.0
"""Points of the smallest type of a figure."""
_WRAP = 70  # characters of SMALL type in WIDTH
_BESIDE = 34  # characters of SMALL type that leave room for a panel
_LINE = 0.14  # inches of a line of a legend
_SPACE_OF_A_UNIT = re.compile(r"(?<=\d) (?=%)")  # where a footnote breaks no line
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lt-bench",
    "svg.fonttype": "path",
    "figure.dpi": 300,  # laid out as it is written: at 100, hinting makes letters narrower, and long names were cut off
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a dollar in a name begins no formula
    "pdf.fonttype": 42,
    "font.size": 7.5,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.edgecolor": "#5b6470",
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.0,
    "lines.markersize": 3.2,
    "lines.linewidth": 1.1,
}


@contextmanager
def look() -> Iterator[None]:
    """The settings that every plot is drawn and saved under, whatever the user's own matplotlib settings are."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names in another script, which pages and tables show
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def figure(panels: int = 1, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A figure of a column's width with its panels one above the other, `height` inches each."""
    drawing = Figure(figsize=(WIDTH, height * panels + 0.3), layout="constrained")
    return drawing, list(drawing.subplots(panels, 1, squeeze=False)[:, 0])


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and line of a series: the first seven differ in colour and marker, later ones in the line too."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


def legend(drawing: Figure, axes: Axes, columns: int = 3) -> None:
    """The names of what `axes` shows above the panels, in as many columns as fit; nothing without names. The figure grows with lines beyond the second."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [short_name(label) for label in labels]
    if labels:
        fits = int(_WRAP * 0.9 // (max(map(len, labels)) + 5))
        columns = max(1, min(len(labels), columns, fits))
        drawing.legend(handles, labels, loc="outside upper center", ncols=columns)
        heighten(drawing, -(-len(labels) // columns) - 2)


def heighten(drawing: Figure, lines: int) -> None:
    """Make room for so many lines of text more."""
    drawing.set_figheight(drawing.get_figheight() + _LINE * max(lines, 0))


def log_ticks(axis: Axis, values: NDArray[np.floating], *, narrow: bool = False) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5 of each decade over two decades of `values`, 1 and 3 over three, else, or where the axis is `narrow`, 1."""
    decades = 3.0 if narrow else float(np.log10(values.max() / values.min()))
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def wide_range(values: NDArray[np.floating]) -> bool:
    """Whether values need a logarithmic axis: positive, and over more than a factor of 20 (collapsed logits are a hundred times smaller than the rest)."""
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(values.min() > 0 and values.max() > 20 * values.min())


def short_name(label: str) -> str:
    """The label of a row in a figure, which has no room for the sign of an unhealthy fit: the table has it."""
    return re.sub(r"\(unhealthy: [^)]*\)", "(unhealthy)", label)


def name_in_lines(label: str) -> str:
    """The name of a row beside a panel, in lines that leave room for it: labels of the user's own settings can be wider than the figure."""
    return "\n".join(textwrap.wrap(short_name(label), _BESIDE, break_on_hyphens=False))


def places_by_lines(names: list[str]) -> tuple[NDArray[np.float64], int]:
    """Places of rows from above to below on an axis on which each is as high as the lines of its name, and the height of all."""
    lines = np.array([name.count("\n") + 1 for name in names])
    total = int(lines.sum())
    return total - np.cumsum(lines) + (lines - 1) / 2, total


def footnote(drawing: Figure, text: str) -> None:
    """Data and intervals of the figure, in small type below it."""
    lines = "\n".join(textwrap.wrap(_SPACE_OF_A_UNIT.sub("\u00a0", text), _WRAP))
    key = next((one for one in drawing.legends if one.get_gid() == KEY), None)
    if key is None:
        drawing.supxlabel(lines, fontsize=SMALL, color="#5b6470", x=0.02, ha="left")
    else:  # both below the panels would lie on each other
        key.set_title(lines, prop=FontProperties(size=SMALL))
        key.get_title().set_color("#5b6470")
        drawing.set_figheight(drawing.get_figheight() + 0.1 * (lines.count("\n") + 1))


def save(drawing: Figure, stem: Path, dpi: int = 300) -> list[Path]:
    """Write `stem`.svg, `stem`.png (of `dpi` pixels an inch) and `stem`.pdf; the same figure gives the same bytes."""
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # laid out once for the three formats
    kinds: dict[str, dict[str, Any]] = {
        "svg": {"metadata": {"Date": None, "Creator": "lt-bench"}},
        "png": {"metadata": {"Software": None}, "dpi": dpi},
        "pdf": {"metadata": {"CreationDate": None, "Creator": "lt-bench", "Producer": None}},
    }
    return [
        write_atomic(stem.with_suffix(f".{kind}"), lambda file, kind=kind, how=how: drawing.savefig(file, format=kind, **how))
        for kind, how in kinds.items()
    ]
