"""``lt-bench run``, from options to records: a strategy on one cache, or on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lightning.pytorch import Callback

from lt_bench.bench.changed_code import changed_code
from lt_bench.bench.execute import execute
from lt_bench.bench.options import RunOptions
from lt_bench.bench.planning import CLEAN, Setting, plan
from lt_bench.bench.sources.base import Source
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.sources.find_cache import resolve_cache
from lt_bench.bench.tuned import chosen
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.locate import known_as
from lt_bench.features.manifest import Manifest
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.registry import find

END_TO_END_ONLY = ("recipe", "epochs", "phase1", "keep_epochs")
IMAGES_ONLY = ("precision", "compiled")


@dataclass(frozen=True)
class RunOutcome:
    """Outcome of a run.

    Attributes:
        records: of the runs, those recorded before among them.
        failures: a line for every run that failed, which is not recorded.
        planned: runs that were asked for.
        before: number of these runs that were recorded before.
        repeats: largest difference of a metric, by id, for recorded runs that were fitted again and repeat.
        remarks: a line for every strategy whose code changed since records of it were made.
    """

    records: list[RunRecord]
    failures: list[str]
    planned: int
    before: int
    repeats: dict[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    def checked(self) -> list[RunRecord]:
        """The records of all runs asked for.

        Raises:
            UserError: a run failed.
        """
        if self.failures:
            raise UserError("; ".join(self.failures))
        return self.records


def run(options: RunOptions, callbacks: Callable[[], Sequence[Callback]] = tuple) -> RunOutcome:
    """Fit the strategy, or each of several, once per seed and record each; seeds recorded before are not fitted again, unless that is asked for. ``callbacks`` makes callbacks for every fit.

    Raises:
        UserError: an option cannot be carried out; nothing is recorded then.
    """
    entries = [find(name) for name in dict.fromkeys(options.strategy.name.split(","))]
    if options.best_test_epoch and without_epochs(entries) == entries:
        raise UserError(f"--best-test-epoch: there are no epochs in {names_of(entries)}; leave it out")
    if options.matmul != CLEAN.matmul and not any(entry.takes_batches for entry in entries):
        raise UserError(f"--matmul: nothing is fitted by steps in {names_of(entries)}; leave it out")
    bench, setting, tuned_on = where(entries[0], options)
    if len(entries) > 1 and setting.protocol != CLEAN.protocol:
        raise UserError("several strategies in one run are for cached features; name one with --strategy")
    planned = []
    for entry in entries:
        given, tuning = chosen(entry, options, tuned_on)
        own = setting if entry.takes_batches or setting.protocol != CLEAN.protocol else Setting(cache=setting.cache)
        planned += plan(entry, bench.manifest, given, options.seeds, tuning, own)
    store, records = Store(options.results), []
    before = store.recorded(one.id for one in planned)
    remarks = changed_code([one for one in planned if one.id not in before], store)
    repeats: dict[str, float] = {}
    again = repeats if options.again else None
    failures = execute(bench, planned, store, records.append, analysis=options.analysis, repeats=again, callbacks=callbacks)
    return RunOutcome(records, list(dict.fromkeys(failures)), len(planned), len(before), repeats, remarks)


def without_epochs(entries: Sequence[Entry]) -> list[Entry]:
    """The strategies among these that are not fitted by steps."""
    return [entry for entry in entries if entry.fitting != "sgd"]


def names_of(entries: Sequence[Entry]) -> str:
    """Names of strategies, for a message."""
    return ", ".join(entry.public_name for entry in entries)


def where(entry: Entry, options: RunOptions) -> tuple[Source, Setting, Manifest | None]:
    """Source to fit on, setting of the fit, and manifest of the cache whose tuning ``--tuned`` takes (None without a cache).

    Raises:
        UserError: an option that has no meaning here, or whatever stands in the way of the cache or the images.
    """
    on_images = options.mode == "end-to-end" or options.protocol != "clean"
    for name in (*(END_TO_END_ONLY if options.mode == "head" else ()), *(() if on_images else IMAGES_ONLY)):
        if getattr(options, name):
            raise UserError(
                f"--{name.replace('_', '-')} is for {'--mode end-to-end' if name in END_TO_END_ONLY else 'fitting on images'}; leave it out"
            )
    if on_images and options.matmul != "highest":
        raise UserError("--matmul is for heads on cached features; on images say --precision")
    if on_images and options.skip_broken:
        raise UserError("--skip-broken is for extracting features of image files, which a protocol on images does not; leave it out")
    if not on_images:
        cache = resolve_cache(options)
        name = known_as(cache.path, cache.manifest)
        words = ("--cache", name, "--best-test-epoch") if options.best_test_epoch else ()
        setting = Setting(words=words, matmul=options.matmul, cache=name)
        return CacheSource(cache, Hardware(options.accelerator, options.devices), options.best_test_epoch), setting, cache.manifest
    from lt_bench.bench.sources.image_options import image_bench  # and with it the image side, which a cache does without

    return image_bench(entry, options)
