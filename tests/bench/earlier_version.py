"""Caches of format 1, and records and tunings of schema 1, as version 0.1.0 wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lt_bench.bench.migrate import key_of_format_1
from lt_bench.bench.tuned import tuning_id
from lt_bench.core.seals import SEAL
from lt_bench.features.manifest import read_manifest
from lt_bench.results.store import Store
from tests.results.edited import rewritten


def as_format_1(directory: Path) -> str:
    """Rewrite the manifest of a cache as format 1 had it; returns its key."""
    path = directory / "manifest.json"
    key = key_of_format_1(read_manifest(directory))
    document = json.loads(path.read_text())
    for name in ("audit", "independence", SEAL):
        del document[name]
    path.write_text(json.dumps(document | {"format": 1, "key": key}, indent=1, sort_keys=True))
    return key


def as_schema_1(path: Path, key: str, tunings: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Rewrite a record as schema 1 had it, of a cache with this key, and of tunings whose ids then are given by those of now; returns its path."""
    document = json.loads(path.read_text())
    del document["arrays"], document[SEAL], document["identity"]["code"]
    document["schema"], document["identity"]["cache_key"], document["cache"]["key"] = 1, key, key
    document["tuning"]["tuning_id"] = tunings.get(document["tuning"]["tuning_id"], document["tuning"]["tuning_id"])
    return rewritten(path, document)


def tuning_as_schema_1(path: Path, key: str) -> Path:
    """Rewrite a tuning as schema 1 had it, of a cache with this key; returns its path."""
    document = json.loads(path.read_text())
    del document[SEAL], document["code"]
    document = document | {"schema": 1, "cache_key": key}
    old = path.with_name(path.name.replace(path.stem.rpartition("-")[2], key))
    path.unlink()
    old.write_text(json.dumps(document | {"id": tuning_id(document)}))
    return old


def as_earlier_version(cache: Path, results: Path) -> tuple[Path, list[Path]]:
    """Rewrite a cache, the one tuning and the records on it; returns the paths of the tuning and of the records."""
    (tuning,) = (results / "tuning").iterdir()
    key = as_format_1(cache)
    new = json.loads(tuning.read_text())["id"]
    old = tuning_as_schema_1(tuning, key)
    ids = {new: json.loads(old.read_text())["id"]}
    return old, [as_schema_1(path, key, ids) for path in Store(results).paths()]
