"""Repetition of a record's fit, and comparison with the record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lt_bench.bench.execute import BEST_EPOCH, Callbacks, MeasuredHead, fit_and_measure
from lt_bench.bench.options import Accelerator, RunOptions, StrategyChoice, VerifyOptions
from lt_bench.bench.planning import CLEAN, Setting, Tuning, plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.devices import device_name
from lt_bench.core.environment import environment
from lt_bench.core.errors import UserError
from lt_bench.core.leftovers import temporary_directory
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.locate import caches_of, find_cache
from lt_bench.results.compare import compare
from lt_bench.results.differences import environments_differ
from lt_bench.results.record import MATMUL, RunRecord
from lt_bench.results.store import arrays_of, read_record
from lt_bench.strategies.registry import find
from lt_bench.strategies.revisions import Code, code_of


def verify(options: VerifyOptions, callbacks: Callbacks = tuple) -> tuple[RunRecord, dict[str, float]]:
    """Fit a record's head (and backbone, where it was) again from its own hyper-parameters and seed on the same cache or images, and compare every metric.

    One process fits one head, however many were fitted together for the record: float32 sums are then taken in another order, and figures differ in their last digits.
    So the tolerance applies to relative differences of figures above 1 in magnitude (logits, norms), and to absolute differences of all others: the default one
    lets no accuracy differ.

    Returns:
        The record, and the difference of every metric by ``view/name`` (``compare``).

    Raises:
        UserError: the record or the arrays beside it were altered, the cache is not here, or the images and weights are not named.
    """
    if options.record is None:
        raise UserError("verify needs the JSON file of a record, whose path a run prints")
    if options.tolerance < 0:
        raise UserError(f"--tolerance is {options.tolerance:g}, expected a number from 0")
    if not options.record.is_file():
        raise UserError(f"{options.record}: no such file; verify needs the JSON file of a record")
    record = read_record(options.record)
    if (side := options.record.with_suffix(".npz")).exists():  # a board is computed of it; a record may be repeated without
        arrays_of(record, side)
    if on_images(record):
        repeated = repeat_on_images(record, options, callbacks)
    else:
        repeated = refit(record, cache_of(record, options.cache), callbacks).record
    if dataclasses.replace(repeated.identity, code=record.identity.code) != record.identity:
        raise UserError(
            f"{options.record}: this version of {record.identity.strategy} has other hyper-parameters, so the run cannot be repeated; use the record's commit"
        )
    return record, compare(record, repeated)


class DifferentError(UserError):
    """A repeated fit differs from its record."""


def check_repeats(options: VerifyOptions, record: RunRecord, differences: dict[str, float]) -> None:
    """Refuse a record with a metric that differs by more than the tolerance.

    Raises:
        DifferentError: the message names the metric that differs most.
    """
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= options.tolerance:
        raise DifferentError(
            f"{options.record}: does not repeat: {worst} differs by {differences[worst]:.3g} (relative where the figure is above 1), more than {options.tolerance:g}"
            f"{likely_causes(record)}"
        )


def likely_causes(record: RunRecord) -> str:
    """Likely reasons why a record does not repeat here: an unstable fit, other code, other versions, another machine; the text begins with a semicolon."""
    differing = environments_differ(record.environment, environment_for(record))
    causes = []
    if changed := changed_code(record):
        causes.append(f"the code differs ({changed})")
    for kind, fields in differing.items():
        if fields:
            causes.append(f"{kind} differ ({', '.join(f'{name} {one}, here {other}' for name, (one, other) in fields.items())})")
    said = unstable(record)
    return said + ("; " + "; ".join(causes) if causes else "" if said else "; code, versions and hardware are those of the record")


def environment_for(record: RunRecord) -> dict[str, Any]:
    """The environment of this process, in which a record is repeated."""
    device = device_name(Hardware(accelerator_of(record)).device)
    return environment(device, record.environment["devices"], threads=record.environment["threads"])


def changed_code(record: RunRecord) -> str:
    """The files whose code differs from the record's, else the revisions then and now; empty where the program is the same."""
    code = code_of(find(record.identity.strategy), record.identity.hyperparameters)
    return (
        ""
        if code.text == record.identity.code
        else ", ".join(changed_files(record, code)) or f"then {record.identity.code}, now {code.text}"
    )


def changed_files(record: RunRecord, code: Code) -> list[str]:
    """The files whose code differs from the record's."""
    return sorted(name for name in {**record.strategy.files, **code.parts} if record.strategy.files.get(name) != code.parts.get(name))


def unstable(record: RunRecord) -> str:
    """Reason why a fit may not repeat: its loss rose to twice its first value or more, which amplifies rounding; empty where it did not."""
    losses = [row["loss"] for row in record.training.history]
    if len(losses) < 2 or max(losses) < 2 * losses[0]:
        return ""
    return f"; its loss rose from {losses[0]:.3g} to {max(losses):.3g}, so rounding decides where it ends: run it again with a smaller --strategy.lr"


def refit(record: RunRecord, cache: FeatureCache, callbacks: Callbacks = tuple) -> MeasuredHead:
    """Fit the head of a record again, from its own hyper-parameters and seed."""
    given = dict(record.identity.hyperparameters)
    setting = Setting(matmul=given.pop(MATMUL, CLEAN.matmul))
    (run,) = plan(find(record.identity.strategy), cache.manifest, given, [record.identity.seed], Tuning(record.tuning.kind), setting)
    bench = CacheSource(cache, Hardware(accelerator_of(record), 1), BEST_EPOCH in record.metrics)
    return next(fit_and_measure(bench, [run], callbacks))


def on_images(record: RunRecord) -> bool:
    """Whether a record was fitted on images and not on a cache."""
    return record.identity.protocol != "clean"


def accelerator_of(record: RunRecord) -> Accelerator:
    """``cpu`` where the record was fitted on a CPU, else ``auto``."""
    return "cpu" if record.environment.get("device", "cpu") == "cpu" else "auto"


def repeat_on_images(record: RunRecord, options: VerifyOptions, callbacks: Callbacks = tuple) -> RunRecord:
    """Fit a record again on images.

    Raises:
        UserError: images, weights or phase 1 are not named, or differ from the record's.
    """
    from lt_bench.bench.sources.image_options import image_bench  # and with it the image side, which a cache does without

    entry, identity, dataset = find(record.identity.strategy), record.identity, record.dataset
    own = {name: value for name, value in identity.hyperparameters.items() if name not in ("stage1_recipe", "phase1")}
    recipe = identity.hyperparameters.get("stage1_recipe")
    with temporary_directory() as place:
        bench, setting, _ = image_bench(
            entry,
            RunOptions(
                dataset=dataset.name, data_dir=options.data_dir, imbalance_factor=dataset.imbalance_factor, backbone=record.backbone.name,
                selection="seed0" if str(dataset.selection).startswith("seed0") else "first",
                profile="step" if "(step" in str(dataset.selection) else "exponential",
                weights=options.weights, phase1=options.phase1, strategy=StrategyChoice(entry.public_name, own), mode=identity.mode,
                protocol=identity.protocol, recipe=None if recipe == "own" else recipe, precision="bf16" if record.cache.dtype == "bfloat16" else "fp32",
                accelerator=accelerator_of(record), best_test_epoch=BEST_EPOCH in record.metrics, checkpoints=Path(place),
            ),
        )  # fmt: skip
        if bench.manifest.key != identity.cache_key or any(
            identity.hyperparameters.get(name) != value for name, value in setting.identity.items()
        ):
            raise UserError(
                f"the record was fitted on other images or weights than those named: key {identity.cache_key}, here {bench.manifest.key}; "
                "name the right --data-dir, --weights and --phase1"
            )
        (run,) = plan(entry, bench.manifest, own, [identity.seed], Tuning(record.tuning.kind), setting)
        return next(fit_and_measure(bench, [run], callbacks)).record


def cache_of(record: RunRecord, named: str | None) -> FeatureCache:
    """The cache that a record was measured on: the one named, or among the known ones.

    Raises:
        UserError: it is not here, or the named one is another.
    """
    key = record.identity.cache_key
    if on_images(record):
        raise UserError(
            f"record {record.id} was fitted on images ({record.identity.mode}, {record.identity.protocol}), so no cache holds its features; an end-to-end run leaves "
            "weights.safetensors, from which `lt-bench extract` makes one"
        )
    return cache_by_key(key, record.cache.name, named, record.command)


def cache_by_key(key: str, name: str, named: str | None, command: str) -> FeatureCache:
    """The cache of this key: the one named, or among the known ones, or at the path that a command of it says.

    Raises:
        UserError: it is not here, or the named one is another.
    """
    if named is None:
        if not (caches := caches_of(key, command)):
            raise UserError(f"the record's cache {name} (key {key}) is not among the known ones; name it with --cache")
        return open_cache(caches[0][0])
    cache = open_cache(find_cache(named))
    if cache.key != key:
        raise UserError(f"{cache.path}: key {cache.key}, and the record was measured on {key}; name the right cache with --cache")
    return cache
