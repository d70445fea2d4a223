"""Picture for docs/wandb.md: what a board's W&B report asks for, drawn here from the runs of its records, as W&B's own page needs a server.

python -m benchmarks.wandb_picture benchmarks/results/shipped docs/wandb_report.png
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from wandb_workspaces.reports.v2 import BarPlot, PanelGrid

from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.wandb.dashboard import ROW, report
from lt_bench.leaderboard.wandb.view import run_config, run_summary
from lt_bench.results.store import Store


def main(results: Path, out: Path) -> None:
    """Draw the bars of the report's grids on the first board, each from the summaries of its runs, grouped by row as the panel says."""
    ranking = leaderboard(results).boards[0]
    records = [record for record in Store(results).records() if record.cache.key == ranking.board.cache_key]
    runs = [(run_config(record)[ROW], run_summary(record)) for record in records]
    grids = [block for block in report("TEAM", "heads", ranking).blocks if isinstance(block, PanelGrid)]
    panels = [panel for grid in grids for panel in grid.panels if isinstance(panel, BarPlot)]
    figure = Figure(figsize=(9, 4 * len(panels) / 2), layout="constrained")
    figure.suptitle(f"Strategies compared: {ranking.title}", fontsize=9)
    for axes, panel in zip(figure.subplots(len(panels) // 2, 2).flat, panels, strict=True):
        bars: dict[str, list[float]] = defaultdict(list)
        for row, summary in runs:
            bars[row].append(summary[f"test/{panel.title}"])
        axes.set_title(panel.title, fontsize=9)
        axes.tick_params(labelsize=7)
        for name, values in sorted(bars.items(), key=lambda bar: np.mean(bar[1])):
            axes.barh(name, np.mean(values), color="#4c78a8")
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
