"""One look for all plots, and saving without anything that changes from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_bench.core.files import write_atomic

# Okabe and Ito's palette, told apart by people with any colour vision; each series also has its own marker.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lt-bench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a dollar in a name begins no formula
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.edgecolor": "#5b6470",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.markersize": 4.5,
    "lines.linewidth": 1.5,
}


@contextmanager
def look() -> Iterator[None]:
    """The settings that every plot is drawn and saved under, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def figure(panels: int = 1, width: float = 4.6, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure with its panels side by side, `width` inches each."""
    drawing = Figure(figsize=(width * panels + (1.4 if panels == 1 else 0.0), height), layout="constrained")
    return drawing, list(drawing.subplots(1, panels, squeeze=False)[0])


def legend(drawing: Figure, axes: Axes, columns: int = 4) -> None:
    """The names of what `axes` shows above the panels; nothing without names."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        drawing.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns))


def save(drawing: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png; the same figure gives the same bytes."""
    svg = write_atomic(
        stem.with_suffix(".svg"), lambda file: drawing.savefig(file, format="svg", metadata={"Date": None, "Creator": "lt-bench"})
    )
    png = write_atomic(stem.with_suffix(".png"), lambda file: drawing.savefig(file, format="png", dpi=150, metadata={"Software": None}))
    return [svg, png]
