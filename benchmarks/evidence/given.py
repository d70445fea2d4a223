"""Weights that were trained elsewhere in the place of a stage 1: checked against split and plan, with the hashes of the training images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.evidence.queue import command
from benchmarks.evidence.trainings import Training
from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.options import reading
from lt_bench.bench.pretrain import LAST, LOG, PLAN, WEIGHTS, plan_of
from lt_bench.cli.request import parse
from lt_bench.core.errors import UserError
from lt_bench.core.files import replacing, write_text
from lt_bench.core.seals import read_json_object
from lt_bench.data.hashes import pixel_hashes
from lt_bench.data.load import load_images
from lt_bench.engine.pretrain.recipes import stage1_recipe


def take(training: Training, given: Path, home: Path, data: Path) -> str:
    """Put weights where the training would leave its own, and say what is known of them; the queue then extracts their features and fits heads.

    `given` is a folder of `lt-bench pretrain` (plan, log, weights, kept checkpoints), or a file of weights, whose plan nobody knows.

    Raises:
        UserError: no stage 1, or one that has begun; the plan is that of another training, or the weights do not fit.
    """
    out = home / training.name
    if not training.stage1 or (out / WEIGHTS).exists() or (out / LAST).exists():
        raise UserError(f"{training.name}: {'has begun' if training.stage1 else 'is no stage 1'}; nothing was taken")
    options = parse("pretrain", command(training, 0, home, data)[1:])
    images = load_images(options.dataset, data, **reading(options))
    recipe = stage1_recipe(options.recipe).with_epochs(options.epochs).with_fields(options.recipe_fields)
    wanted = plan_of(options.backbone, images, recipe, options.seed, options.precision or "fp32")
    files = [path for path in (given / LOG, *sorted(given.glob("epoch-*.ckpt"))) if path.is_file()]
    said = "with no plan beside them: their split, recipe and seed are not known"
    if given.is_dir():
        plan = read_json_object(given / PLAN, "give the file of the weights alone")
        if differing := [
            f"{name} {plan.get(name)!r} instead of {value!r}"
            for name, value in wanted.items()
            if plan.get(name) != value and name != "source"
        ]:
            raise UserError(f"{given / PLAN}: {'; '.join(differing)}; nothing was taken")
        said = "as their plan says"
    loaded = load_backbone(options.backbone, given / WEIGHTS if given.is_dir() else given, len(images.train_counts), images.spec.name)
    if loaded.head is None:
        raise UserError(f"{given}: no classifier of {len(images.train_counts)} classes; nothing was taken")
    write_text(out / PLAN, json.dumps(wanted, indent=1) + "\n")
    for path in files:
        with replacing(out / path.name) as copy:
            shutil.copyfile(path, copy)
    taken = save_weights(loaded.network, out / WEIGHTS, options.half_weights, np.unique(pixel_hashes(images.splits["train"])))
    return f"{training.name}: weights {taken} and {len(files)} files beside them, for split {images.split_hash}, {said}"
