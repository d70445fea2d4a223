"""Every plot of a board, written as SVG, PNG and PDF."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lt_bench.core.activity import steps
from lt_bench.core.documents import parse_json
from lt_bench.core.files import write_text
from lt_bench.core.names import counted
from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.plots import by_class, by_prior, by_row, critical, over_epochs, special
from lt_bench.leaderboard.plots.style import footnote, look, save
from lt_bench.leaderboard.seeds import seeds_text
from lt_bench.leaderboard.stats.across import Across

_CAPTION = "Which rows cannot be told apart over boards: those beside one bar."
_OVER_BOARDS = (
    "Dot: mean place; line: its 95 % interval, by a bootstrap of boards and classes. Bars: rows no two of which are told apart by their mean difference in the objective, "
    "boards and classes as crossed samples, Holm-corrected over all pairs of these rows, 5 %. Rows without a common bar need not differ where one between them does."
)
_BINNED = "Points: means over seeds and over the classes of a bin, without intervals."
PLOTS: dict[str, tuple[Callable[[BoardRows], Figure | None], str, str]] = {
    "critical_difference": (
        critical.critical_difference,
        "Which rows cannot be told apart: those beside one bar.",
        "Thin: 95 % over test images; thick: 95 % t over seeds. Bars: paired tests over seeds and images, Holm-corrected over all pairs of the board, 5 %. Rows without a common bar need not differ where one between them does.",
    ),
    "accuracy_by_size": (by_class.accuracy_by_size, "Accuracy against class size.", _BINNED),
    "logits_by_size": (by_class.logits_by_size, "LoMa and RSD per class (column reading, test) against class size.", _BINNED),
    "balance_against_accuracy": (
        by_row.balance_against_accuracy,
        "Class bias, LoMa balance and LoMa size against accuracy, every row in sight of the methods. An association between strategies, not a cause.",
        "Column reading, on test; means over seeds.",
    ),
    "rsd_across": (
        by_row.rsd_across,
        "Is RSD nearly invariant? LoMa and RSD over classes for every row.",
        "Dot: median over classes, bar: quartiles; column reading, on test. Variation: std / mean over rows, controls left out.",
    ),
    "norms_by_size": (by_class.norms_by_size, "Classifier norm, feature norm and cosine per class.", _BINNED),
    "norms_over_epochs": (
        over_epochs.norms_over_epochs,
        "Classifier norm and cosine over the epochs, by group (runs with `--analysis`).",
        "Means over the classes of the group and over seeds; dashed: rows without epochs.",
    ),
    "gap_by_size": (by_class.gap_by_size, "Train minus test accuracy per class.", _BINNED),
    "head_against_tail": (
        by_row.head_against_tail,
        "Head against tail: what is paid for what is won.",
        "Means over seeds, without intervals.",
    ),
    "places_by_prior": (
        by_prior.places_by_prior,
        "Places under backward and forward long tails of the test set, for heads that are not told.",
        "Accuracies in % at both ends; from class accuracies, means over seeds.",
    ),
    "accuracy_against_time": (
        by_row.accuracy_against_time,
        "Accuracy against seconds to fit.",
        "Means over seeds, without intervals; seconds depend on the machine.",
    ),
    "difference_by_class": (
        by_class.difference_by_class,
        "Difference of two rows per class: 95 % intervals over test images, group means in orange.",
        "Dots: classes; lines: paired 95 % intervals over the test images of the class; orange: means of groups.",
    ),
    "dynasmooth": (
        special.probability_before_and_after,
        "True-class probability on test before and after DynaSmooth, by frequency group.",
        "Boxes: quartiles over images; whiskers: 1.5 times their range; outliers are left out.",
    ),
    "accuracy_over_epsilon": (
        special.accuracy_over_epsilon,
        "LOS: accuracy against epsilon and steps, 95 % intervals over seeds.",
        "Bars: 95 % t intervals over seeds.",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A written plot."""

    name: str
    svg: Path
    png: Path
    pdf: Path
    caption: str


def draw_board(ranking: BoardRows, directory: Path) -> list[Drawn]:
    """Draw what the board has data for into `directory`/<board>/; the same records give the same bytes.

    Plots of the same records, drawn by the same code before, are left as they are (`drawn.json` beside them says from what they were made).
    """
    folder = directory / ranking.board.slug
    stamp = folder / "drawn.json"
    sources = {
        "records": ranking.fingerprint,
        "labels": [row.label for row in ranking.rows],
        "chosen_from": ranking.chosen_from,
        "code": _code(),
        "matplotlib": matplotlib.__version__,
    }
    if stamp.is_file():
        try:
            before = parse_json(stamp.read_bytes())
            names = [name for name in before.pop("plots") if name in PLOTS]
        except (ValueError, AttributeError, KeyError, TypeError):
            before, names = None, []  # damaged: draw again
        plots = [_drawn(name, *(folder / f"{name}.{kind}" for kind in ("svg", "png", "pdf"))) for name in names]
        if before == sources and all(path.is_file() for plot in plots for path in (plot.svg, plot.png, plot.pdf)):
            return plots
    drawn = _draw(ranking, folder)
    write_text(stamp, json.dumps(sources | {"plots": [plot.name for plot in drawn]}, indent=1) + "\n")
    return drawn


def draw_across(results: Iterable[Across], directory: Path) -> list[Drawn]:
    """Draw the critical-difference figure of each comparison over boards into `directory`/boards-<protocol>-<mode>/."""
    drawn = []
    with look():
        for result in results:
            if (drawing := critical.critical_over_boards(result)) is not None:
                board = result.rows[0][0].board
                footnote(drawing, f"{len(result.boards)} boards, protocol {board.protocol}. {_OVER_BOARDS}{_leaky(result)}")
                svg, png, pdf = save(drawing, directory / f"boards-{board.protocol}-{board.mode}" / "critical_difference")
                drawn.append(Drawn("critical_difference", svg, png, pdf, _CAPTION))
    return drawn


def _leaky(result: Across) -> str:
    """A sentence on the number of boards whose splits share images; empty if there are none."""
    columns = zip(*result.rows, strict=True)
    leaky = sum(any(isinstance(text, str) for row in rows for text in row.runs.columns["shared_images"][row.positions]) for rows in columns)
    return f" On {leaky} of the boards splits share images, as their own tables say." if leaky else ""


def _drawn(name: str, *paths: Path) -> Drawn:
    svg, png, pdf = paths
    return Drawn(name, svg, png, pdf, PLOTS[name][1])


def _code() -> str:
    """Hash of this package's source: plots of older code are drawn again."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:16]


def _draw(ranking: BoardRows, folder: Path) -> list[Drawn]:
    drawn = []
    with look():
        for name, (draw, _, says) in steps(PLOTS.items(), "figures drawn"):
            drawing = draw(ranking)
            if drawing is not None:
                footnote(drawing, f"{_about(ranking)} {says}")
                drawn.append(_drawn(name, *save(drawing, folder / name)))
    return drawn


def _about(ranking: BoardRows) -> str:
    """Data, backbone, test images and seeds, and images that splits share, as every figure says them."""
    n = "" if ranking.test_counts is None else f", {ranking.test_counts.sum():,} test images"
    n += "" if ranking.test_groups is None else f" in {counted(len(np.unique(ranking.test_groups)), 'group')}, which intervals are over"
    return f"{ranking.task}, {ranking.rows[0].text('backbone')}{n}, seeds {seeds_text(ranking.rows)}. {ranking.shared_images}".rstrip()
