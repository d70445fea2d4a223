"""``lt-bench predict``: an exported classifier on a folder of images, or on an array of features."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from lt_bench.bench.options import PredictOptions
from lt_bench.core.devices import pick_device
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.names import spreadsheet_text
from lt_bench.data.images.decode import EXTENSIONS, BrokenImage, decode
from lt_bench.deploy.classifier import TOP, Classifier, Prediction, load_classifier
from lt_bench.features.array_files import read_arrays, usual_names


def predict(options: PredictOptions) -> int:
    """Write ``path, class, confidence`` and the first five classes with their probabilities for every input; returns how many inputs there were.

    Raises:
        UserError: no export, no images, or a broken one (unless ``skip_broken``).
    """
    if options.export is None or options.inputs is None:
        raise UserError("predict needs an export and what to classify: lt-bench predict EXPORT FOLDER")
    if options.batch_size < 1:
        raise UserError(f"--batch-size is {options.batch_size}, expected 1 or more")
    model = load_classifier(options.export, options.trust_program).to(pick_device(options.accelerator))
    rows = list(_of_features(model, options) if model.transform is None else _of_images(model, options))
    columns = [
        "path",
        "class",
        "confidence",
        *(f"{what}_{k}" for k in range(2, min(TOP, len(model.classes)) + 1) for what in ("class", "confidence")),
    ]
    write_text(options.out, pd.DataFrame(rows, columns=pd.Index(columns)).to_csv(index=False, lineterminator="\n"))
    return len(rows)


def _of_images(model: Classifier, options: PredictOptions) -> Iterator[list[str]]:
    assert options.inputs is not None
    assert model.transform is not None
    paths = image_paths(options.inputs)
    root = options.inputs if options.inputs.is_dir() else options.inputs.parent
    for start in range(0, len(paths), options.batch_size):
        some = [
            (path, image) for path in paths[start : start + options.batch_size] if (image := _opened(path, options.skip_broken)) is not None
        ]
        if some:
            predictions = model.predict(model.transform.batch([image for _, image in some]))
            for (path, _), prediction in zip(some, predictions, strict=True):
                yield [spreadsheet_text(path.relative_to(root).as_posix()), *_cells(prediction)]


def _of_features(model: Classifier, options: PredictOptions) -> Iterator[list[str]]:
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
            f"{options.inputs}: features have NaN or infinity in {len(bad):,} rows, the first is row {bad[0]}; mend or leave out these rows"
        )
    for start in range(0, len(features), options.batch_size):
        for i, prediction in enumerate(model.predict(features[start : start + options.batch_size]), start):
            yield [str(i), *_cells(prediction)]


def image_paths(source: Path) -> list[Path]:
    """The image files of a folder and those below it, by path; or the one file.

    Raises:
        UserError: no such folder or file, or no image in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or image")
    paths = [
        Path(folder) / name
        for folder, _, names in os.walk(source, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in EXTENSIONS and name[0] != "."
    ]
    if not paths:
        raise UserError(f"{source}: no images there; known are {', '.join(sorted(EXTENSIONS))}")
    return sorted(paths, key=lambda path: path.relative_to(source).as_posix())


def _opened(path: Path, skip: bool) -> Image.Image | None:
    try:
        return decode(path)
    except BrokenImage as error:
        if not skip:
            raise UserError(f"{path}: {error}; mend or remove it, or leave such images out with --skip-broken") from None
        print(f"lt-bench: skipped {path}: {error}", file=sys.stderr)  # noqa: T201
        return None


def _cells(prediction: Prediction) -> list[str]:
    return [cell for label, confidence in prediction.top for cell in (spreadsheet_text(label), f"{confidence:.6f}")]
