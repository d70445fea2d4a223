"""Caches, records, exports and tables as W&B artifacts: what a run was made of and what it made, offline too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lt_bench.results.record import RunRecord

if TYPE_CHECKING:
    from wandb import Artifact, Run


def cache_artifact(record: RunRecord) -> Artifact:
    """The cache of a record: what its key is of. The key is a hash of all arrays, so the features themselves may stay where they are."""
    import wandb

    facts = {
        "key": record.cache.key, "name": record.cache.name, "dataset": record.dataset.name, "split_hash": record.dataset.split_hash,
        "backbone": record.backbone.name, "weights_hash": record.backbone.weights_hash, "dim": record.backbone.dim,
    }  # fmt: skip
    artifact = wandb.Artifact(f"cache-{record.cache.key}", "cache", metadata=facts)
    with artifact.new_file("cache.json") as file:
        file.write(json.dumps(facts, indent=1, sort_keys=True))
    return artifact


def record_artifact(record: RunRecord, files: Sequence[Path], config: Mapping[str, Any]) -> Artifact:
    """The files of a record; `config` is that of its W&B run."""
    return artifact_of(f"record-{record.id}", "record", files, {name: config[name] for name in ("row", "board")})


def artifact_of(
    name: str, kind: str, files: Sequence[Path], metadata: Mapping[str, Any], policy: Literal["immutable", "mutable"] = "immutable"
) -> Artifact:
    """Files as an artifact; equal files are one version of it, however often they are logged. Those that may change before they are sent (mutable) are copied."""
    import wandb

    artifact = wandb.Artifact(name, kind, metadata=dict(metadata))
    for path in files:
        artifact.add_file(str(path), policy=policy)
    return artifact


def use_artifact(run: Run, artifact: Artifact) -> None:
    """Say that a run is made of an artifact, which is logged with it where it is not there yet."""
    if run.settings.mode == "offline":  # Run.use_artifact refuses there; this is what it does online, but for waiting
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)
