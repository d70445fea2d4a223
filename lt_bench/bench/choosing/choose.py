"""``lt-bench choose``: from strategies and held-out rows to a decision."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.bench.choosing.fits import Fits
from lt_bench.bench.choosing.ground import Ground, Split, usable_split
from lt_bench.bench.choosing.groups import listing_groups
from lt_bench.bench.choosing.points import BUDGET, USUAL, points_of
from lt_bench.bench.planning import plan, strategy_options
from lt_bench.bench.requirements import brings_weights, check_seeds
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.core.commands import RESULTS
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.joined_images import listed_groups
from lt_bench.features.locate import known_as
from lt_bench.leaderboard.choice.conclusion import HeldOut, conclusion
from lt_bench.leaderboard.choice.nested import Candidate, nested_choice
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.registry import find

FOLDS = 5


def choose(
    bench: CacheSource,
    entries: Sequence[Entry] = (),
    seeds: Sequence[int] = (0,),
    *,
    objective: Objective = MACRO,
    folds: int = FOLDS,
    budget: int = BUDGET,
    split: Split | None = None,
    groups: NDArray | None = None,
    results: Path | None = None,
    watcher: Watcher | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Compare strategies with chosen hyper-parameters by nested cross-validation; the test set is never loaded.

    With ``val``, every head is fitted once on all training rows, and the validation rows are divided into folds. With ``train``, the training rows are divided, and heads are fitted without each fold and
    without each pair of folds, as is the stage-1 head where it was fitted on these features. The backbone must not have seen the split.

    Args:
        bench: the opened cache.
        entries: the strategies; by default those of `USUAL` that the cache supports.
        seeds: repetitions of every point.
        objective: by which strategies and hyper-parameters are chosen.
        folds: number of folds, 3 or more.
        budget: maximal number of points of each strategy, its own hyper-parameters first.
        split: val or train; by default the one that may choose.
        groups: (N,) group of each row of the split; a group stays in one fold. By default the groups that the cache was split by.
        results: directory that stores predictions, from which the same fits are read again; None for nowhere.
        watcher: receives the progress.
        weights: file of the backbone's weights, for the export command.

    Returns:
        The outcome (see `leaderboard.choice.conclusion`) together with the arguments of the choice.

    Raises:
        UserError: the backbone has seen all rows that could choose, a strategy cannot be used here, or every point of every strategy has a diverged fit.
    """
    check_seeds(seeds)
    split = usable_split(bench.cache, split)
    groups = listed_groups(bench.cache, split) if groups is None else groups
    ground = Ground.of(bench, split, folds, groups)
    points, left_out = _points(entries, bench.cache, budget)
    fits = [Fits.of(entry, of, seeds, ground, results) for entry, of in points]
    usable, diverged = _candidates(bench, fits, watcher or Watcher())
    dataset = bench.manifest.dataset
    held_out = None if groups is None else np.asarray(groups)[ground.held_out]
    on = HeldOut(ground.labels, np.array(dataset.train_counts), dataset.class_names, objective, held_out)
    outcome = conclusion(nested_choice(usable, ground.folds, ground.labels, dataset.num_classes, objective), on)
    asked = {
        "cache": bench.manifest.name, "cache_key": bench.manifest.key, "dataset": dataset.name, "split": ground.split, "folds": folds, "seeds": list(seeds),
        "budget": budget, "objective": objective.identity, "by_group": groups is not None, "left_out": left_out | diverged,
        "groups_unknown": listing_groups(bench.cache) if groups is None else None,
    }  # fmt: skip
    entry = next(one.entry for one in fits if one.entry.public_name == outcome["take"]["strategy"])
    command = _command(entry, outcome["take"]["hyperparameters"], bench.cache, seeds[0], results or RESULTS, weights)
    return {**asked, **outcome, "command": command}


def _candidates(bench: CacheSource, fits: Sequence[Fits], watcher: Watcher) -> tuple[list[Candidate], dict[str, str]]:
    """Each strategy with its points without a diverged fit, and the reason why strategies without such a point are left out.

    Raises:
        UserError: no strategy is left.
    """
    watcher.expects(bench, sum(map(len, fits)), sum(len(one) for one in fits if one.are_done))
    with watcher:
        candidates = [one.candidate(watcher).converged for one in fits]
    if not (usable := [one for one in candidates if one.points]):
        raise UserError("of every point of every strategy a fit diverged; standardise the features (--standardise)")
    return usable, {one.name: "of every point a fit diverged" for one in candidates if not one.points}


def _points(entries: Sequence[Entry], cache: FeatureCache, budget: int) -> tuple[list[tuple[Entry, list[dict[str, Any]]]], dict[str, str]]:
    """The points of each strategy, and the reason why strategies of `USUAL` are left out that the cache does not support.

    Raises:
        UserError: the budget is below 1, or a strategy that was asked for cannot be used.
    """
    if budget < 1:
        raise UserError(f"budget is {budget}, expected at least 1 point of each strategy")
    points, left_out = [], {}
    for entry in entries or [find(name) for name in USUAL]:
        try:
            points.append((entry, points_of(entry, cache, budget)))
        except UserError as error:
            if entries:
                raise
            left_out[entry.public_name] = str(error)
    return points, left_out


def _command(entry: Entry, chosen: dict[str, Any], cache: FeatureCache, seed: int, results: Path, weights: Path | None) -> str:
    """The command line that fits, records and exports the chosen strategy."""
    manifest = cache.manifest
    (run, *_) = plan(entry, manifest, chosen, [seed])
    place = ["--cache", known_as(cache.path, manifest)]
    record = results / manifest.dataset.name / f"{entry.public_name}-{run.id}.json"
    fits = ["lt-bench", "run", "--strategy", entry.public_name, *place, "--seeds", str(seed), "--results", str(results)]
    exports = ["lt-bench", "export", "--record", str(record), *place]
    if manifest.transform.get("evaluation") != "imported features" and not brings_weights(manifest.backbone.name):
        exports += ["--head-only"] if weights is None else ["--weights", str(weights)]
    return f"{shlex.join([*fits, *strategy_options(chosen)])} && {shlex.join(exports)}"
