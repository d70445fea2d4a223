"""``lt-bench evaluate``: an exported classifier on inputs whose classes are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lt_bench.bench.options import EvaluateOptions
from lt_bench.core.content import file_hashes
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted, suggestion
from lt_bench.data.readers.table_files import LABEL_COLUMN, SPLIT_COLUMN, require_filled
from lt_bench.deploy.classifier import Classifier
from lt_bench.deploy.inputs import TABLES, Batch, image_paths, image_table, of_features, of_images, opened, read_features, with_prior
from lt_bench.metrics.calibration import CalibrationError
from lt_bench.metrics.groups import group_means, nan_mean, shot_groups


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Accuracies, calibration errors and counts by class, as ``--json`` prints them; macro is over the classes that have inputs.

    ``training_images`` counts the inputs that the head was fitted on, by the contents of their files; None where the export does not know them. ``left_out`` are inputs by class, of classes that the export
    does not know.

    Raises:
        UserError: no export or inputs, labels that are no class of the export (unless ``skip_unknown``), or a broken image (unless ``skip_broken``).
    """
    if options.export is None or options.inputs is None:
        raise UserError("evaluate needs an export and labelled inputs: lt-bench evaluate EXPORT FOLDER")
    model = opened(options)
    K, pairs = len(model.classes), []
    before, after = CalibrationError(), CalibrationError()
    batches, trained_on, unknown = _labelled(model, options)
    for labels, logits in with_prior(model, options, batches):
        true, probabilities = torch.tensor(labels), model.probabilities(logits)
        confidence, predicted = probabilities.max(1)
        after.update(confidence, predicted == true)
        own, first = logits.double().softmax(1).max(1)
        before.update(own, first == true)
        pairs.append(torch.stack([true, predicted]))
    if not pairs:
        raise UserError(f"{options.inputs}: no input could be read, so there is nothing to evaluate")
    true, predicted = torch.cat(pairs, 1)
    images, guessed, right = (torch.bincount(of, minlength=K).numpy() for of in (true, predicted, true[true == predicted]))
    recall = np.divide(right, images, out=np.full(K, np.nan), where=images > 0)
    counts = model.description.get("provenance", {}).get("train_counts")
    return {
        "export": str(options.export),
        "images": len(true),
        "training_images": trained_on,
        "left_out": dict(unknown),
        "correct": int(right.sum()),
        "accuracy": float(right.sum() / len(true)),
        "macro_accuracy": nan_mean(recall),
        "groups": {} if counts is None else group_means(recall, shot_groups(counts)),
        "calibration_error": {"before": float(before.compute()), "after": float(after.compute())},
        "calibrated": model.calibration is not None,
        "prior": None if model.prior is None else model.prior.tolist(),
        "classes": [
            {"class": name, "images": int(n), "correct": int(r), "predicted": int(g)}
            for name, n, r, g in zip(model.classes, images, right, guessed, strict=True)
        ],
    }


@dataclass(frozen=True)
class _Known:
    """Inputs of classes that an export knows.

    Attributes:
        rows: (M,) of all inputs.
        numbers: (M,) of their classes.
        unknown: inputs of each class that it does not know, the most first.
    """

    rows: list[int]
    numbers: list[int]
    unknown: Mapping[str, int]

    @classmethod
    def of(cls, options: EvaluateOptions, labels: Sequence[Any], classes: Sequence[str]) -> _Known:
        """Sort inputs with labels into known and unknown classes: labels are names of classes, or their numbers where no label is a name.

        Raises:
            UserError: there are others, and they are not to be left out; or there are only others.
        """
        words = [label if isinstance(label, str) else str(label) for label in labels]
        known = {name: k for k, name in enumerate(classes)}
        if words and not any(word in known for word in words) and all(word.isdecimal() for word in words):
            known = {str(k): k for k in range(len(classes))}
        unknown = dict(Counter(word for word in words if word not in known).most_common())
        if unknown and (not options.skip_unknown or unknown.keys() >= set(words)):
            named = ", ".join(f"{word!r} ({counted(count, 'input')}){suggestion(word, known)}" for word, count in unknown.items())
            less = "" if unknown.keys() >= set(words) else ", or leave their inputs out with --skip-unknown"
            raise UserError(
                f"{options.inputs}: {counted(len(unknown), 'label is', 'labels are')} no class of the export: {named}; rename them{less}"
            )
        rows = [row for row, word in enumerate(words) if word in known]
        return cls(rows, [known[words[row]] for row in rows], unknown)


def _labelled(model: Classifier, options: EvaluateOptions) -> tuple[Iterable[Batch[int]], int | None, Mapping[str, int]]:
    """Logits with the numbers of their classes; how many of the inputs are training images, None where that is not known; and how many are left out, by class."""
    assert options.inputs is not None
    if model.transform is None:
        features, arrays = read_features(model, options)
        if "labels" not in arrays or len(arrays["labels"]) != len(features):
            raise UserError(f"{options.inputs}: needs an array 'labels', one a row of 'features'; it has {', '.join(arrays)}")
        known = _Known.of(options, arrays["labels"].tolist(), model.classes)
        return of_features(model, options, known.numbers, features[known.rows]), None, known.unknown
    paths, labels = _table(options.inputs) if options.inputs.suffix.lower() in TABLES else _folder(options.inputs)
    known = _Known.of(options, labels, model.classes)
    paths = [paths[row] for row in known.rows]
    batches = of_images(model, options, list(zip(known.numbers, paths, strict=True)))
    files = [path for path in paths if isinstance(path, Path)]
    if model.seen is None or len(files) < len(paths):
        return batches, None, known.unknown
    return batches, int(np.isin(file_hashes(files).view(np.int64), model.seen.numpy()).sum()), known.unknown


def _folder(root: Path) -> tuple[list[Path], list[str]]:
    """The images below the class folders of ``root``, and the names of these folders."""
    paths = image_paths(root)
    parts: list[tuple[str, ...]] = [path.relative_to(root).parts for path in paths] if root.is_dir() else [()]
    if loose := next((path for path, below in zip(paths, parts, strict=True) if len(below) < 2), None):
        raise UserError(f"{loose}: lies in no class folder; evaluate needs one folder a class, or a table of path and label")
    return paths, [below[0] for below in parts]


def _table(path: Path) -> tuple[Sequence[Path | bytes], list[str]]:
    """Images and labels of a table with a column ``label``; of splits, the rows of test."""
    table, images = image_table(path)
    frame = table.frame
    require_filled(path, frame, LABEL_COLUMN)
    labels = [str(label) if table.names is None else table.names[int(label)] for label in frame[LABEL_COLUMN]]
    test = np.ones(len(frame), bool)
    if SPLIT_COLUMN in frame:
        test = (frame[SPLIT_COLUMN].astype(str).str.strip().str.lower() == "test").to_numpy()
    if not test.any():
        raise UserError(f"{path}: has no rows of split test")
    return [images[row] for row in np.flatnonzero(test)], [labels[row] for row in np.flatnonzero(test)]
