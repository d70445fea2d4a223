"""``lt-bench migrate``: caches of format 1, and records and tunings of schema 1, as this version reads them; each whole or not at all.

The new file is written and read back before the old one goes. A record or a tuning gets the new key of its cache only where exactly one cache at hand fits it:
the old key left out labels, names and counts, so these have to agree with the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lt_bench.bench.planning import FIRST_REVISION
from lt_bench.bench.tuned import SCHEMA_VERSION, check_choice, read_tuning, record_or_tuning, tuning_id
from lt_bench.core.activity import steps
from lt_bench.core.errors import UserError
from lt_bench.core.files import locked, write_text
from lt_bench.core.folders import files_below
from lt_bench.core.identity import record_id
from lt_bench.core.seals import read_json_object, sealed
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.locate import known_caches
from lt_bench.features.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest, cache_key, manifest_of, read_manifest
from lt_bench.results import record as records
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store, read_arrays, read_record

UNKNOWN_CODE = "unknown, recorded before records said it"
"""Code of a strategy, sampler or initial head of the user's own in a record of schema 1."""
RESTORE = "restore it from a copy"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass
class Migrated:
    """Outcome of a migration.

    Attributes:
        lines: one line for each file that was brought up to date.
        refused: one line for each file that was not, with the reason; these files are unchanged.
        current: number of files that were up to date already.
    """

    lines: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    current: int = 0

    def attempt(self, path: Path, bring: Callable[[Path], str | None]) -> None:
        """Migrate one file, and keep the line that says what was done or why the file was refused."""
        try:
            line = bring(path)
        except (UserError, OSError) as error:
            self.refused.append(" ".join(str(error).split()))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self.refused.append(f"{path}: damaged ({error!r}); {RESTORE}")
        else:
            self.current += line is None
            self.lines += [] if line is None else [line]


def migrate(paths: Sequence[Path]) -> Migrated:
    """Bring caches, tunings and records up to date where they lie; a second process on the same folders waits for the first.

    Args:
        paths: folders, which are searched, and files.

    Raises:
        UserError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; migrate takes caches, results directories, records and tunings")
    with ExitStack() as held:
        for folder in sorted({path.resolve() if path.is_dir() else path.resolve().parent for path in paths}):
            held.enter_context(locked(folder))
        return _migrate(paths)


def _migrate(paths: Sequence[Path]) -> Migrated:
    files = sorted({file for path in paths for file in _files(path)})
    done, by_kind = Migrated(), {kind: [] for kind in ("cache", "tuning", "record")}
    for path in steps(files, "files read"):
        kind = "cache" if path.name == MANIFEST_NAME else record_or_tuning(path)
        if kind is not None:
            by_kind[kind].append(path)
        elif path in paths:
            done.refused.append(f"{path}: neither the manifest of a cache, nor a record, nor a tuning; left as it is")
    for path in steps(by_kind["cache"], "caches brought up to date"):
        done.attempt(path, _cache)
    known = KnownCaches([path.parent for path in by_kind["cache"]])
    tunings = MigratedTunings()
    for path in steps(by_kind["tuning"], "tunings brought up to date"):
        done.attempt(path, lambda path: _tuning(path, known, tunings))
    for path in steps(by_kind["record"], "records brought up to date"):
        done.attempt(path, lambda path: _record(path, known, tunings.ids))
    for path in tunings.replaced:
        path.unlink()
    return done


def _files(path: Path) -> Iterator[Path]:
    """The JSON files at a path, without those of unfinished work."""
    if path.is_file():
        yield path
    else:
        yield from (
            file
            for file in files_below(path)
            if file.suffix == ".json" and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )


def key_of_format_1(manifest: Manifest) -> str:
    """The key that a cache had in format 1."""
    views = {split: list(names) for split, names in manifest.views.items()}
    fields = {"split_hash": manifest.dataset.split_hash, "weights_hash": manifest.backbone.weights_hash, "transform": manifest.transform}
    return cache_key({**fields, "dtype": manifest.dtype, "views": views, "format": 1})


def _cache(path: Path) -> str | None:
    """Migrate the manifest of a cache; returns a line that says what was done, or None where the file is up to date.

    Raises:
        UserError: the cache is altered, damaged, or of another format.
    """
    document = read_json_object(path, RESTORE)
    if document.get("format") != 1:
        read_manifest(path.parent)
        return None
    old = manifest_of(document, path)
    if document.get("key") != key_of_format_1(old):
        raise UserError(f"{path}: its key is not that of its fields, so the file was altered; {RESTORE} or make the cache again")
    new = replace(old, format=FORMAT_VERSION)
    FeatureCache(path.parent, new).verify()
    write_text(path, new.to_json())
    return f"{path.parent}: cache {old.name}, key {document['key']} -> {new.key}"


class KnownCaches:
    """Caches by their key of format 1: those in some directories, and those in the known places."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._caches: dict[str, dict[str, FeatureCache]] = {}
        for directory in [*directories, *(directory for directory, _ in known_caches())]:
            try:
                cache = open_cache(directory)
            except UserError:
                continue  # why is said where it was to be brought up to date
            self._caches.setdefault(key_of_format_1(cache.manifest), {}).setdefault(cache.key, cache)

    def one(self, key: str, fits: Callable[[FeatureCache], bool], path: Path) -> FeatureCache:
        """The one cache that had this key in format 1 and that ``fits`` accepts.

        Raises:
            UserError: no cache fits, or several do.
        """
        caches = list(self._caches.get(key, {}).values())
        fitting = [cache for cache in caches if fits(cache)]
        if len(fitting) == 1:
            return fitting[0]
        if len(fitting) > 1:
            raise UserError(
                f"{path}: {' and '.join(str(one.path) for one in fitting)} both had its cache's key {key}; nothing says which it is of"
            )
        if caches:
            raise UserError(
                f"{path}: {caches[0].path} had its cache's key {key}, but has other labels, names or counts; run again on that cache"
            )
        raise UserError(f"{path}: its cache, of key {key}, is not among those named and known; name the cache's folder too")


@dataclass
class MigratedTunings:
    """Tunings that were brought up to date.

    Attributes:
        ids: new ids by old ones.
        replaced: files of the old tunings, removed only after the records that name them are migrated: after a kill, both files exist.
    """

    ids: dict[str, str] = field(default_factory=dict)
    replaced: list[Path] = field(default_factory=list)


def _tuning(path: Path, known: KnownCaches, tunings: MigratedTunings) -> str | None:
    """Migrate a tuning; returns as ``_cache`` does, and notes the tuning's new id."""
    old = read_json_object(path, RESTORE)
    if old.get("schema") != 1:
        read_tuning(path)
        return None
    check_choice(old, path)
    if old["cache_key"] not in path.name:
        raise UserError(f"{path}: its name lacks the key of its cache, {old['cache_key']}, which `lt-bench tune` put there; rename it")

    def fits(cache: FeatureCache) -> bool:
        dataset = cache.manifest.dataset
        return (dataset.split_hash, dataset.val_seen_by_backbone) == (old["split_hash"], old["val_seen_by_backbone"])

    cache = known.one(old["cache_key"], fits, path)
    code = _code("." in old["strategy"], old["choice"])
    content = {**old, "schema": SCHEMA_VERSION, "cache_key": cache.key, "code": code}
    text = json.dumps(sealed({**content, "id": tuning_id(content)}), indent=1, sort_keys=True) + "\n"
    new = path.with_name(path.name.replace(old["cache_key"], cache.key))
    if new.exists() and new.read_text(encoding="utf-8") != text:
        raise UserError(f"{path}: {new.name} is there already, of a later `lt-bench tune`; this one is left as it is")
    write_text(new, text)
    tunings.ids[old["id"]] = read_tuning(new)["id"]
    tunings.replaced.append(path)
    return f"{path}: tuning of {old['strategy']} -> {new.name}"


def _record(path: Path, known: KnownCaches, tunings: Mapping[str, str]) -> str | None:
    """Migrate a record; returns as ``_cache`` does. ``tunings`` maps old ids of tunings to new ones."""
    old = read_json_object(path, RESTORE)
    if old.get("schema") != 1:
        read_record(path)
        return None
    identity, side = old["identity"], path.with_suffix(".npz")
    if old["id"] != record_id(identity) or not path.stem.endswith(f"-{old['id']}") or old["cache"]["key"] != identity["cache_key"]:
        raise UserError(f"{path}: its id is not that of its identity, so the file was altered; {RESTORE} or run again")
    if identity["protocol"] != "clean":
        raise UserError(f"{path}: it was fitted on images, and does not say all that their new key covers; run again")
    arrays = read_arrays(side)
    cache = known.one(identity["cache_key"], lambda cache: _fits(cache, old, arrays["test_labels"]), path)
    own = not old["strategy"]["class_path"].startswith("lt_bench.")
    identity = {**identity, "cache_key": cache.key, "code": _code(own, identity["hyperparameters"])}
    tuning = {**old["tuning"], "tuning_id": tunings.get(old["tuning"]["tuning_id"], old["tuning"]["tuning_id"])}
    content = {**old, "schema": records.SCHEMA_VERSION, "id": record_id(identity), "identity": identity, "tuning": tuning, "arrays": {}}
    record = RunRecord.from_json(sealed({**content, "cache": {**old["cache"], "key": cache.key}}), path)
    store = Store(path.parent.parent)
    if store.path(record).parent != path.parent:
        raise UserError(f"{path}: a record lies in a folder named {record.dataset.name} in its results directory; move it there first")
    new = store.path(store.write(record, arrays))
    store.arrays(record.id)
    path.unlink()
    side.unlink()
    return f"{path}: record of {record.strategy.name} -> {new.name}"


def _fits(cache: FeatureCache, old: Mapping[str, Any], test_labels: np.ndarray) -> bool:
    """Whether a cache has the data set, backbone and test labels that a record states."""
    now, then = cache.manifest.dataset, old["dataset"]
    names = ("name", "split_hash", "val_seen_by_backbone", "imbalance_factor")
    return (
        all(getattr(now, name) == then[name] for name in names)
        and [list(now.class_names), list(now.train_counts)] == [then["class_names"], then["train_counts"]]
        and cache.manifest.backbone.name == old["backbone"]["name"]
        and np.array_equal(cache.labels("test").numpy(), test_labels)
    )


def _code(own: bool, hyperparameters: Mapping[str, Any]) -> str:
    """Code for a record from before records stated it: the first revision, or unknown where a class of the user's own takes part."""
    own = own or any(_DOTTED.fullmatch(value.partition("(")[0]) for value in hyperparameters.values() if isinstance(value, str))
    return UNKNOWN_CODE if own else FIRST_REVISION
