"""Mistakes that can be named before torch is imported, which takes seconds: unknown names, files that are not there. Free of torch."""

from __future__ import annotations

from pathlib import Path

from lt_bench.backbones.maps import is_key_map, read_key_map
from lt_bench.backbones.registry import backbone_spec
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
from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.pretrain.recipes import stage1_recipe
from lt_bench.leaderboard.wandb.account import require_account

HUB = "hub"


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
        _require_file(options.record, "no such file; expected the JSON file of a record, whose path a run prints")
        _require_file(getattr(options, "weights", None), "no such weights file; name that of the backbone with --weights")
    elif isinstance(options, PredictOptions):
        for path, kind in ((options.export, "exported classifier; `lt-bench export` makes one"), (options.inputs, "folder or image")):
            if path is not None and not path.exists():
                raise UserError(f"{path}: no such {kind}")
    if isinstance(options, RunOptions | BenchOptions | PretrainOptions) and options.wandb == "online":
        require_account()


def check_workers(workers: int | None, processes: int, slurm: str | None = None) -> None:
    """Refuse workers that cannot be, where a fit has so many processes.

    Raises:
        UserError: less than one worker, or several of several processes each.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}, expected at least 1")
    if processes > 1 and ((workers or 1) > 1 or slurm is not None):
        raise UserError("--devices shares every fit between processes, --workers and --slurm spread the fits; use one of them")


def require_images(dataset: str, data_dir: Path | None, backbone: str | None, weights: Path | None) -> None:
    """Names that are known and files that are there, of those that are given.

    Raises:
        UserError: an unknown data set or backbone; no such weights, with where they are published; no such place of images.
    """
    if dataset:
        dataset_spec(dataset)
    if backbone:
        _require_backbone(backbone)
    if weights is not None and str(weights).partition(":")[0] != HUB:
        _require_file(weights, f"no such weights file{_published(backbone)}; name one with --weights")
    if data_dir is not None and not data_dir.exists():
        raise UserError(f"{data_dir}: no such place; name the folder of the images with --data-dir")


def _check_run(options: RunOptions | TuneOptions) -> None:
    if isinstance(options, RunOptions) and (options.mode != "head" or options.protocol != "clean"):
        require_images(options.dataset, options.data_dir, options.backbone, options.weights)
        return
    from lt_bench.bench.sources.find_cache import find_fitting

    find_fitting(options)


def _require_backbone(name: str) -> None:
    if not is_key_map(name):
        backbone_spec(name)
    elif name.partition("@")[0].endswith((".yaml", ".yml")):
        read_key_map(name.partition("@")[0])


def _require_file(path: Path | None, otherwise: str) -> None:
    if path is not None and path != Path() and not path.is_file():
        raise UserError(f"{path}: {otherwise}")


def _published(backbone: str | None) -> str:
    """Where the checkpoints of a published source are."""
    if backbone is None or not is_key_map(backbone):
        return ""
    key_map = read_key_map(backbone.partition("@")[0])
    return f" of {key_map.title} (published: {key_map.weights}; {key_map.repository})" if key_map.repository else ""
