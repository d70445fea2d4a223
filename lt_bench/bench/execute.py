"""Fitting planned runs as stacks, measuring every head, and writing its record."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import nn

from lt_bench.bench.contract.check import contract_of
from lt_bench.bench.health import signs_of
from lt_bench.bench.planning import Planned, by_strategy
from lt_bench.bench.sources.base import Source
from lt_bench.core.commands import word
from lt_bench.core.devices import device_name
from lt_bench.core.environment import environment
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, described
from lt_bench.core.files import require_place
from lt_bench.core.launchers import is_first_process
from lt_bench.core.processes import current
from lt_bench.core.seeds import derive_seed
from lt_bench.engine.heads.fit import Fitted
from lt_bench.engine.heads.trajectory import NormTrajectory
from lt_bench.features.shared import shared_of
from lt_bench.results.compare import TOLERANCE, compare
from lt_bench.results.health import Signs
from lt_bench.results.record import (
    PASSED,
    BackboneInfo,
    CacheInfo,
    DatasetInfo,
    Identity,
    RunRecord,
    SeedInfo,
    StrategyInfo,
    TimeInfo,
    TrainingInfo,
    TuningInfo,
)
from lt_bench.results.store import EPOCHS, TEST_GROUPS, Store
from lt_bench.strategies.contract import Strategy

BEST_EPOCH = "test_best_epoch"
COLLAPSE = "feature_collapse"
"""Figure of a view that is a fact of its features, and the same in every record of a cache."""
Callbacks = Callable[[], Sequence[Callback]]
"""Makes the callbacks of a fit."""


@dataclass(frozen=True, eq=False)
class MeasuredHead:
    """A head that was fitted and measured.

    Attributes:
        run: what was asked for.
        record: everything that is known about it.
        arrays: what is stored beside the record: predictions (N,), vectors per class (K,).
        module: from features (B, D) to logits (B, K).
    """

    run: Planned
    record: RunRecord
    arrays: dict[str, np.ndarray]
    module: nn.Module


def fit_and_measure(
    bench: Source, planned: Sequence[Planned], callbacks: Callbacks = tuple, *, analysis: bool = False
) -> Iterator[MeasuredHead]:
    """Fit runs, each stack with callbacks of its own, and measure every head, without recording it.

    Raises:
        UserError: a fit diverged, or a strategy refuses the data or its hyper-parameters.
    """
    for runs, fitted in bench.fitted(planned, (lambda: [*callbacks(), NormTrajectory()]) if analysis else callbacks):
        complete_trajectory(bench, fitted)
        for head, run in enumerate(runs):
            yield measure_head(bench, run, fitted, head)


def complete_trajectory(bench: Source, fitted: Fitted) -> None:
    """Measure the norms of a fit without steps once, since no Trainer calls its trajectory."""
    if fitted.trajectory is not None and not fitted.steps:
        fitted.trajectory.reset()
        fitted.trajectory.measure(fitted.strategy, 0, bench.split("train"))


def measure_head(bench: Source, run: Planned, fitted: Fitted, head: int) -> MeasuredHead:
    """Measure a head of a fitted stack on test, flipped test, the plain train view and validation, and make its record and arrays, those of its trajectory included.

    Raises:
        UserError: the fit of the head diverged.
    """
    started = time.perf_counter()
    fitted.check_finite(head)
    strategy = fitted.head(head)
    module, classifier = fitted.module(head), strategy.classifier_rows()
    classifier = None if classifier is None else fitted.of_all_classes(classifier)
    met = None if type(strategy).classifier_input is Strategy.classifier_input else strategy.classifier_input
    val = bench.measure(module, "val", equalise=True) if bench.has("val") else None
    offsets = None if val is None else val.offsets
    test = bench.measure(module, "test", classifier, met, equalise=True, offsets=offsets, prior_power=strategy.prior_power())
    views = {"test": test, "train": bench.measure(module, "train", classifier, met)}
    if val is not None:
        views["val"] = val
    if "flip" in bench.split("test").views:
        views["test_flip"] = bench.measure(module, "test", flip=True)
    arrays = {
        "test_predictions": test.predictions,
        "test_labels": bench.split("test").labels.cpu().numpy().astype(np.int32),
        "test_true_probability": test.true_probability,
    }
    if bench.test_groups is not None:
        arrays[TEST_GROUPS] = bench.test_groups
    for view in ("test", "train"):
        arrays |= {f"{view}/{name}": vector for name, vector in views[view].vectors.items()}
    if fitted.trajectory is not None:
        arrays |= fitted.trajectory_arrays(head)
    seconds = time.perf_counter() - started
    collapse = {view: {COLLAPSE: value} for view, value in bench.collapse.items()}
    metrics = {view: measured.scalars | collapse.get(view, {}) for view, measured in views.items()}
    if fitted.best_epochs:
        metrics[BEST_EPOCH] = fitted.best_epochs[head]
    health = signs_of(bench, run, fitted, head, {name: views[name] for name in ("train", "test")})
    return MeasuredHead(run, record_of(bench, run, fitted, head, metrics, seconds, health), arrays, module)


def record_of(
    bench: Source, run: Planned, fitted: Fitted, head: int, metrics: dict[str, dict[str, float]], evaluate_seconds: float,
    health: Signs,
) -> RunRecord:  # fmt: skip
    """The record of one head."""
    history = fitted.history[head]
    return replace(
        record_before_fit(bench, run), metrics=metrics,
        training=TrainingInfo(
            len(history) if run.entry.fitting == "sgd" else 0, fitted.steps, run.hyperparameters.get("batch_size"), bench.trained_parameters(fitted), history[-1]["loss"] if history else None, history, health
        ),
        time=TimeInfo(fitted.seconds / len(fitted.jobs), evaluate_seconds, datetime.now(UTC).isoformat(timespec="seconds")),
        environment=environment(device_name(bench.device), bench.hardware.layout.world, fitted.threads, torch.are_deterministic_algorithms_enabled()),
    )  # fmt: skip


def record_before_fit(bench: Source, run: Planned) -> RunRecord:
    """The record of a run before its fit: identity and sources, without measurements."""
    manifest, entry = bench.manifest, run.entry
    dataset, backbone = manifest.dataset, manifest.backbone
    sizes = {split: manifest.arrays[f"{split}/labels"].shape[0] for split in manifest.views}
    return RunRecord(
        identity=Identity(**run.identity),
        strategy=StrategyInfo(
            entry.public_name, entry.family, entry.paper, entry.sampler, entry.trains, entry.class_path, entry.inferred,
            contract_of(entry, run.hyperparameters), run.code.parts,
        ),
        dataset=DatasetInfo(
            dataset.name, dataset.imbalance_factor, dataset.selection, dataset.split_hash, dataset.num_classes, list(dataset.class_names),
            list(dataset.train_counts), sizes["train"], sizes.get("val", 0), sizes["test"], dataset.val_seen_by_backbone,
        ),
        backbone=BackboneInfo(backbone.name, backbone.weights_hash, backbone.dim, backbone.stage1),
        cache=CacheInfo(manifest.key, manifest.name, manifest.dtype, list(manifest.views["train"]), shared_of(manifest)),
        tuning=tuning_info(run),
        seeds=SeedInfo(
            run.repetition, derive_seed("init", run.repetition), run.repetition, bench.varies(run)
        ),
        metrics={},
        training=TrainingInfo(0, 0, run.hyperparameters.get("batch_size"), 0, None, []),
        time=TimeInfo(0.0, 0.0, datetime.now(UTC).isoformat(timespec="seconds")),
        environment=environment(device_name(bench.device), bench.hardware.layout.world),
        command=run.command,
    )  # fmt: skip


def tuning_info(run: Planned) -> TuningInfo:
    """The origin of the run's hyper-parameters, as its record says it."""
    tuning = run.tuning
    seeds = None if tuning.seeds is None else list(tuning.seeds)
    return TuningInfo(
        tuning.kind,
        tuning.selected_on,
        tuning.grid_size,
        seeds,
        tuning.tuning_id,
        tuning.objective,
        tuning.validation,
        tuning.standard_error,
        tuning.alone_best,
        tuning.whole_grid,
    )


def broken_contracts(runs: Sequence[Planned]) -> list[str]:
    """One line for every strategy of the user's own that fails ``lt-bench check``."""
    problems = {run.entry.public_name: contract_of(run.entry, run.hyperparameters) for run in runs}
    return [
        f"{name} fails `lt-bench check`, so its rows are marked; {said}" for name, said in problems.items() if said not in (None, PASSED)
    ]


def execute(
    bench: Source,
    planned: Sequence[Planned],
    store: Store,
    done: Callable[[RunRecord], None],
    *,
    analysis: bool = False,
    repeats: dict[str, float] | None = None,
    callbacks: Callbacks = tuple,
) -> list[str]:
    """Fit, measure and record the runs that are not recorded yet; a failing strategy or seed does not stop the others.

    Args:
        bench: the opened cache.
        planned: the runs.
        store: where records go; only the first process writes.
        done: called with every record, also with those that were there before.
        analysis: also store the ``NormTrajectory`` of each fit.
        repeats: if given, recorded runs are fitted again and compared, and the largest difference of each run that repeats is stored here by id.
        callbacks: makes further callbacks of each fit.

    Returns:
        One line for every run that failed; failures are never stored.

    Raises:
        UserError: the store cannot be written, or holds a record that is damaged or lacks the trajectory or best test epoch asked for.
    """
    failures = []
    left = unrecorded(bench, planned, store, done if repeats is None else lambda _: None, analysis=analysis)
    for runs in bench.units(left if repeats is None else planned):
        failures += fit_and_record(bench, runs, store, done, analysis=analysis, repeats=repeats, callbacks=callbacks)
    return failures


def unrecorded(
    bench: Source, planned: Sequence[Planned], store: Store, done: Callable[[RunRecord], None], *, analysis: bool = False
) -> list[Planned]:
    """The runs that are still to be fitted; ``done`` is called with the records of the others.

    Raises:
        UserError: as ``execute``.
    """
    # Results may lie where only the first process sees them.
    recorded = current().first_does(lambda: _recorded(bench, planned, store, done, analysis))
    return [run for run in planned if run.id not in recorded]


def _recorded(bench: Source, planned: Sequence[Planned], store: Store, done: Callable[[RunRecord], None], analysis: bool) -> set[str]:
    recorded, there = set(), store.recorded(run.id for run in planned)
    for run in planned:
        if run.id in there:
            record = store.load(run.id)
            if analysis and EPOCHS not in record.arrays:
                raise UserError(
                    f"{store.directory}: {run.entry.public_name}, seed {run.repetition}, was recorded without --analysis, and records never change; "
                    "use another --results directory"
                )
            if bench.best_test_epoch and record.training.epochs and BEST_EPOCH not in record.metrics:
                raise UserError(
                    f"{store.directory}: {run.entry.public_name}, seed {run.repetition}, was recorded without --best-test-epoch, and records never "
                    "change; use another --results directory"
                )
            done(store.retuned(record, tuning_info(run)))
            recorded.add(run.id)
    if len(recorded) < len(planned):
        require_writable(store.directory / bench.manifest.dataset.name)
    return recorded


def fit_and_record(
    bench: Source,
    runs: Sequence[Planned],
    store: Store,
    done: Callable[[RunRecord], None],
    *,
    analysis: bool = False,
    repeats: dict[str, float] | None = None,
    callbacks: Callbacks = tuple,
) -> list[str]:
    """Fit, measure and record runs that are fitted together; one line for every run that failed. ``repeats`` and ``callbacks`` as in ``execute``."""
    failures, left = [], list(runs)
    try:
        for stack, fitted in bench.fitted(runs, lambda: [*([NormTrajectory()] if analysis else ()), *callbacks()]):
            complete_trajectory(bench, fitted)
            for line in broken_contracts(stack) if is_first_process() else ():
                print(f"lt-bench: {line}", file=sys.stderr)  # noqa: T201
            failures += [
                f"{title(run)}, seed {run.repetition}: {error}" for run, error in _record_each(bench, stack, fitted, store, done, repeats)
            ]
            left = [run for run in left if run not in stack]
    except (UserError, *FAILURES_OF_CODE) as error:
        groups = by_strategy(left)
        if len(groups) > 1 and current().world > 1 and not isinstance(error, UserError):
            raise  # the other processes may not have failed, and wait for this one
        if len(groups) == 1:
            return [*failures, f"{title(left[0])}: {described(error)}"]
        for group in groups:  # one strategy's mistake is not the others'
            failures += fit_and_record(bench, group, store, done, analysis=analysis, repeats=repeats, callbacks=callbacks)
    return failures


def title(run: Planned) -> str:
    """Strategy and how its hyper-parameters were chosen, as tables and messages name it."""
    return f"{run.entry.public_name} ({run.tuning.kind})"


def _record_each(
    bench: Source,
    runs: Sequence[Planned],
    fitted: Fitted,
    store: Store,
    done: Callable[[RunRecord], None],
    repeats: dict[str, float] | None,
) -> Iterator[tuple[Planned, str]]:
    """Record the heads of a stack; yields the runs that cannot be measured or do not repeat, each with the reason."""
    for head, run in enumerate(runs):
        try:
            measured = measure_head(bench, run, fitted, head)
            record = measured.record
            if is_first_process() and not store.holds(record):  # a worker that died in the midst of this stack may have recorded the head
                record = store.write(record, measured.arrays)
            elif is_first_process():
                record = store.load(run.id)
                if repeats is not None:
                    repeats[run.id] = _largest_difference(store.path(record), record, measured.record)
        except (UserError, OSError, *FAILURES_OF_CODE) as error:
            yield run, described(error)
        else:
            done(record)


def _largest_difference(path: Path, before: RunRecord, again: RunRecord) -> float:
    """Largest difference between the metrics of a repeated fit and those of its record.

    Raises:
        UserError: the difference is above `TOLERANCE`.
    """
    differences = compare(before, again)
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= TOLERANCE:
        view, _, name = worst.partition("/")
        figures = f"{before.metrics[view][name]:.6g} is recorded and {again.metrics.get(view, {}).get(name, math.nan):.6g} came out"
        raise UserError(
            f"does not repeat: {worst} differs most, {figures}; the record stays as it is, `lt-bench verify {word(path)}` says more, and "
            "another --results directory takes the new one"
        )
    return differences[worst]


def require_writable(directory: Path) -> None:
    """Refuse a directory of results that cannot be written, before hours are spent on fits.

    Raises:
        UserError: it cannot be made, or no file in it.
    """
    require_place(directory, "choose another place with --results", "results")
