"""The confusions of a report as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from PIL import Image

from lt_bench.core.errors import printable
from lt_bench.core.files import write_atomic
from lt_bench.leaderboard.plots.style import look, save
from lt_bench.leaderboard.report.classes import ClassReport

MOST = 150
"""Classes of a picture in which names can be read."""
SHARP, MOST_PIXELS = 110, 1800
"""Pixels an inch at which names can be read, and height up to which the picture has more of them: one of many classes would be several megabytes at 300."""
_LONGEST = 48


def shown_classes(report: ClassReport) -> list[int]:
    """The classes that the picture shows: those with test images, or the `MOST` with most errors, of their own images or by being taken for others."""
    present = [one.number for one in report.classes if one.test]
    errors = np.zeros(len(report.classes))
    for (true, predicted), images in report.confusions.items():
        if true != predicted:
            errors[[true, predicted]] += images
    return sorted(sorted(present, key=lambda k: (-errors[k], k))[:MOST])


def confusion_order(shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of classes (K,) in which those that are taken for each other stand together, from the shares (K, K) of each class's images.

    Average linkage of ``1 - (share there + share back)``, leaves ordered so that neighbours are near (Bar-Joseph et al. 2001).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(shares) < 3:
        return np.arange(len(shares))
    distance = np.clip(1 - shares - shares.T, 0, 1)
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))


def draw_confusions(report: ClassReport, stem: Path) -> tuple[Path, str]:
    """Write `stem`.svg and `stem`.png; returns the path of the SVG and what it shows."""
    shown = shown_classes(report)
    at = {k: position for position, k in enumerate(shown)}
    shares = np.zeros((len(shown), len(shown)))
    for (true, predicted), images in report.confusions.items():
        if true in at and predicted in at:
            shares[at[true], at[predicted]] = images / report.classes[true].test
    order = confusion_order(shares)
    with look():
        drawing = _figure(report, [shown[k] for k in order], shares[np.ix_(order, order)])
        save(drawing, stem, dpi=int(min(300, max(SHARP, MOST_PIXELS / drawing.get_figheight()))))
        _with_few_colours(stem.with_suffix(".png"))
    some = "" if len(shown) == sum(one.test > 0 for one in report.classes) else f" the {len(shown)} classes with most errors;"
    return stem.with_suffix(".svg"), (
        f"Confusions:{some} each line is a class with the shares of its test images by predicted class; classes that are taken for each other stand together. "
        "The scale is that of the square root, so that small shares are seen."
    )


def _with_few_colours(path: Path) -> None:
    """Write a picture again with a palette: a third of the bytes for shades of one colour."""
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    write_atomic(path, lambda file: few.save(file, "png", optimize=True))


def _figure(report: ClassReport, classes: list[int], shares: NDArray[np.float64]) -> Figure:
    n = len(classes)
    names = [_short(report.classes[k].name) for k in classes]
    size = float(np.clip(9.5 - n / 40, 6.5, 9))
    longest = max(map(len, names)) * size * 0.6 / 72
    cells = max(3.0, n * (size + 2.2) / 72)
    drawing = Figure(figsize=(cells + longest + 1.6, cells + 2 * longest + 0.8), layout="constrained")
    axes = drawing.subplots()
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_xticks(range(n), names, rotation=90, fontsize=size)
    axes.set_yticks(range(n), names, fontsize=size)
    axes.set_title("by line the true class, by column the predicted one", loc="left", fontsize=9.5)
    axes.grid(visible=False)
    axes.tick_params(length=0, labeltop=True)
    axes.tick_params(axis="x", rotation=90)
    if n <= 20:
        for (true, predicted), share in np.ndenumerate(shares):
            if share >= 0.005:
                axes.text(
                    predicted,
                    true,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=size - 1,
                    color="white" if share > 0.4 else "black",
                )
    else:  # a line to follow every fifth class by
        for position in range(4, n - 1, 5):
            axes.axhline(position + 0.5, color="#d4d9df", linewidth=0.4)
            axes.axvline(position + 0.5, color="#d4d9df", linewidth=0.4)
    drawing.colorbar(image, ax=axes, format=PercentFormatter(1.0), shrink=min(1.0, 4.0 / cells), aspect=25, ticks=[0, 0.05, 0.2, 0.5, 1])
    return drawing


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
