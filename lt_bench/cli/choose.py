"""``lt-bench choose``: from strategies to a decision, with a table and a page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from lt_bench.bench.choosing.choose import choose
from lt_bench.bench.choosing.ground import usable_split
from lt_bench.bench.choosing.groups import groups_of
from lt_bench.bench.options import ChooseOptions
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.cli.output import Output, plain
from lt_bench.cli.progress import Display
from lt_bench.core.files import require_ours, write_text
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.shared import validation_shared
from lt_bench.leaderboard.choice.conclusion import sentences
from lt_bench.leaderboard.choice.output import choice_csv, choice_page, choice_table
from lt_bench.leaderboard.objective.objective import explained, objective_of
from lt_bench.results.shared_images import shared_words
from lt_bench.strategies.registry import find

SIGNS = {"choice.html": ": choice</title>", "choice.csv": "strategy,points,hyperparameters", "choice.json": '"cache_key":'}
"""Text at the beginning of each file, by which an earlier one is known as ours."""


def choose_verb(options: ChooseOptions, output: Output) -> None:
    """Choose, show, and write table and page.

    Raises:
        UserError: as `choose`, or a file of another kind lies at an output path.
    """
    require_ours({options.out / name: sign for name, sign in SIGNS.items()})
    cache = resolve_cache(replace(options, group_column=None, group_pattern=None) if options.cache else options)  # they are of the folds
    split = usable_split(cache, options.split)
    objective = objective_of(options.objective, cache.manifest.dataset.class_names, np.array(cache.manifest.dataset.train_counts))
    bench = CacheSource(cache, Hardware(options.accelerator))
    rows = bench.split(split)
    groups = groups_of(cache, split, options)
    counts = np.bincount(rows.labels.cpu().numpy(), minlength=cache.manifest.dataset.num_classes)
    output.say(f"chosen by {explained(objective, counts, 'validation' if split == 'val' else 'training')}")
    if split == "val" and (said := shared_words(validation_shared(cache.manifest))):
        output.say(said)
    document = choose(
        bench, [find(name) for name in dict.fromkeys(options.strategies)], options.seeds, objective=objective, folds=options.folds, budget=options.budget,
        split=split, groups=groups, results=options.results, watcher=Display(quiet=output.quiet), weights=options.weights,
    )  # fmt: skip
    _write(options, document, objective, output)


def _write(options: ChooseOptions, document: dict[str, Any], objective: Any, output: Output) -> None:
    texts = {
        "choice.html": choice_page(document, objective),
        "choice.csv": choice_csv(document, objective),
        "choice.json": json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    written = [write_text(options.out / name, text) for name, text in texts.items()]
    output.say(choice_table(document, objective))
    for name, why in document["left_out"].items():
        output.say(f"left out: {name}: {why}")
    for line in sentences(document, objective):
        output.say(line)
    output.say(f"to fit and export it:\n{document['command']}")
    output.written(options.out, written)
    output.data(document)
