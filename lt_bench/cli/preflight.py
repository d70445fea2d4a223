"""Mistakes that can be named before torch is imported, which takes seconds: unknown names, files that are not there. Free of torch."""

from __future__ import annotations

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
from lt_bench.engine.pretrain.recipes import stage1_recipe
from lt_bench.leaderboard.wandb.account import require_account


def check(options: object) -> None:
    """Look at the options of a verb; those that are missing are the verb's own business.

    Raises:
        UserError: what the verb would say later.
    """
    if isinstance(options, RunOptions | TuneOptions):
        _check_run(options)
    if isinstance(options, TuneOptions):
        check_workers(options.workers, options.devices)
    elif isinstance(options, ExtractOptions):
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
    elif isinstance(options, PretrainOptions):
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
        stage1_recipe(options.recipe)
    elif isinstance(options, BenchOptions):
        check_workers(options.workers, options.devices, options.slurm)
    elif isinstance(options, ExportOptions | VerifyOptions):
        require_file(options.record, "no such file; expected the JSON file of a record, whose path a run prints")
        require_file(getattr(options, "weights", None), "no such weights file; name that of the backbone with --weights")
    elif isinstance(options, PredictOptions):
        for path, kind in ((options.export, "exported classifier; `lt-bench export` makes one"), (options.inputs, "folder or image")):
            if path is not None and not path.exists():
                raise UserError(f"{path}: no such {kind}")
    if isinstance(options, RunOptions | BenchOptions | PretrainOptions) and options.wandb == "online":
        require_account()


def _check_run(options: RunOptions | TuneOptions) -> None:
    if isinstance(options, RunOptions) and (options.mode != "head" or options.protocol != "clean"):
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
        return
    from lt_bench.bench.sources.find_cache import find_fitting

    find_fitting(options)
