"""Exported classifiers as W&B artifacts of type model, made of the record and the cache that they are of. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lt_bench.core.activity import steps
from lt_bench.core.errors import UserError
from lt_bench.core.seals import SEAL
from lt_bench.deploy.files import DESCRIPTION, file_of, read_description
from lt_bench.leaderboard.wandb.artifacts import artifact_of, cache_artifact, record_artifact, use_artifact
from lt_bench.leaderboard.wandb.ledger import Ledger
from lt_bench.leaderboard.wandb.view import run_config, start
from lt_bench.results.record import RunRecord
from lt_bench.results.store import Store


@dataclass(frozen=True)
class Export:
    """An exported classifier: its description, its files, and the record that it is of, which lies at `path`."""

    description: dict[str, Any]
    files: list[Path]
    record: RunRecord
    path: Path


def read_exports(directories: Iterable[Path], results: Path) -> list[Export]:
    """The exports in these directories, with their records.

    Raises:
        UserError: one is not an export, is damaged, or its record is not in `results`.
    """
    store, exports = Store(results), []
    for directory in directories:
        description = read_description(directory)
        files = [directory / DESCRIPTION, *(file_of(directory, description, name) for name in description["files"])]
        id_ = str(description["provenance"]["record"])
        if not store.has(id_):
            raise UserError(
                f"{directory}: its record {id_} is not in {results}, and the model would have no lineage; name the place with --results"
            )
        record = store.load(id_)
        exports.append(Export(description, files, record, store.path(record)))
    return exports


def push_exports(exports: Iterable[Export], ledger: Ledger) -> None:
    """Write a W&B run of job type `export` for every export that is not there yet: it uses the artifacts of cache and record, and makes one of type model.

    Raises:
        UserError: W&B refuses (no account, no network).
    """
    for export in steps(exports, "exports pushed"):
        seal = str(export.description[SEAL])
        ledger.once(f"export-{seal[:16]}", seal, lambda export=export, seal=seal: _write(export, f"export-{seal[:16]}", ledger))


def _write(export: Export, id: str, ledger: Ledger) -> None:  # noqa: A002
    record, config = export.record, run_config(export.record)
    facts = {
        name: export.description["provenance"][name]
        for name in ("strategy", "hyperparameters", "seed", "dataset", "test", "record", "exported")
    }
    run = start(ledger.to, id, f"export of {config['row']}, seed {record.identity.seed}", config["row"], "export", config, ["export"])
    use_artifact(run, cache_artifact(record))
    use_artifact(run, record_artifact(record, [export.path, export.path.with_suffix(".npz")], config))
    run.log_artifact(artifact_of(f"model-{record.id}", "model", export.files, facts, policy="mutable"))
    run.finish()
