"""Choosing hyper-parameters on validation images that the backbone has not seen; the whole grid is recorded."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lt_bench.bench.options.choices import DRAWS
from lt_bench.bench.options.recorded import names_groups
from lt_bench.bench.planning import Planned, plan, strategy_options
from lt_bench.bench.requirements import check_budget
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.bench.tuned import SCHEMA_VERSION, best_of, has_diverged, keep_earlier, may_be_chosen, tuned_before, tuning_id, tuning_path
from lt_bench.bench.tuning.points import Grid, accepted, edges, grid_points, within_budget
from lt_bench.bench.tuning.scores import ALL, scores_of, workers_of
from lt_bench.bench.tuning.stability import check_best, fits_again, tolerance_of
from lt_bench.bench.tuning.unfinished import Score, inputs_of, remove_unfinished, unfinished_scores
from lt_bench.bench.validation import Validation, choices_of_draws, standard_error, tied_draws
from lt_bench.core.devices import device_name
from lt_bench.core.environment import environment
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.identity import record_id
from lt_bench.core.processes import current
from lt_bench.core.seals import sealed
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.joined_images import listed_groups
from lt_bench.features.locate import known_as
from lt_bench.features.manifest import Manifest
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.strategies.entry import Entry

CRITERIA = {
    "macro": "macro accuracy over the classes that have validation images",
    "micro": "accuracy",
    "shots": "macro accuracy in which classes without validation images leave their weight to their group (many, medium, few)",
    "prior": "class accuracies weighted by a prior",
    "cost": "mean cost",
}


def tune(
    entry: Entry,
    bench: CacheSource,
    seeds: Sequence[int],
    *,
    fixed: dict[str, Any] | None = None,
    grid: Grid | None = None,
    workers: int | None = 1,
    watcher: Watcher | None = None,
    objective: Objective = MACRO,
    validation: Validation = ALL,
    budget: int | None = None,
    results: Path | None = None,
) -> dict[str, Any]:
    """Fit every point of a grid with every seed, and choose by validation the best point that repeats (`stability`). The test set is never loaded.

    Args:
        entry: the strategy.
        bench: the opened cache.
        seeds: repetitions of every point.
        fixed: hyper-parameters that leave the grid.
        grid: values to try by hyper-parameter, or the points themselves; by default the strategy's own.
        workers: processes that share the points, None for as many as pay. They import the main module anew, which not every script or notebook can stand.
        watcher: receives the progress.
        objective: by which points are ranked.
        validation: the validation images that decide, and the number of their draws.
        budget: maximal number of points: the strategy's own hyper-parameters and a random draw of the grid (`within_budget`); None for the whole grid.
        results: directory that keeps scores until ``write_tuning``, from which an interrupted tuning resumes, and whose tuning of the same inputs is returned as it is; None for nowhere.

    Returns:
        The document of the tuning: everything that was tried, and what was chosen.

    Raises:
        UserError: no validation split, one that the backbone was trained on or that is too small, nothing to choose, or every point diverged.
    """
    fixed = fixed or {}
    validation.check()
    check_budget(budget)
    check_validation(bench.cache)
    points, refused = accepted(entry, bench.cache, fixed, grid_points(entry, fixed, grid))
    values = points  # of the whole grid, whose edges are those of a draw, too
    drawn: dict[str, Any] = {"validation": validation_entry(bench, validation)}
    if budget is not None:
        points, total = within_budget(entry, bench.cache, fixed, points, budget)
        drawn["budget"] = {"points": budget, "of": total}
    planned = [plan(entry, bench.manifest, {**fixed, **point}, seeds) for point in points]
    workers = workers_of(bench, planned, workers)
    path = None if results is None else tuning_path(results, entry, bench.manifest, fixed)
    inputs = record_id(inputs_of(bench, planned, objective, validation) | {"budget": budget})
    if path is not None and (before := current().first_does(lambda: tuned_before(path, inputs))) is not None:
        return before
    unfinished = None if path is None else unfinished_scores(path, bench, planned, objective, validation)
    watcher = watcher or Watcher()
    scores = scores_of(bench, planned, objective, workers, watcher, validation=validation, unfinished=unfinished, later=fits_again(planned))
    tried = _tried([{**fixed, **point} for point in points], planned, scores, objective)
    check_best(bench, tried, planned, objective, workers, watcher, validation, unfinished)
    if validation.draws > 1:
        drawn |= _choices([[scores[run.id].draws for run in runs] for runs in planned], tried, objective)
    drawn["at_edge"] = edges([*values, *points], points[best_of(tried, objective)])
    return sealed(tuning_document(entry, bench, tried, planned, fixed, refused, objective, drawn) | {"workers": workers, "inputs": inputs})


def _tried(
    points: Sequence[dict[str, Any]], planned: Sequence[Sequence[Planned]], scores: Mapping[str, Score], objective: Objective
) -> list[dict[str, Any]]:
    """The points of the document, with the scores of their runs.

    Raises:
        UserError: every point has a diverged fit.
    """
    tried = [tried_point(point, [scores[run.id] for run in runs], objective) for point, runs in zip(points, planned, strict=True)]
    if all(map(has_diverged, tried)):
        name = planned[0][0].entry.public_name
        raise UserError(f"{name}: the fits of every point diverged; try smaller values of lr, or fix one with --strategy.lr")
    return tried


def _choices(scores: Sequence[Sequence[Sequence[float]]], tried: Sequence[Mapping[str, Any]], objective: Objective) -> dict[str, Any]:
    """From scores (points, seeds, draws): the point that each draw chooses, the number of draws in which the first draw's choice only ties, and the standard error."""
    by_draw = np.array([np.mean(of_point, axis=0) for of_point in scores])
    allowed = [may_be_chosen(point) for point in tried]
    choices = [best_of(tried, objective), *choices_of_draws(by_draw, objective, allowed)[1:]]
    return {"choices": choices, "tied": tied_draws(by_draw, choices, allowed), "standard_error": standard_error(tried, choices)}


def tried_point(hyperparameters: dict[str, Any], scores: Sequence[Score], objective: Objective) -> dict[str, Any]:
    """A point of the grid as stored in the document; ``health`` lists the signs of wrong fits, if there are any."""
    values = [score.value for score in scores]
    signs = sorted({sign for score in scores for sign in score.signs})
    point = {"hyperparameters": hyperparameters, objective.metric: values, "mean": statistics.fmean(values)}
    point["whole"] = statistics.fmean(score.whole for score in scores)
    return point | ({"health": signs} if signs else {})


def write_tuning(document: dict[str, Any], entry: Entry, manifest: Manifest, results: Path) -> Path:
    """Write a tuning to where ``--tuned`` finds it, ``RESULTS/tuning/STRATEGY-CACHEKEY.json``, and remove the scores kept for it.

    Another tuning there, of another objective or grid, moves to ``STRATEGY-CACHEKEY-ID.json`` beside it.
    """
    path = tuning_path(results, entry, manifest, document["fixed"])
    keep_earlier(path, document["id"])
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")
    remove_unfinished(path)
    return path


def check_validation(cache: FeatureCache) -> None:
    """Refuse a cache without validation features, or whose backbone was trained on the validation images.

    Raises:
        UserError: the message says which.
    """
    if not cache.has("val"):
        raise UserError(f"{cache.path}: this cache has no validation split, and the test set chooses nothing; make a cache with one")
    if cache.manifest.dataset.val_seen_by_backbone:
        raise UserError(
            f"{cache.path}: the backbone was trained on these validation images (val_seen_by_backbone), so they cannot choose hyper-parameters; "
            "use a cache whose validation images were held out before stage 1"
        )


def tuning_document(
    entry: Entry, bench: CacheSource, grid: list[dict[str, Any]], planned: Sequence[Sequence[Planned]],
    fixed: dict[str, Any], refused: list[dict[str, Any]], objective: Objective, drawn: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The document of a tuning: the points tried, the points left out with the reason, and the choice."""
    manifest = bench.manifest
    best, seeds = best_of(grid, objective), [run.repetition for run in planned[0]]
    said = drawn["validation"]
    document = {
        "schema": SCHEMA_VERSION, "strategy": entry.public_name, "code": planned[best][0].code.text, "cache_key": manifest.key, "cache": manifest.name, "split_hash": manifest.dataset.split_hash,
        "selected_on": "val", "val_seen_by_backbone": manifest.dataset.val_seen_by_backbone, "objective": objective.identity, "criterion": f"{CRITERIA[objective.kind]}, mean over seeds", "stable_to": tolerance_of(bench, objective, Validation(said["size"], said["profile"])), "fixed": fixed, "seeds": seeds, "grid": grid,
        "classes_without_validation": [name for name, images in zip(manifest.dataset.class_names, said["class_images"], strict=True) if not images], **drawn,
        "choice": grid[best]["hyperparameters"], objective.metric: grid[best]["mean"],
        "command": shlex.join(
            ["lt-bench", "tune", "--strategy", entry.public_name, "--cache", known_as(bench.cache.path, manifest), "--seeds", ",".join(map(str, seeds)), *([] if objective.kind == "macro" else ["--objective", objective.text]), *_words_of(said), *_words_of_budget(drawn), *strategy_options(fixed)]
        ),
    }  # fmt: skip
    if refused:
        document["refused"] = refused
    return {
        **document,
        "id": tuning_id(document),
        "environment": environment(device=device_name(bench.device), devices=bench.hardware.layout.world),
    }


def validation_entry(bench: CacheSource, validation: Validation) -> dict[str, Any]:
    """The validation images that decided, for the document: the request, and the number of images in all and of each class; for images split by groups also the number of groups, None where the cache does not list them."""
    dataset, labels = bench.manifest.dataset, bench.split("val").labels.cpu().numpy()
    rows = validation.deciding(labels, dataset.train_counts)
    counts = np.bincount(labels[rows], minlength=dataset.num_classes)
    said = vars(validation) | {"images": int(counts.sum()), "class_images": counts.tolist()}
    if (groups := listed_groups(bench.cache, "val")) is not None:
        return said | {"groups": len(np.unique(groups[rows]))}
    return said | {"groups": None} if names_groups(bench.manifest.command) else said


def _words_of(said: Mapping[str, Any]) -> list[str]:
    """The command-line options of a validation, without defaults."""
    size = [] if said["size"] is None else ["--val-size", str(said["size"]), "--val-profile", said["profile"]]
    return [*size, *([] if said["draws"] == DRAWS else ["--draws", str(said["draws"])])]


def _words_of_budget(drawn: Mapping[str, Any]) -> list[str]:
    """The command-line options of a budget."""
    return ["--budget", str(drawn["budget"]["points"])] if "budget" in drawn else []
