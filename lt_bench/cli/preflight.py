"""Mistakes that can be named before torch is imported, which takes seconds: a function for each verb that has some. Free of torch.

Options that are missing are the verb's own business; what is raised here is what the verb would say later.
"""

from __future__ import annotations

from pathlib import Path

from lt_bench.bench.options import (
    BenchOptions,
    ExportOptions,
    ExtractOptions,
    PredictOptions,
    PretrainOptions,
    RunOptions,
    TuneOptions,
    VerifyOptions,
)
from lt_bench.bench.requirements import check_workers, require_file, require_images
from lt_bench.core.errors import UserError

_RECORD = "no such file; expected the JSON file of a record, whose path a run prints"
_WEIGHTS = "no such weights file; name that of the backbone with --weights"


def run(options: RunOptions) -> None:
    """The cache, or the images; an account for W&B."""
    if options.mode != "head" or options.protocol != "clean":
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
    else:
        from lt_bench.bench.sources.find_cache import find_fitting

        find_fitting(options)
    _require_account(options.wandb)


def tune(options: TuneOptions) -> None:
    """The cache and the workers."""
    from lt_bench.bench.sources.find_cache import find_fitting

    find_fitting(options)
    check_workers(options.workers, options.devices)


def bench(options: BenchOptions) -> None:
    """The workers; an account for W&B."""
    check_workers(options.workers, options.devices, options.slurm)
    _require_account(options.wandb)


def extract(options: ExtractOptions) -> None:
    """The images and the network."""
    require_images(options.dataset, options.data_dir, options.backbone, options.weights)


def pretrain(options: PretrainOptions) -> None:
    """The images, the network and the recipe; an account for W&B."""
    from lt_bench.engine.pretrain.recipes import stage1_recipe

    require_images(options.dataset, options.data_dir, options.backbone, options.weights)
    stage1_recipe(options.recipe)
    _require_account(options.wandb)


def export(options: ExportOptions) -> None:
    """The record and the weights."""
    _require_record(options.record, options.weights)


def verify(options: VerifyOptions) -> None:
    """The record and the weights."""
    _require_record(options.record, options.weights)


def predict(options: PredictOptions) -> None:
    """The classifier and the inputs."""
    for path, kind in ((options.export, "exported classifier; `lt-bench export` makes one"), (options.inputs, "folder or image")):
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such {kind}")


def _require_record(record: Path | None, weights: Path | None) -> None:
    require_file(record, _RECORD)
    require_file(weights, _WEIGHTS)


def _require_account(wandb: str) -> None:
    if wandb == "online":
        from lt_bench.leaderboard.wandb.account import require_account

        require_account()
