"""Inputs of an exported classifier, as logits batch by batch, and the prior that is stated or estimated for it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from lt_bench.bench.options import UseOptions
from lt_bench.core.activity import steps
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError, printable
from lt_bench.core.folders import files_below
from lt_bench.core.names import counted
from lt_bench.data.class_files import read_prior
from lt_bench.data.images.decode import EXTENSIONS, HEIF, NEEDS_HEIF, BrokenImage, decode
from lt_bench.data.readers.table_files import PARQUET, PATH_COLUMN, TEXT, Table, require_filled, table_of
from lt_bench.deploy.calibration import FEW_VALIDATION, PriorEstimate
from lt_bench.deploy.classifier import Classifier, Prior, load_classifier
from lt_bench.features.array_files import ARRAYS, read_arrays, usual_names
from lt_bench.features.from_arrays import Arrays

Name = TypeVar("Name")
TABLES = (*TEXT, *PARQUET)
SHOWN = 5
"""Number of estimated shares in a message."""
Batch = tuple[list[Name], Tensor]
"""Names of the inputs of a batch, and the head's logits (B, K) for them."""


def opened(options: UseOptions) -> Classifier:
    """The classifier on its device, its prior set where the options state one.

    Raises:
        UserError: no export, or a prior that it cannot take.
    """
    assert options.export is not None
    if options.batch_size < 1:
        raise UserError(f"--batch-size is {options.batch_size}, expected 1 or more")
    model = load_classifier(options.export, options.trust_program).to(pick_device(options.accelerator))
    if options.prior == "estimate":
        model.calibrated()
    elif options.prior is not None:
        model.set_prior(_stated(options.prior, model), options.assumed_prior and _stated(options.assumed_prior, model))
    if options.assumed_prior is not None and options.prior in (None, "estimate"):
        raise UserError("--assumed-prior is for --prior training, uniform or FILE; name one of them")
    return model


def _stated(words: str, model: Classifier) -> Prior:
    return words if words in ("training", "uniform") else torch.from_numpy(read_prior(Path(words), model.classes))


def with_prior(
    model: Classifier, options: UseOptions, batches: Iterable[Batch[Name]]
) -> tuple[Iterable[Batch[Name]], PriorEstimate | None]:
    """The batches, and the prior estimated from them where the options ask for an estimate, which is set in the model and reported on standard error; else None."""
    if options.prior != "estimate":
        return batches, None
    batches = list(batches)
    estimate = model.estimate_from(torch.cat([logits for _, logits in batches]) if batches else torch.empty(0, len(model.classes)))
    for line in (_shares_line(model, estimate), *estimate.doubts):
        print(f"lt-bench: estimated prior: {line}", file=sys.stderr)  # noqa: T201
    model.set_prior(estimate.shares)
    return batches, estimate


def _shares_line(model: Classifier, estimate: PriorEstimate) -> str:
    """The largest estimated shares, each with the share in training, and with the number of validation images where a class has few."""
    counts, trained = model.calibrated().counts.tolist(), model.description.get("provenance", {}).get("train_counts")
    parts = []
    for k in estimate.shares.argsort(descending=True, stable=True)[:SHOWN].tolist():
        beside = [] if trained is None else [f"training {trained[k] / sum(trained):.1%}"]
        beside += [counted(counts[k], "validation image")] if counts[k] < FEW_VALIDATION else []
        parts.append(f"{printable(model.classes[k])} {estimate.shares[k]:.1%}" + (f" ({', '.join(beside)})" if beside else ""))
    return f"the largest shares: {'; '.join(parts)}"


def of_images(model: Classifier, options: UseOptions, named: Sequence[tuple[Name, Path | bytes]]) -> Iterator[Batch[Name]]:
    """Logits of image files, or of encoded images.

    Raises:
        UserError: one cannot be read, unless ``skip_broken``, which names it on standard error.
    """
    assert model.transform is not None
    for start in steps(range(0, len(named), options.batch_size), "batches of images"):
        images = ((name, _image(path, options.skip_broken)) for name, path in named[start : start + options.batch_size])
        some = [(name, image) for name, image in images if image is not None]
        if some:
            with torch.inference_mode():
                yield [name for name, _ in some], model(model.transform.batch([image for _, image in some])).float().cpu()


def of_features(model: Classifier, options: UseOptions, names: Sequence[Name], features: Tensor) -> Iterator[Batch[Name]]:
    """Logits of features (N, D)."""
    for start in steps(range(0, len(features), options.batch_size), "batches of features"):
        with torch.inference_mode():
            yield list(names[start : start + options.batch_size]), model(features[start : start + options.batch_size]).float().cpu()


def read_features(model: Classifier, options: UseOptions) -> tuple[Tensor, Arrays]:
    """Features (N, D) float32 of an array file, and all of its arrays.

    Raises:
        UserError: a folder, no array ``features``, another D, or rows that are not finite.
    """
    assert options.inputs is not None
    if options.inputs.is_dir():
        raise UserError(
            f"{options.export}: takes features, not images (it was exported without a backbone); give an array file: .npz, .npy, .pt, .safetensors, .parquet"
        )
    arrays = usual_names(read_arrays(options.inputs))
    if "features" not in arrays:
        raise UserError(f"{options.inputs}: no array 'features'; it has {', '.join(arrays) or 'none'}")
    features, dim = torch.from_numpy(arrays["features"]).float(), model.description["dim"]
    if features.dim() != 2 or features.shape[1] != dim:
        raise UserError(f"{options.inputs}: features of shape {tuple(features.shape)}, expected (N, {dim})")
    bad = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise UserError(
            f"{options.inputs}: features have NaN or infinity in {counted(len(bad), 'row')}, the first is row {bad[0]}; mend or leave out these rows"
        )
    return features, arrays


def image_table(path: Path) -> tuple[Table, list[Path | bytes]]:
    """A table, and the images of its rows: of the column ``path`` (relative to its folder) or, in parquet, ``image`` (encoded).

    Raises:
        UserError: it cannot be read, has no rows, or lacks a column or a path.
    """
    table = table_of(path, None, None)
    if table.encoded is not None:
        return table, [one or b"" for one in table.encoded.to_pylist()]
    require_filled(path, table.frame, PATH_COLUMN)
    return table, [path.parent / str(one) for one in table.frame[PATH_COLUMN]]


def image_paths(source: Path) -> list[Path]:
    """The image files of a folder and those below it, by path; or the one file. Other files are counted and named on standard error.

    Raises:
        UserError: no such folder or file, no image in it, a folder that cannot be read, or arrays of features.
    """
    if source.is_file() and source.suffix in ARRAYS:
        raise UserError(
            f"{source}: this export takes images, not arrays of features; give an image or a folder, or export the head alone with --head-only"
        )
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or image")
    files = [path for path in files_below(source, links=True) if path.name[0] != "."]
    paths = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not paths:
        raise UserError(f"{source}: no images there; known are {', '.join(sorted(EXTENSIONS))}")
    if others := sorted(path.relative_to(source).as_posix() for path in files if path.suffix.lower() not in EXTENSIONS):
        heif = f"; {NEEDS_HEIF}" if any(Path(name).suffix.lower() in HEIF for name in others) else ""
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        said = f"not classified, since they are no images by their names: {counted(len(others), 'file')}: {shown}{heif}"
        print(f"lt-bench: {said}", file=sys.stderr)  # noqa: T201
    return sorted(paths, key=lambda path: path.relative_to(source).as_posix())


def _image(path: Path | bytes, skip: bool) -> Image.Image | None:
    try:
        return decode(path)
    except BrokenImage as error:
        what = path if isinstance(path, Path) else "an image of the table"
        if not skip:
            raise UserError(f"{what}: {error}; mend it, or leave such images out with --skip-broken") from None
        print(f"lt-bench: skipped {what}: {error}", file=sys.stderr)  # noqa: T201
        return None
