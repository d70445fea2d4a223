"""``lt-bench predict``: an exported classifier on a folder or table of images, or on an array of features."""

from __future__ import annotations

import sys

import pandas as pd

from lt_bench.bench.options import PredictOptions
from lt_bench.core.errors import UserError
from lt_bench.core.files import require_ours, write_text
from lt_bench.core.names import spreadsheet_text
from lt_bench.data.readers.table_files import PATH_COLUMN
from lt_bench.deploy.classifier import TOP, Prediction
from lt_bench.deploy.decisions import decisions_of
from lt_bench.deploy.inputs import TABLES, image_paths, image_table, of_features, of_images, opened, read_features, with_prior


def predict(options: PredictOptions) -> int:
    """Write ``path, class, confidence`` and the first five classes with their probabilities for every input; returns how many inputs there were.

    Raises:
        UserError: another file at ``out``; no export, no images, or a broken one (unless ``skip_broken``); a prior that the export cannot take, or decisions that it cannot make.
    """
    if options.export is None or options.inputs is None:
        raise UserError("predict needs an export and what to classify: lt-bench predict EXPORT FOLDER")
    require_ours({options.out: "path,class,confidence"})
    model = opened(options)
    if model.transform is None:
        features, _ = read_features(model, options)
        batches = of_features(model, options, [str(i) for i in range(len(features))], features)
    elif options.inputs.suffix.lower() in TABLES and options.inputs.is_file():
        table, images = image_table(options.inputs)
        paths = [f"row {row + 1}" for row in range(len(images))] if table.encoded is not None else table.frame[PATH_COLUMN].astype(str)
        batches = of_images(model, options, list(zip(map(spreadsheet_text, paths), images, strict=True)))
    else:
        root = options.inputs if options.inputs.is_dir() else options.inputs.parent
        named = [(spreadsheet_text(path.relative_to(root).as_posix()), path) for path in image_paths(options.inputs)]
        batches = of_images(model, options, named)
    rows: list[list[str]] = []
    batches, _ = with_prior(model, options, batches)
    decisions = decisions_of(model, options.precision, options.coverage)
    for line in decisions.lines(model.classes):
        print(f"lt-bench: {line}", file=sys.stderr)  # noqa: T201
    for names, logits in batches:
        probabilities = model.probabilities(logits)
        several = zip(
            names, model.predictions(probabilities), decisions.cells(probabilities, model.classes), probabilities.tolist(), strict=True
        )
        for name, prediction, decided, all_of_it in several:
            rows.append(
                [name, *_cells(prediction), *decided, *([f"{value:.6g}" for value in all_of_it] if options.all_probabilities else [])]
            )
    columns = [
        "path",
        "class",
        "confidence",
        *(f"{what}_{k}" for k in range(2, min(TOP, len(model.classes)) + 1) for what in ("class", "confidence")),
        *decisions.columns,
        *(f"probability_{name}" for name in model.classes if options.all_probabilities),
    ]
    write_text(options.out, pd.DataFrame(rows, columns=pd.Index(columns)).to_csv(index=False, lineterminator="\n"))
    return len(rows)


def _cells(prediction: Prediction) -> list[str]:
    return [cell for label, confidence in prediction.top for cell in (spreadsheet_text(label), f"{confidence:.6f}")]
