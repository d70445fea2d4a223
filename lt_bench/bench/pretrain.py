"""`lt-bench pretrain`: stage 1 from images to weights, log and feature cache."""

from __future__ import annotations

import gc
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.checkpoints import read_checkpoint, tensors_at
from lt_bench.backbones.loading import Loaded, load_backbone
from lt_bench.backbones.registry import OPEN_CLIP, TRANSFORMERS, backbone_spec, build_backbone
from lt_bench.backbones.training_rows import FILES, ROWS
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.loggers import stage1_logger
from lt_bench.bench.options import Augment, PretrainOptions, reading
from lt_bench.bench.requirements import NEEDS_IMAGES, augmented, brings_weights, stored_type
from lt_bench.bench.stage1_files import LAST, LOG, PLAN, WEIGHTS, require_run_place
from lt_bench.core.content import Hashes
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.launchers import Layout, layout, started_by_launcher
from lt_bench.core.processes import Processes, process_group
from lt_bench.core.seals import read_json_object
from lt_bench.core.seeds import derive_seed
from lt_bench.data.hashes import files_version, pixel_hashes
from lt_bench.data.images.broken import broken_images, without_broken
from lt_bench.data.images.image_list import FileData, refusal
from lt_bench.data.load import load_images
from lt_bench.data.readers.small_images import ImageData
from lt_bench.engine.checkpoints import require_whole, resumed
from lt_bench.engine.compiling import WatchCompilation
from lt_bench.engine.heads.fit import ending_as_interrupt
from lt_bench.engine.noise import SeededNoise, generators_restored
from lt_bench.engine.pretrain.callbacks import EpochLog, KeepCheckpoint
from lt_bench.engine.pretrain.image_files import FileInputs, FilePretraining
from lt_bench.engine.pretrain.recipes import Stage1Recipe, stage1_recipe
from lt_bench.engine.pretrain.small_images import Pretraining
from lt_bench.engine.pretrain.stage1 import Precision, Stage1
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.inputs import Inputs, inputs_of, require_size
from lt_bench.features.extraction.request import Request
from lt_bench.features.extraction.sources import default_workers
from lt_bench.features.independence import seen_images
from lt_bench.features.manifest import MANIFEST_NAME, Manifest

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advice on loaders and accelerators is not for our users

Images = ImageData | FileData


@dataclass(frozen=True)
class Pretrained:
    """Results of a stage-1 run: paths of the weights, the log of epochs and the cache, and the cache's manifest."""

    weights: Path
    log: Path
    cache: Path
    manifest: Manifest


def pretrain(
    options: PretrainOptions, *, command: str = "", checkpoint_every: int = 5, validate_every: int = 10, progress: bool = True
) -> Pretrained:
    """Train a backbone on the long-tailed images and extract its feature cache.

    ``options.out`` gets ``plan.json`` (what is trained), ``last.ckpt`` (while it trains), ``log.csv`` and ``weights.safetensors``. Called again, it goes on from
    the last checkpoint, or returns at once where everything is there; a killed run that is resumed ends with the same weights as one that was not.

    With several devices, or under torchrun, all processes train and then extract together; ``options.out`` has to be on a file system that all nodes share.
    Lightning starts the other processes by running the program again, so call this from a script that is safe to run again.

    Args:
        options: what ``lt-bench pretrain`` takes.
        command: the command line that repeats this, for the manifest.
        checkpoint_every: epochs between checkpoints.
        validate_every: epochs between validations for the log.
        progress: whether to show progress.

    Raises:
        UserError: options or data do not fit, ``options.out`` holds another run, or training diverged.
    """
    if not options.dataset or options.data_dir is None:
        raise UserError(NEEDS_IMAGES)
    plan = stage1_recipe(options.recipe).with_epochs(options.epochs).with_fields(options.recipe_fields)
    where, out, device = layout(options.devices), options.out, pick_device(options.accelerator)
    require_run_place(out)
    precision = options.precision or ("bf16" if device.type == "cuda" else "fp32")
    data = load_images(options.dataset, options.data_dir, **reading(options) | {"val_per_class": options.val_per_class})
    workers = default_workers(device, where.devices) if options.workers is None else options.workers
    _check(options.backbone, data, plan, checkpoint_every)
    start, (augment, views) = _start(options, data), augmented(options, own="crop")
    inputs = _inputs(options, data, start, augment)
    weights, features = out / WEIGHTS, options.cache or out / "cache"
    complete = weights.is_file() and (features / MANIFEST_NAME).is_file() and not started_by_launcher()
    with process_group(Layout(1, 1) if complete else where, device.type, trains=True) as processes:
        data = _same_images(processes, data, workers, options.skip_broken, progress)
        description = plan_of(options.backbone, data, plan, options.seed, precision) | {
            **({} if start is None else {"start": start.weights_hash}), **({} if augment is None and not options.image_size else {"inputs": inputs.words})
        }  # fmt: skip
        origin = "" if start is None else f"started from {options.weights or start.stage1} (weights {start.weights_hash}), "
        request = Request(
            data=data, backbone=options.backbone, weights=weights, out=features, device=device, devices=options.devices, workers=workers,
            image_size=options.image_size, augment=augment, name=(options.cache or out).name, views=views, dtype=stored_type(options), command=command, progress=progress,
            stage1=f"{plan.describe()}, {precision}, seed {options.seed}, {origin}last epoch",
        )  # fmt: skip
        processes.first_does(lambda: _store_plan(out, description))
        if not processes.first_does(weights.is_file):
            files = processes.first_does(lambda: files_version(data.splits))
            rows = processes.first_does(lambda: _rows(data, start, workers, out / LAST, files, options.skip_broken))
            module = _module(_initial(options, start, len(data.train_counts)), data, inputs, plan, options.seed, precision, workers)
            callbacks: list[Callback] = [
                *([WatchCompilation(out.name, progress and processes.is_first)] if options.compiled else ()),
                SeededNoise(options.seed), EpochLog(out / LOG, validate_every, progress, out.name),
                KeepCheckpoint(out / LAST, checkpoint_every, options.keep_epochs, rows, files),
            ]  # fmt: skip
            trainer = _trainer(device, where, plan, callbacks, stage1_logger(out, description, options.wandb, options.wandb_project))
            _train(trainer, module, out, options.deterministic, options.half_weights, rows)
            del trainer, module
            gc.collect()  # ends the processes that decoded for training, before others are forked
        return Pretrained(weights, out / LOG, features, extract(request))


def _start(options: PretrainOptions, data: Images) -> Loaded | None:
    """The weights that training starts from; None for fresh ones."""
    if options.weights is None and not brings_weights(options.backbone):
        return None
    return load_backbone(options.backbone, options.weights, len(data.train_counts), data.spec.name)


def _inputs(options: PretrainOptions, data: Images, start: Loaded | None, augment: Augment | None) -> Inputs:
    """The inputs of training and of the cache.

    Raises:
        UserError: the network takes no images of this size.
    """
    if options.image_size is not None:
        network = fresh_network(options.backbone, 1, options.seed).eval() if start is None else start.network
        require_size(network, options.backbone, options.image_size)
    return inputs_of(data, options.backbone, backbone_spec(options.backbone).name, options.image_size, augment)


def _initial(options: PretrainOptions, start: Loaded | None, num_classes: int) -> Backbone:
    """The network before the first step: fresh, or with given weights, classifier included where that is of the same classes."""
    network = fresh_network(options.backbone, num_classes, options.seed)
    if start is not None:
        state = start.network.state_dict()
        network.load_state_dict({name: state[name] for name in state if start.head is not None or not name.startswith("fc.")}, strict=False)
    if options.compiled:
        network.compile(dynamic=False)
    return network


def _rows(data: Images, start: Loaded | None, workers: int, last: Path, files: int | None, readable: bool) -> Hashes:
    """Hashes of the images that the network has seen when it is trained: those of training, and those that its first weights had seen.

    A checkpoint to resume from contains the hashes; they are taken from it, without decoding images, unless an image file has changed since. Otherwise images of
    val and test are decoded as a check, unless all are known to be ``readable``: training would read them only after the last epoch.

    Raises:
        UserError: the checkpoint is damaged, an image of val or test is broken, or the test set is among the images that the first weights had seen.
    """
    if last.is_file():
        require_whole(last)
    state = tensors_at(read_checkpoint(last), f"callbacks.{KeepCheckpoint.__name__}") if files is not None and last.is_file() else None
    if state is not None and FILES in state and int(state[FILES]) == files:
        return state[ROWS].numpy().view(np.uint64)
    if not readable and isinstance(data, FileData):
        held_out = replace(data, splits={split: images for split, images in data.splits.items() if split != "train"})
        if reasons := [why for of_split in broken_images(held_out, workers).values() for why in of_split.values()]:
            raise UserError(refusal(reasons))
    own = pixel_hashes(data.splits["train"], workers)
    if start is None or start.rows is None:
        return np.unique(own)
    seen_images(data, start.rows, "the weights to start from", workers)
    return np.union1d(own, start.rows)


def _same_images(processes: Processes, data: Images, workers: int, skip_broken: bool, progress: bool) -> Images:
    """The images that all processes train on; with ``skip_broken``, without the images that any process cannot decode."""
    hashes = processes.all_do(lambda: data.split_hash)
    processes.first_does(lambda: _check_same(hashes))
    if not skip_broken or isinstance(data, ImageData):
        return data
    broken = processes.all_do(lambda: broken_images(data, workers, processes.rank, processes.world))
    readable, left_out = processes.each_does(lambda: without_broken(data, broken))
    for line in left_out if progress and processes.is_first else ():
        Console(stderr=True).print(f"left out {line}", soft_wrap=True, markup=False, highlight=False)
    return readable


def _check_same(hashes: Sequence[str]) -> None:
    if len(set(hashes)) > 1:
        raise UserError(
            f"the processes do not see the same images (split hashes {', '.join(hashes)}); is --data-dir the same on all nodes?"
        )


def _module(network: Backbone, data: Images, inputs: Inputs, plan: Stage1Recipe, seed: int, precision: Precision, workers: int) -> Stage1:
    if isinstance(data, ImageData):
        return Pretraining(network, data, plan, seed=seed, precision=precision)
    file_inputs = FileInputs(inputs.evaluation, inputs.augmentation, inputs.upright, workers)
    return FilePretraining(network, data, file_inputs, plan, seed=seed, precision=precision)


def _trainer(device: torch.device, where: Layout, plan: Stage1Recipe, callbacks: list[Callback], logger: WandbLogger | None) -> Trainer:
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu", devices=where.devices, num_nodes=where.nodes,
        # Images and figures are buffers that differ between processes or never change, so nothing is to be copied from the first.
        strategy=DDPStrategy(broadcast_buffers=False) if where.world > 1 else "auto", sync_batchnorm=where.world > 1 and device.type == "cuda",
        max_epochs=plan.optimisation.epochs, logger=logger or False, log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, callbacks=callbacks,
    )  # fmt: skip


def _train(trainer: Trainer, module: Stage1, out: Path, deterministic: bool, half_weights: bool, rows: Hashes) -> None:
    """Train to the end; when this returns, the weights file exists for every process."""
    _fit(trainer, module, out / LAST, deterministic)
    if trainer.is_global_zero:
        save_weights(module.network, out / WEIGHTS, half_weights, rows)
        (out / LAST).unlink(missing_ok=True)
    if isinstance(trainer.logger, WandbLogger):
        trainer.logger.experiment.finish()
    trainer.strategy.barrier()


def _fit(trainer: Trainer, module: Stage1, last: Path, deterministic: bool) -> None:
    with (
        warnings.catch_warnings(),
        torch.backends.cudnn.flags(enabled=True, benchmark=not deterministic, deterministic=deterministic, allow_tf32=True),
        ending_as_interrupt(),
        generators_restored(trainer.strategy.root_device),
        resumed(last) as start,
    ):
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # positions come from memory
        warnings.filterwarnings("ignore", ".*broadcast_buffers.*")  # its successor has other semantics and is not in every torch we support
        warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")  # Lightning's own
        trainer.fit(module, ckpt_path=None if start is None else str(start), weights_only=True)
    for name, tensor in module.network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            if not trainer.is_global_zero:
                raise SystemExit(2)  # the first process says it
            raise UserError(
                f"{last.parent}: training diverged, {name} is not finite; train again with a smaller learning rate and another --out, or move this directory away"
            )


def fresh_network(backbone: str, num_classes: int, seed: int) -> Backbone:
    """A backbone whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("backbone", seed))
        return build_backbone(backbone, num_classes)


def _check(backbone: str, data: Images, recipe: Stage1Recipe, checkpoint_every: int) -> None:
    if backbone.startswith((OPEN_CLIP, TRANSFORMERS)):
        raise UserError(
            f"{backbone}: an encoder whose features are extracted; stage 1 trains the other networks of `lt-bench list backbones`"
        )
    wanted = backbone_spec(backbone).input_size
    if isinstance(data, ImageData) and (height := data.splits["train"].images.shape[2]) != wanted:
        raise UserError(f"{backbone} is for images of {wanted} pixels, {data.spec.name} has {height}")
    if recipe.optimisation.epochs < 1 or checkpoint_every < 1:
        raise UserError("epochs and checkpoint_every must be at least 1")


def plan_of(backbone: str, data: Images, recipe: Stage1Recipe, seed: int, precision: Precision) -> dict[str, Any]:
    """The content of ``plan.json`` for a training from fresh weights, on images as they are."""
    return {
        "backbone": backbone, "dataset": data.spec.name, "imbalance_factor": None if data.imbalance_factor is None else float(data.imbalance_factor), "split_hash": data.split_hash,
        "recipe": recipe.describe(), "source": recipe.source, "seed": seed, "precision": precision, "start": None,
    }  # fmt: skip


def _store_plan(out: Path, plan: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / PLAN
    if path.is_file():
        recorded = read_json_object(path, f"move {out} away and train again")
        for name, value in plan.items():
            if recorded.get(name) != value and name != "source":  # words, which a later version may say otherwise
                raise UserError(
                    f"{out}: holds a run with {name} {recorded.get(name)!r}, not {value!r}; name another directory with --out, or move it away"
                )
        return
    write_text(path, json.dumps(plan, indent=1) + "\n")
