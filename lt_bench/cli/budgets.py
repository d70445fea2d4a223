"""``lt-bench budgets``: the expected test figure for a budget of n points of each strategy's grid, as table and picture."""

from __future__ import annotations

import numpy as np

from lt_bench.bench.choosing.first_two import first_two
from lt_bench.bench.choosing.grids import GridFits
from lt_bench.bench.options import BudgetsOptions
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.tuning.tune import check_validation
from lt_bench.cli.output import Output
from lt_bench.cli.progress import Display
from lt_bench.core.files import require_ours, write_text
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.shared import shared_of
from lt_bench.leaderboard.choice.budget_output import CSV_HEAD, MARKDOWN_HEAD, budget_csv, budget_data, budget_markdown, budget_table
from lt_bench.leaderboard.choice.budgets import Points
from lt_bench.leaderboard.objective.objective import Objective, explained, objective_of
from lt_bench.leaderboard.plots.budgets import draw_budgets
from lt_bench.results.shared_images import shared_words
from lt_bench.strategies.registry import find

SIGNS = {
    "budgets.csv": ",".join(CSV_HEAD),
    "BUDGETS.md": MARKDOWN_HEAD,
    "budgets.svg": "<?xml",
    "budgets.png": "PNG",
    "budgets.pdf": "%PDF",
}
"""Text at the beginning of each file, by which an earlier one is known as ours."""


def budgets_verb(options: BudgetsOptions, output: Output) -> None:
    """Fit, show, and write table and picture.

    Raises:
        UserError: there is no validation split unseen by the backbone, a strategy cannot be used here, or a file of another kind lies at an output path.
    """
    require_ours({options.out / name: sign for name, sign in SIGNS.items()})
    cache = resolve_cache(options)
    check_validation(cache)
    dataset = cache.manifest.dataset
    objective = objective_of(options.objective, dataset.class_names, np.array(dataset.train_counts))
    bench = CacheSource(cache, Hardware(options.accelerator))
    counts = np.bincount(bench.split("val").labels.cpu().numpy(), minlength=dataset.num_classes)
    output.say(f"chosen by {explained(objective, counts, 'validation')}")
    fits = [GridFits.of(find(name), bench, options.seeds, options.results) for name in dict.fromkeys(options.strategies)]
    watcher = Display(quiet=output.quiet)
    watcher.expects(bench, sum(map(len, fits)), sum(len(one) for one in fits if one.are_done))
    with watcher:
        points = [one.worth(objective, watcher) for one in fits]
        apart = first_two(fits, points, objective, watcher) if len(fits) > 1 else ""
    _write(options, points, objective, cache.manifest.name, (shared_words(shared_of(cache.manifest)), apart), output)


def _write(options: BudgetsOptions, points: list[Points], objective: Objective, cache: str, notes: tuple[str, str], output: Output) -> None:
    """Write table, files and JSON, with notes on images that splits share and on the first two strategies; empty notes are left out."""
    largest = min(options.budget or max(map(len, points)), max(map(len, points)))
    texts = {
        "budgets.csv": budget_csv(points, largest, objective),
        "BUDGETS.md": budget_markdown(points, largest, objective, cache, " ".join(filter(None, notes))),
    }
    written = [write_text(options.out / name, text) for name, text in texts.items()]
    written += draw_budgets(points, largest, objective, options.out / "budgets")
    output.say(budget_table(points, largest, objective, cache))
    for note in filter(None, notes):
        output.say(note)
    output.written(options.out, written)
    output.data(budget_data(points, largest, objective) | {"cache": cache, "seeds": options.seeds, "first_two": notes[1] or None})
