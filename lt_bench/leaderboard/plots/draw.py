"""Every plot of a board, written as SVG and PNG."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lt_bench.core.documents import parse_json
from lt_bench.core.files import write_text
from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.plots import by_class, by_prior, by_row, over_epochs, special
from lt_bench.leaderboard.plots.style import look, save

PLOTS: dict[str, tuple[Callable[[BoardRows], Figure | None], str]] = {
    "accuracy_by_size": (by_class.accuracy_by_size, "Accuracy against class size."),
    "logits_by_size": (by_class.logits_by_size, "LoMa and RSD per class (column reading, test) against class size."),
    "balance_against_accuracy": (
        by_row.balance_against_accuracy,
        "LoMa balance and size against accuracy, every row. An association between strategies, not a cause.",
    ),
    "rsd_across": (by_row.rsd_across, "Is RSD nearly invariant? LoMa and RSD over classes for every row."),
    "norms_by_size": (by_class.norms_by_size, "Classifier norm, feature norm and cosine per class."),
    "norms_over_epochs": (over_epochs.norms_over_epochs, "Classifier norm and cosine over the epochs, by group (runs with `--analysis`)."),
    "gap_by_size": (by_class.gap_by_size, "Train minus test accuracy per class."),
    "head_against_tail": (by_row.head_against_tail, "Head against tail: what is paid for what is won."),
    "places_by_prior": (
        by_prior.places_by_prior,
        "Places under backward and forward long tails of the test set, for heads that are not told.",
    ),
    "accuracy_against_time": (by_row.accuracy_against_time, "Accuracy against seconds to fit."),
    "difference_by_class": (
        by_class.difference_by_class,
        "Difference of two rows per class: 95 % intervals over test images, group means in orange.",
    ),
    "dynasmooth": (special.probability_before_and_after, "True-class probability on test before and after DynaSmooth, by frequency group."),
    "accuracy_over_epsilon": (special.accuracy_over_epsilon, "LOS: accuracy against epsilon and steps, 95 % intervals over seeds."),
}


@dataclass(frozen=True)
class Drawn:
    """A written plot."""

    name: str
    svg: Path
    png: Path
    caption: str


def draw_board(ranking: BoardRows, directory: Path) -> list[Drawn]:
    """Draw what the board has data for into `directory`/<board>/; the same records give the same bytes.

    Plots of the same records, drawn by the same code before, are left as they are (`drawn.json` beside them says from what they were made).
    """
    folder = directory / ranking.board.slug
    stamp = folder / "drawn.json"
    sources = {"records": ranking.fingerprint, "code": _code(), "matplotlib": matplotlib.__version__}
    if stamp.is_file():
        try:
            before = parse_json(stamp.read_bytes())
            names = [name for name in before.pop("plots") if name in PLOTS]
        except (ValueError, AttributeError, KeyError, TypeError):
            before, names = None, []  # damaged: draw again
        plots = [Drawn(name, folder / f"{name}.svg", folder / f"{name}.png", PLOTS[name][1]) for name in names]
        if before == sources and all(plot.svg.is_file() and plot.png.is_file() for plot in plots):
            return plots
    drawn = _draw(ranking, folder)
    write_text(stamp, json.dumps(sources | {"plots": [plot.name for plot in drawn]}, indent=1) + "\n")
    return drawn


def _code() -> str:
    """Hash of this package's source: plots of older code are drawn again."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:16]


def _draw(ranking: BoardRows, folder: Path) -> list[Drawn]:
    drawn = []
    with look():
        for name, (draw, caption) in PLOTS.items():
            drawing = draw(ranking)
            if drawing is not None:
                svg, png = save(drawing, folder / name)
                drawn.append(Drawn(name, svg, png, caption))
    return drawn
