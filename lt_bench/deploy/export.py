"""``lt-bench export``: the backbone and the re-trained head of a record as one classifier."""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.backbones.loading import Loaded, load_backbone
from lt_bench.backbones.transform import Prepared, Transform, read_transform
from lt_bench.bench.options import ExportOptions
from lt_bench.bench.requirements import brings_weights
from lt_bench.bench.verify import cache_of, changed_code, refit, unstable
from lt_bench.core.activity import doing
from lt_bench.core.commands import with_results, word
from lt_bench.core.errors import UserError
from lt_bench.core.files import give_usual_mode, put_on_disk
from lt_bench.core.inference_heads import Standardised, head_parts
from lt_bench.core.leftovers import temporary_beside
from lt_bench.core.tensors import save_tensors
from lt_bench.core.version import __version__
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.deploy.calibration import Calibration
from lt_bench.deploy.classifier import SEEN, ImageNetwork
from lt_bench.deploy.files import FORMAT, HEAD_PROGRAM, ONNX, PROGRAM, TENSORS, publish, require_export_place
from lt_bench.deploy.fit_calibration import calibration_of
from lt_bench.deploy.programs import contract, require_onnx, save_onnx, save_program
from lt_bench.features.cache import FeatureCache
from lt_bench.features.extraction.joined_images import contents_of_training
from lt_bench.features.manifest import Manifest
from lt_bench.results.compare import compare
from lt_bench.results.record import RunRecord
from lt_bench.results.store import read_record

TOLERANCE = 0.002
"""Largest difference in test accuracy from the record. A fit on other hardware sums in another order, and a few of the test images change sides; more is another head.
An export says what its own head measured."""
IMPORTED = "imported features"


@dataclass(frozen=True)
class Exported:
    """Description of a written export.

    Attributes:
        directory: of the export.
        classes: number of classes K.
        backbone: its network; None where it is the head alone, which takes features.
        difference: absolute difference of test accuracy between the head fitted again and the record.
        program: whether the head is a program, which `load_classifier` runs only with ``trust_program``.
        calibrated_on: validation images that its probabilities were calibrated on; 0 where the cache has none that the backbone has not seen.
    """

    directory: Path
    classes: int
    backbone: str | None
    difference: float
    program: bool
    calibrated_on: int


def export(options: ExportOptions) -> Exported:
    """Fit the record's head again, check that it is the one recorded, and write it with its backbone.

    The head is fitted again rather than kept beside every record: it is one more run of seconds, needs no space, and the check against the record shows whether it
    is the same.

    Raises:
        UserError: no such record; its cache or weights are not here or are others; its code has changed; the head does not repeat.
    """
    if options.record is None or not options.record.is_file():
        raise UserError(f"{options.record or '--record'}: no such file; export needs the JSON file of a record, --record RECORD.json")
    if options.onnx:
        require_onnx()
    record = read_record(options.record)
    if changed := changed_code(record):
        raise UserError(
            f"{options.record}: the code of {record.identity.strategy} is another one now ({changed}), so its head would not be the recorded one; restore that code, "
            f"or run it again (`{with_results(record.command, os.path.relpath(options.record.absolute().parents[1]))}`) and export the new record"
        )
    cache = cache_of(record, options.cache)
    out = options.out or Path(f"{record.strategy.name}-{record.dataset.name}-{record.id}")
    require_export_place(out, (PROGRAM, ONNX) if options.onnx else (PROGRAM,))
    loaded, transform = (None, None) if options.head_only else _backbone(record, cache.manifest, options.weights)
    with doing(f"fitting {record.strategy.name} again"):
        fitted = refit(record, cache)
    difference = abs(compare(record, fitted.record)["test/accuracy"])
    if not difference <= TOLERANCE:
        raise UserError(
            f"{options.record}: the head fitted again differs by {difference:.4f} in test accuracy; see `lt-bench verify {word(options.record)}{f' --cache {word(options.cache)}' if options.cache else ''}`"
            f"{unstable(record)}"
        )
    head = fitted.module.cpu().float().eval().requires_grad_(False)
    calibration = calibration_of(head, cache)
    if (standardisation := cache.standardisation()) is not None:
        head = Standardised(head, *standardisation).eval()  # an export takes features as they come from the backbone
    with doing(f"writing {out}"):
        _write(out, dataclasses.replace(record, metrics=fitted.record.metrics), cache, head, calibration, loaded, transform, options)
    name, images = record.backbone.name if loaded else None, 0 if calibration is None else len(calibration.labels)
    return Exported(out, record.dataset.num_classes, name, difference, head_parts(head) is None, images)


def _backbone(record: RunRecord, manifest: Manifest, weights: Path | None) -> tuple[Loaded | None, Transform | None]:
    """The backbone of the cache and how images are prepared for it; none where the cache came from embeddings."""
    words = manifest.transform["evaluation"]
    if words == IMPORTED:
        return None, None
    if weights is None and not brings_weights(record.backbone.name):
        raise UserError(
            f"export needs --weights FILE, the weights of {record.backbone.name} with which cache {manifest.name} was extracted "
            f"(hash {record.backbone.weights_hash}), or --head-only"
        )
    dataset = manifest.dataset
    size = dataset_spec(dataset.name).input_size if dataset.name in dataset_names() else None
    transform = read_transform(words, size)
    loaded = load_backbone(record.backbone.name, weights, dataset.num_classes, dataset.name, dataset.train_counts)
    if loaded.weights_hash != record.backbone.weights_hash:
        raise UserError(
            f"{weights or record.backbone.name}: weights {loaded.weights_hash}, and cache {manifest.name} was extracted with {record.backbone.weights_hash}; name the right file"
        )
    return loaded, transform


def _write(
    out: Path,
    record: RunRecord,
    cache: FeatureCache,
    head: nn.Module,
    calibration: Calibration | None,
    loaded: Loaded | None,
    transform: Transform | None,
    options: ExportOptions,
) -> None:
    """All files under a temporary name, then in ``out``; those of an earlier export give way. The metrics of ``record`` are those of ``head``."""
    staging = temporary_beside((out / "export" if out.is_dir() else out).absolute())
    try:
        staging.mkdir(parents=True)
        parts, tensors = head_parts(head) or ({"kind": "program"}, {})
        temperature = 1.0 if calibration is None else calibration.temperature
        network, example = head, torch.rand(2, record.backbone.dim)
        if loaded is not None and transform is not None:
            side = transform.crop or transform.resize or transform.size or 32
            network, example = (
                ImageNetwork(Prepared(transform.mean, transform.std), loaded.network, head).eval(),
                torch.rand(2, 3, side, side),
            )
        if parts["kind"] == "program":
            save_program(head, torch.rand(2, record.backbone.dim), staging / HEAD_PROGRAM, temperature)
        save_tensors(_tensors(tensors, loaded) | _validation(calibration) | _seen(cache, loaded), staging / TENSORS)
        save_program(network, example, staging / PROGRAM, temperature)
        if options.onnx:
            save_onnx(network, example, staging / ONNX, temperature)
        for path in list(staging.iterdir()):
            give_usual_mode(path)
            put_on_disk(path)
        kept = {
            "contract": contract(record.backbone.dim, example, transform, calibration),
            "calibration": calibration and calibration.parts()[0],
        }
        publish(out, staging, _description(record, cache.manifest, parts, loaded, transform) | kept)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error}); name another place with --out") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _tensors(head: dict[str, Tensor], loaded: Loaded | None) -> dict[str, Tensor]:
    tensors = {f"head.{name}": tensor for name, tensor in head.items()}
    if loaded is not None:
        state = loaded.network.state_dict()
        tensors |= {f"backbone.{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return tensors


def _seen(cache: FeatureCache, loaded: Loaded | None) -> dict[str, Tensor]:
    """Hashes (N,) of the training images' files, by which `evaluate` recognises them; none without a backbone, or where the cache does not list them."""
    contents = None if loaded is None else contents_of_training(cache)
    return {} if contents is None else {SEEN: torch.from_numpy(contents)}


def _validation(calibration: Calibration | None) -> dict[str, Tensor]:
    return {} if calibration is None else {f"validation.{name}": tensor for name, tensor in calibration.parts()[1].items()}


def _description(
    record: RunRecord, manifest: Manifest, parts: dict[str, Any], loaded: Loaded | None, transform: Transform | None
) -> dict[str, Any]:
    dataset = manifest.dataset
    return {
        "format": FORMAT,
        "class_names": list(dataset.class_names),
        "input": "features" if loaded is None else "images",
        "dim": record.backbone.dim,
        "transform": None if transform is None else {"words": transform.words, "size": transform.size},
        "backbone": {
            "name": record.backbone.name,
            "weights_hash": record.backbone.weights_hash,
            "stage1": record.backbone.stage1,
            "recipe": None if loaded is None else dataclasses.asdict(loaded.recipe),
        },
        "head": parts,
        "provenance": {
            "record": record.id,
            "strategy": record.strategy.name,
            "code": record.identity.code,
            "paper": record.strategy.paper,
            "hyperparameters": record.identity.hyperparameters,
            "seed": record.identity.seed,
            "dataset": dataset.name,
            "imbalance_factor": dataset.imbalance_factor,
            "split_hash": dataset.split_hash,
            "train_counts": list(dataset.train_counts),
            "cache": {"name": manifest.name, "key": manifest.key},
            "test": {name: record.metrics["test"].get(name) for name in ("accuracy", "macro_accuracy")},
            "command": record.command,
            "exported_with": {"lt_bench": __version__, "torch": torch.__version__},
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
