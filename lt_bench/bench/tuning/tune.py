"""``lt-bench tune``: choose hyper-parameters on validation images that the backbone has not seen, and record the whole grid."""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lt_bench.bench.execute import Bench, device_name, require_writable
from lt_bench.bench.options import TuneOptions
from lt_bench.bench.planning import Planned, plan, strategy_options, tuning_name
from lt_bench.bench.requirements import check_workers
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.tuning.scores import scores_of, workers_of
from lt_bench.core.environment import environment
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.identity import canonical_json
from lt_bench.core.launchers import is_first_process
from lt_bench.core.processes import join_process_group, leave_process_group
from lt_bench.engine.heads.fit import Hardware, facts_of
from lt_bench.features.cache import FeatureCache
from lt_bench.strategies.registry import Entry, find

CRITERION = "macro accuracy over the classes that have validation images, mean over seeds"


def tune(options: TuneOptions, *, auto_workers: bool = False) -> dict[str, Any]:
    """Fit every point of the strategy's grid with every seed, choose by validation, write ``RESULTS/tuning/STRATEGY-CACHEKEY.json``.

    Hyper-parameters given on the command line are fixed and leave the grid. The test set is never loaded.

    Args:
        options: of the command.
        auto_workers: take as many workers as pay, where the options name no number (see ``bench``).

    Raises:
        UserError: no validation split, one that the backbone was trained on, or a strategy without a grid.
    """
    entry, hardware = find(options.strategy.name), Hardware(options.accelerator, options.devices)
    check_workers(options.workers, hardware.layout.world)
    join_process_group(hardware.layout, hardware.device)
    cache = resolve_cache(options)
    check_validation(cache)
    fixed = options.strategy.hyperparameters
    points, refused = accepted(entry, cache, fixed, grid_points(entry, fixed))
    bench = Bench(cache, hardware)
    require_writable(options.results / "tuning")
    planned = [plan(entry, cache.manifest, {**fixed, **point}, options.seeds) for point in points]
    workers = workers_of(bench, planned, options, auto_workers=auto_workers)
    scores = scores_of(bench, planned, options, workers)
    document = tuning_document(entry, bench, points, planned, scores, options, refused) | {"workers": workers}
    if is_first_process():
        path = options.results / "tuning" / tuning_name(entry, cache.manifest, fixed)
        write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")
        show(document, path)
    leave_process_group()
    return document


def check_validation(cache: FeatureCache) -> None:
    """Refuse a cache without validation features, or with ones of images that stage 1 was trained on."""
    if not cache.has("val"):
        raise UserError(f"{cache.path}: this cache has no validation split, and the test set chooses nothing; make a cache with one")
    if cache.manifest.dataset.val_seen_by_backbone:
        raise UserError(
            f"{cache.path}: the backbone was trained on these validation images (val_seen_by_backbone), so they cannot choose hyper-parameters; "
            "use a cache whose validation images were held out before stage 1"
        )


def grid_points(entry: Entry, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    """The Cartesian product of the strategy's grid without the fixed hyper-parameters.

    Raises:
        UserError: nothing is left to choose.
    """
    free = {name: values for name, values in entry.grid.items() if name not in fixed}
    if not free:
        raise UserError(f"strategy {entry.name} has nothing to tune" + (" beside what is fixed" if entry.grid else ": it declares no grid"))
    return [dict(zip(free, values, strict=True)) for values in itertools.product(*free.values())]


def accepted(
    entry: Entry, cache: FeatureCache, fixed: dict[str, Any], points: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points that the strategy can be built with here, and the others with its reason: settings of a data set may contradict some of a grid.

    Raises:
        UserError: it takes none of them; the reason is that of the first.
    """
    dataset, facts = cache.manifest.dataset, facts_of(cache)
    taken, refused, first = [], [], None
    for point in points:
        try:
            cls, given = entry.class_for(entry.resolve(dataset.name, dataset.imbalance_factor, {**fixed, **point}))
            cls(facts, **given)
        except UserError as error:
            first = first or error
            refused.append({"hyperparameters": {**fixed, **point}, "reason": str(error)})
        else:
            taken.append(point)
    if first is not None and not taken:
        raise first
    return taken, refused


def tuning_document(
    entry: Entry, bench: Bench, points: list[dict[str, Any]], planned: list[list[Planned]], scores: dict[str, float], options: TuneOptions,
    refused: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """Everything that was tried, what was left out and why, and what was chosen; the first of equal points wins, the grid's order being the author's."""
    manifest, fixed = bench.cache.manifest, options.strategy.hyperparameters
    seeds, grid = [run.repetition for run in planned[0]], []
    for point, runs in zip(points, planned, strict=True):
        values = [scores[run.id] for run in runs]
        grid.append({"hyperparameters": {**fixed, **point}, "macro_accuracy": values, "mean": statistics.fmean(values)})
    best = max(range(len(grid)), key=lambda position: (grid[position]["mean"], -position))
    present = set(np.unique(bench.split("val").labels.cpu().numpy()).tolist())
    document = {
        "schema": 1, "strategy": entry.public_name, "cache_key": manifest.key, "cache": manifest.name, "split_hash": manifest.dataset.split_hash,
        "selected_on": "val", "val_seen_by_backbone": manifest.dataset.val_seen_by_backbone, "criterion": CRITERION, "fixed": fixed, "seeds": seeds, "grid": grid,
        "classes_without_validation": [name for k, name in enumerate(manifest.dataset.class_names) if k not in present],
        "choice": grid[best]["hyperparameters"], "macro_accuracy": grid[best]["mean"], "at_edge": edges(points, points[best]),
        "command": shlex.join(
            ["lt-bench", "tune", "--strategy", entry.public_name, "--cache", manifest.name, "--seeds", ",".join(map(str, seeds)), *strategy_options(fixed)]
        ),
    }  # fmt: skip
    if refused:
        document["refused"] = refused
    identity = hashlib.sha256(canonical_json(document).encode()).hexdigest()[:16]
    return {**document, "id": identity, "environment": environment(device=device_name(bench.device), devices=bench.hardware.layout.world)}


def edges(points: list[dict[str, Any]], chosen: dict[str, Any]) -> list[str]:
    """Hyper-parameters whose chosen value is the smallest or largest of three or more numbers tried: a wider grid might choose another."""
    at_edge = []
    for name, value in chosen.items():
        tried = {point[name] for point in points}
        numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried)
        if numeric and len(tried) > 2 and value in (min(tried), max(tried)):
            at_edge.append(name)
    return at_edge


def show(document: dict[str, Any], path: Path) -> None:
    """The best points of the grid and the choice."""
    table = Table(
        title=f"{document['strategy']} on {document['cache']}: validation macro accuracy, {len(document['grid'])} points x seeds {document['seeds']}"
    )
    names = list(document["grid"][0]["hyperparameters"])
    for name in [*names, "mean %", "per seed %"]:
        table.add_column(name, justify="right")
    for row in sorted(document["grid"], key=lambda row: -row["mean"])[:10]:
        values = [str(row["hyperparameters"][name]) for name in names]
        table.add_row(*values, f"{100 * row['mean']:.2f}", " ".join(f"{100 * value:.2f}" for value in row["macro_accuracy"]))
    console = Console()
    console.print(table)
    if refused := document.get("refused"):
        console.print(f"{len(refused)} more points of the grid are refused, the first because {refused[0]['reason']}", soft_wrap=True)
    if document["at_edge"]:
        console.print(
            f"the choice lies at the edge of the grid in {', '.join(document['at_edge'])}; a wider grid might choose another",
            soft_wrap=True,
        )
    use = "some hyper-parameters were fixed by hand, so --tuned does not take it" if document["fixed"] else "use it with --tuned"
    console.print(f"chosen: {document['choice']}; written to {path}; {use}", soft_wrap=True)
