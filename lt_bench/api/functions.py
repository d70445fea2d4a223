"""``lt.fit``, ``lt.tune``, ``lt.choose`` and ``lt.evaluate``."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from lt_bench.api.cache import Cache
from lt_bench.api.outcomes import Choice, Run, Runs, Tuning
from lt_bench.bench import planning
from lt_bench.bench.changed_code import changed_code
from lt_bench.bench.choosing import choose as choosing
from lt_bench.bench.execute import MeasuredHead, fit_and_measure, require_writable
from lt_bench.bench.hyperparameters import typed
from lt_bench.bench.options.choices import DRAWS
from lt_bench.bench.tuned import tuned_choice, tuning_of, warnings_of_choice
from lt_bench.bench.tuning import tune as tuning
from lt_bench.bench.validation import Profile, Validation
from lt_bench.core.commands import RESULTS
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import Standardised
from lt_bench.engine.arithmetic import Matmul
from lt_bench.features.locate import known_as
from lt_bench.features.manifest import Manifest
from lt_bench.features.shared import validation_shared
from lt_bench.leaderboard.objective.objective import objective_of
from lt_bench.results.health import warnings_of
from lt_bench.results.shared_images import shared_words
from lt_bench.results.store import Store
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.registry import describe, find
from lt_bench.strategies.revisions import code_of

AnyStrategy = str | type[Strategy] | Entry
"""The name of a strategy, the dotted path ``package.module.Class`` of one of your own, its class (of a notebook's cell, too), or an entry of the registry."""


def fit(
    strategy: AnyStrategy,
    cache: Cache,
    *,
    seeds: int | Iterable[int] = 0,
    tuned: Tuning | bool = False,
    results: str | Path | None = None,
    analysis: bool = False,
    best_test_epoch: bool = False,
    matmul: Matmul = "highest",
    accelerator: str = "auto",
    **hyperparameters: Any,
) -> Runs:
    """Fit a strategy once per seed, and measure every head.

    Args:
        strategy: its name, dotted path, class or entry.
        cache: the features.
        seeds: repetitions: initial head and batch order, ``range(3)`` for three; an int is that one repetition, as in ``--seeds 3``. A strategy without randomness
            runs once.
        tuned: take the hyper-parameters of a tuning of this strategy on this cache; True for what ``lt-bench tune`` chose, or the shipped choice.
        results: also write the records into this directory, for ``lt-bench leaderboard``.
        analysis: also follow classifier norm, feature norm and cosine per class over the epochs, in ``arrays``.
        best_test_epoch: also test after every epoch, and report the best under that name.
        matmul: precision of float32 products; other precisions are other runs in records.
        accelerator: auto, cpu or gpu.
        **hyperparameters: values that replace the strategy's own for this data set, fields of the recipe (``lr``, ``epochs``, ...) included.

    Raises:
        UserError: an unknown strategy or hyper-parameter, a cache that the strategy cannot use, a fit that diverged.
    """
    entry = entry_of(strategy)
    given, chosen = _chosen(entry, cache, tuned, _typed(entry, hyperparameters), Path(results or RESULTS))
    if best_test_epoch and entry.fitting != "sgd":
        raise UserError(f"best_test_epoch: there are no epochs in {entry.name}; leave it out")
    name = cache.manifest.name if cache._temporary is not None else known_as(cache.path, cache.manifest)
    words = ("--cache", name, "--best-test-epoch") if best_test_epoch else ()
    setting = planning.Setting(words=words, matmul=matmul if entry.takes_batches else planning.CLEAN.matmul, cache=name)
    planned = planning.plan(entry, cache.manifest, given, _seeds(seeds), chosen, setting)
    store = None if results is None else Store(results)
    if store is not None:
        require_writable(store.directory / cache.manifest.dataset.name)
        there = store.recorded(run.id for run in planned)
        for line in changed_code([run for run in planned if run.id not in there], store):
            warnings.warn(line, stacklevel=2)
    bench = replace(cache.bench(accelerator), best_test_epoch=best_test_epoch)
    measured = [_recorded(one, store) for one in fit_and_measure(bench, planned, analysis=analysis)]
    for line in warnings_of(one.record for one in measured):
        warnings.warn(line, stacklevel=2)
    of_run, standardisation = {one.run.id: one for one in measured}, cache.standardisation()
    return Runs(Run(of_run[run.id].record, of_run[run.id].module, of_run[run.id].arrays, standardisation) for run in planned)


def tune(
    strategy: AnyStrategy,
    cache: Cache,
    *,
    seeds: int | Iterable[int] = (0, 1, 2),
    grid: Mapping[str, Iterable[Any]] | None = None,
    results: str | Path | None = None,
    accelerator: str = "auto",
    objective: str = "macro",
    val_size: int | None = None,
    val_profile: Profile | None = None,
    draws: int = DRAWS,
    budget: int | None = None,
    **fixed: Any,
) -> Tuning:
    """Choose a strategy's hyper-parameters on the validation rows of a cache; the test rows are never read.

    Args:
        strategy: its name, dotted path, class or entry.
        cache: the features, with validation rows that the backbone was not trained on.
        seeds: repetitions of every point, as of ``fit``.
        grid: values to try by hyper-parameter; by default the strategy's own grid.
        results: also write the tuning into this directory, where ``lt-bench run --tuned`` finds it; the same call resumes there after a kill, and fits nothing once the tuning is complete.
        accelerator: auto, cpu or gpu.
        val_size: number of validation images that decide; by default all.
        val_profile: with ``val_size``: ``balanced`` (the default), or ``long-tailed`` as the training images.
        draws: number of draws of validation images, which show how settled the choice is.
        budget: points to try at most: the strategy's own hyper-parameters, then a random draw of the grid; by default all.
        objective: ``macro``, ``micro``, ``shots``, ``prior=FILE``, ``prior=forward:50`` or ``cost=FILE``, on validation.
        **fixed: hyper-parameters that are not to be chosen.

    Raises:
        UserError: no validation rows, seen ones, nothing to choose, or a value that the strategy does not take.
    """
    entry = entry_of(strategy)
    tried = None if grid is None else {name: [_typed(entry, {name: value})[name] for value in values] for name, values in grid.items()}
    if results is not None:
        require_writable(Path(results) / "tuning")
    decides = objective_of(objective, cache.manifest.dataset.class_names, np.array(cache.manifest.dataset.train_counts))
    document = tuning.tune(
        entry, cache.bench(accelerator), _seeds(seeds), fixed=_typed(entry, fixed), grid=tried, objective=decides,
        validation=Validation(None if val_size is None else _whole("val_size", val_size), val_profile, _whole("draws", draws)), results=None if results is None else Path(results),
        budget=None if budget is None else _whole("budget", budget),
    )  # fmt: skip
    for line in (*_shared_validation(cache), *warnings_of_choice(document)):
        warnings.warn(line, stacklevel=2)
    if results is not None:
        tuning.write_tuning(document, entry, cache.manifest, Path(results))
    return Tuning(entry, document)


def choose(
    cache: Cache,
    strategies: Iterable[AnyStrategy] = (),
    *,
    objective: str = "macro",
    folds: int = 5,
    seeds: int | Iterable[int] = 0,
    budget: int = 12,
    split: Literal["val", "train"] | None = None,
    groups: ArrayLike | None = None,
    results: str | Path | None = None,
    accelerator: str = "auto",
) -> Choice:
    """Compare strategies with chosen hyper-parameters by nested cross-validation on rows that the backbone has not seen; the test rows are never read.

    Args:
        cache: the features.
        strategies: names, dotted paths, classes or entries; by default the stage-1 head as it is and seven others.
        objective: ``macro``, ``micro``, ``shots``, ``prior=FILE`` or ``cost=FILE``.
        folds: 3 or more.
        seeds: repetitions of every fit, as of ``fit``.
        budget: points of each strategy at most: its own hyper-parameters, then a random sample of its grid.
        split: ``val``, or ``train``, where heads are fitted without the folds that they predict; by default ``val`` where the backbone has not seen it, else ``train``.
        groups: (N,) track, patient or site of each row of the split; a group stays in one fold. By default the groups that the cache was split by, else rows of equal features.
        results: directory that stores predictions, from which the same call resumes after a kill.
        accelerator: auto, cpu or gpu.

    Raises:
        UserError: the backbone has seen all rows that may choose, or a strategy cannot be used on this cache.
    """
    decides = objective_of(objective, cache.manifest.dataset.class_names, np.array(cache.manifest.dataset.train_counts))
    document = choosing.choose(
        cache.bench(accelerator), [entry_of(one) for one in strategies], _seeds(seeds), objective=decides, folds=_whole("folds", folds),
        budget=_whole("budget", budget), split=split, groups=None if groups is None else np.asarray(groups), results=None if results is None else Path(results),
    )  # fmt: skip
    for line in _shared_validation(cache) if document["split"] == "val" else ():
        warnings.warn(line, stacklevel=2)
    return Choice(document, decides)


def _shared_validation(cache: Cache) -> list[str]:
    """A line on validation images that are also training images, whose choice partly rewards remembering; none where there are none."""
    said = shared_words(validation_shared(cache.manifest))
    return [said] if said else []


def evaluate(head: Run | nn.Module, cache: Cache, split: str = "test", *, accelerator: str = "auto") -> dict[str, float]:
    """Every metric of a head on the plain view of a split, by name; accuracies are fractions.

    Args:
        head: a run, or any module from features (B, D) to logits (B, K); it is not changed.
        cache: the features; its training counts say which classes are many, medium and few.
        split: train, val or test.
        accelerator: auto, cpu or gpu.

    Raises:
        UserError: no such split, or a head for other features or classes.
    """
    if not cache.has(split):
        raise UserError(f"cache {cache.manifest.name} has no {split} split; it has {', '.join(cache.manifest.views)}")
    module = copy.deepcopy(_head_for(head, cache) if isinstance(head, Run) else head).eval()
    bench = cache.bench(accelerator)
    _require_shapes(module, bench.split(split).view("plain")[:2], cache.manifest)
    offsets = bench.measure(module, "val", equalise=True).offsets if split == "test" and cache.has("val") else None
    return bench.measure(module, split, equalise=split != "train", offsets=offsets).scalars


def _require_shapes(head: nn.Module, features: Tensor, manifest: Manifest) -> None:
    """Refuse a head for other features or classes, by its logits of a few features (B, D)."""
    expected = len(features), manifest.dataset.num_classes
    try:
        with torch.inference_mode():
            shape = tuple(head.to(features.device, torch.float32)(features.to(torch.float32, copy=True)).shape)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the head does not take features (N, {manifest.backbone.dim}) of cache {manifest.name}: {reason}") from error
    if shape != expected:
        raise UserError(f"the head makes logits {shape} of {len(features)} rows of cache {manifest.name}, expected {expected}")


def _head_for(run: Run, cache: Cache) -> nn.Module:
    """The head of a run for the features of a cache, preceded by the run's standardisation where the cache is not standardised."""
    here, there = cache.standardisation(), run.standardisation
    if here is None:
        return run.head if there is None else Standardised(run.head, *there)
    if there is None or not all(map(torch.equal, here, there)):
        raise UserError(
            f"the features of cache {cache.manifest.name} are standardised by other rows than those of the run; import them without"
        )
    return run.head


def entry_of(strategy: AnyStrategy) -> Entry:
    """The registry's entry of a strategy, given as name, dotted path, class or entry.

    Raises:
        UserError: there is no such strategy, or the class is no strategy.
    """
    if isinstance(strategy, Entry):
        return strategy
    return find(strategy) if isinstance(strategy, str) else describe(strategy)


def _chosen(
    entry: Entry, cache: Cache, tuned: Tuning | bool, given: dict[str, Any], results: Path
) -> tuple[dict[str, Any], planning.Tuning | None]:
    """The hyper-parameters to fit with, and their tuning; None in place of a tuning for defaults and values of the user's own."""
    if tuned is False:
        return given, None
    if given:
        raise UserError(f"tuned takes the chosen hyper-parameters, and {', '.join(given)} was given too; leave one of them out")
    if tuned is True:
        choice = tuned_choice(entry, cache.manifest, results)
        if choice is None:
            raise UserError(f"{entry.public_name} was not tuned on cache {cache.manifest.name}; pass tuned=lt.tune(...)")
        return choice
    document = tuned.document
    if (document["strategy"], document["cache_key"]) != (entry.public_name, cache.key):
        raise UserError(f"this is a tuning of {document['strategy']} on cache {document['cache']}; tune {entry.public_name} on this one")
    if document["code"] != code_of(entry, tuned.best).text:
        raise UserError(f"the code of {entry.public_name} changed since it was tuned; tune it again")
    if document["fixed"]:
        raise UserError("some hyper-parameters of this tuning were fixed by hand; pass them on as yours: lt.fit(..., **tuning.best)")
    return tuned.best, tuning_of(document)


def _recorded(measured: MeasuredHead, store: Store | None) -> MeasuredHead:
    if store is not None:
        store.write(measured.record, measured.arrays)
    return measured


def _typed(entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert hyper-parameters to the strategy's types, and NumPy's numbers to Python's."""
    return typed(
        entry, {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}, "hyper-parameters"
    )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    try:
        return [operator.index(seeds)]  # pyright: ignore[reportArgumentType]
    except TypeError:
        return [_whole("seeds", seed) for seed in (seeds if isinstance(seeds, Iterable) else [seeds])]


def _whole(name: str, number: SupportsIndex) -> int:
    """Convert a whole number of Python, NumPy or torch to an int.

    Raises:
        UserError: the value is no whole number.
    """
    try:
        return operator.index(number)
    except TypeError:
        raise UserError(f"{name}: expected a whole number, got {number!r}") from None
