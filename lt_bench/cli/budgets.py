"""``lt-bench budgets``: every point of strategies' grids, and what a budget of n of them buys, as table and picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from lt_bench.bench.choosing.grids import GridFits
from lt_bench.bench.execute import require_writable
from lt_bench.bench.options import BudgetsOptions
from lt_bench.bench.options.recorded import names_groups
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.suite.units import Watcher
from lt_bench.bench.tuning.tune import check_validation
from lt_bench.cli.output import Output
from lt_bench.cli.progress import Display
from lt_bench.core.files import require_ours, write_text
from lt_bench.core.names import counted
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.shared import shared_of
from lt_bench.leaderboard.choice.budget_output import CSV_HEAD, MARKDOWN_HEAD, budget_csv, budget_data, budget_markdown, budget_table
from lt_bench.leaderboard.choice.budgets import Points
from lt_bench.leaderboard.choice.nested import FAILED
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective, explained, objective_of
from lt_bench.leaderboard.plots.budgets import draw_budgets
from lt_bench.leaderboard.stats.clustered import design_of
from lt_bench.leaderboard.stats.paired import LEVEL, compare_all
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
        UserError: no validation that may choose, a strategy that cannot be used here, or another file lies where one of ours would.
    """
    require_ours({options.out / name: sign for name, sign in SIGNS.items()})
    cache = resolve_cache(options)
    check_validation(cache)
    dataset = cache.manifest.dataset
    objective = objective_of(options.objective, dataset.class_names, np.array(dataset.train_counts))
    require_writable(options.results)
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


def first_two(fits: Sequence[GridFits], points: Sequence[Points], objective: Objective, watcher: Watcher) -> str:
    """What the test images resolve of the two strategies that are first with all points tried, in words: their difference, paired over images or their groups, with its 95 % interval."""
    order = sorted(range(len(fits)), key=lambda place: (1 if objective.lower else -1) * points[place].test[0])[:2]
    predictions = [fits[place].choice_on_test(objective, watcher) for place in order]
    if any((of[:, 0] == FAILED).any() for of in predictions):
        return ""
    bench = fits[0].bench
    labels, dataset = bench.split("test").labels.cpu().numpy(), bench.manifest.dataset
    design = design_of(objective, labels, dataset.num_classes, bench.test_groups)
    worth = [objective.of_images(labels, of).mean(0, keepdims=True, dtype=np.float64) for of in predictions]
    tests = compare_all(worth, [None, None], None, design, objective.span)
    ahead, half = abs(tests.difference[0, 1]), stdtrit(tests.degrees[0, 1], 1 - LEVEL / 2) * tests.error[0, 1]
    ends = " to ".join(objective_text(end, objective, "").strip() for end in (ahead - half, ahead + half))
    first, second = (points[place].strategy for place in order)
    picked = ", both picked on these images, which flatters" if len(fits) > 2 else ""
    return (
        f"with all points tried {first} is {objective_text(ahead, objective, 'points')} ahead of {second} on {len(labels):,} test images (95 % over {_sample(bench, ends)}){picked}; "
        "the table is over random budgets, on these images"
    )


def _sample(bench: CacheSource, ends: str) -> str:
    """What an interval is over, and its ends, in words."""
    if bench.test_groups is not None:
        return f"{counted(len(np.unique(bench.test_groups)), 'group')} of them: {ends}"
    return f"images: {ends}" + (
        ", too narrow: they come in groups, which the cache does not list" if names_groups(bench.manifest.command) else ""
    )


def _write(options: BudgetsOptions, points: list[Points], objective: Objective, cache: str, notes: tuple[str, str], output: Output) -> None:
    """Table, files and JSON, with notes on images that splits share and on the first two strategies; an empty one is none."""
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
