"""``lt-bench evaluate``: an exported classifier on inputs whose classes are known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lt_bench.bench.options import EvaluateOptions
from lt_bench.core.content import file_hashes
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted, suggestion
from lt_bench.data.readers.table_files import LABEL_COLUMN, SPLIT_COLUMN, require_filled
from lt_bench.deploy.classifier import Classifier
from lt_bench.deploy.inputs import TABLES, Batch, image_paths, image_table, of_features, of_images, opened, read_features, with_prior
from lt_bench.deploy.intervals import Predicted, accuracy_ends, calibration_ends
from lt_bench.metrics.groups import group_means, nan_mean, shot_groups


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Accuracies with their 95 % intervals, calibration errors and counts by class, as ``--json`` prints them; macro is over the classes that have inputs.

    Intervals are over the inputs, or their groups where a column of a table says them. ``training_images`` counts the inputs that the head was fitted on, by the contents of their files; None where the export does not know them. ``left_out`` are inputs by class, of classes that the export
    does not know.

    Raises:
        UserError: no export or inputs, labels that are no class of the export (unless ``skip_unknown``), or a broken image (unless ``skip_broken``).
    """
    if options.export is None or options.inputs is None:
        raise UserError("evaluate needs an export and labelled inputs: lt-bench evaluate EXPORT FOLDER")
    model = opened(options)
    K, parts = len(model.classes), []
    labelled = _labelled(model, options)
    batches, estimate = with_prior(model, options, labelled.batches)
    for rows, logits in batches:
        parts.append((torch.tensor(rows), *model.probabilities(logits).max(1), *logits.double().softmax(1).max(1)))
    if not parts:
        raise UserError(f"{options.inputs}: no input could be read, so there is nothing to evaluate")
    rows, confidence, predicted, own, first = (torch.cat(several).numpy() for several in zip(*parts, strict=True))
    true, groups = np.array(labelled.numbers)[rows], None if labelled.groups is None else labelled.groups[rows]
    images, guessed, right = (np.bincount(of, minlength=K) for of in (true, predicted, true[true == predicted]))
    recall = np.divide(right, images, out=np.full(K, np.nan), where=images > 0)
    counts = model.description.get("provenance", {}).get("train_counts")
    before, after = Predicted(own, first == true), Predicted(confidence, predicted == true)
    return {
        "export": str(options.export),
        "images": len(true),
        "training_images": labelled.trained_on,
        "left_out": dict(labelled.unknown),
        "correct": int(right.sum()),
        "accuracy": float(right.sum() / len(true)),
        "macro_accuracy": nan_mean(recall),
        "groups": {} if counts is None else group_means(recall, shot_groups(counts)),
        "intervals": accuracy_ends(true, predicted, K, counts, groups),
        "groups_of_inputs": None if groups is None else len(np.unique(groups)),
        "calibration_error": {
            "before": before.error,
            "after": after.error,
            "difference": calibration_ends(before, after, groups),
        },
        "calibrated": model.calibration is not None,
        "prior": None if model.prior is None else model.prior.tolist(),
        "prior_doubts": [] if estimate is None else list(estimate.doubts),
        "classes": [
            {"class": name, "images": int(n), "correct": int(r), "predicted": int(g)}
            for name, n, r, g in zip(model.classes, images, right, guessed, strict=True)
        ],
    }


@dataclass(frozen=True)
class _Known:
    """Inputs of classes that an export knows.

    Attributes:
        rows: (M,) positions among all inputs.
        numbers: (M,) of their classes.
        unknown: number of inputs of each unknown class, the largest first.
    """

    rows: list[int]
    numbers: list[int]
    unknown: Mapping[str, int]

    @classmethod
    def of(cls, options: EvaluateOptions, labels: Sequence[Any], classes: Sequence[str]) -> _Known:
        """Sort inputs with labels into known and unknown classes: labels are names of classes, or their numbers where no label is a name.

        Raises:
            UserError: some classes are unknown and ``skip_unknown`` is not set, or all are unknown.
        """
        words = [label if isinstance(label, str) else str(label) for label in labels]
        known = {name: k for k, name in enumerate(classes)}
        numbers = bool(words) and not any(word in known for word in words) and all(re.fullmatch(r"-?\d+", word) for word in words)
        if numbers:
            known = {str(k): k for k in range(len(classes))}
        unknown = dict(Counter(word for word in words if word not in known).most_common())
        if unknown and (not options.skip_unknown or unknown.keys() >= set(words)):
            hints = {word: "" if numbers else suggestion(word, known) for word in unknown}
            named = ", ".join(f"{word!r} ({counted(count, 'input')}){hints[word]}" for word, count in unknown.items())
            named += f"; numbers of classes are 0 to {len(classes) - 1}" if numbers else ""
            less = "" if unknown.keys() >= set(words) else ", or leave their inputs out with --skip-unknown"
            raise UserError(
                f"{options.inputs}: {counted(len(unknown), 'label is', 'labels are')} no class of the export: {named}; rename them{less}"
            )
        rows = [row for row, word in enumerate(words) if word in known]
        return cls(rows, [known[words[row]] for row in rows], unknown)


@dataclass(frozen=True)
class _Labelled:
    """Inputs of classes that an export knows, with their logits.

    Attributes:
        batches: logits, each with its place among these inputs.
        numbers: (M,) of their classes.
        groups: (M,) group of each input; None where no column names the groups.
        trained_on: how many of them are training images; None where that is not known.
        unknown: number of inputs that are left out, by class.
    """

    batches: Iterable[Batch[int]]
    numbers: list[int]
    groups: NDArray[np.str_] | None
    trained_on: int | None
    unknown: Mapping[str, int]


def _labelled(model: Classifier, options: EvaluateOptions) -> _Labelled:
    """The labelled inputs."""
    assert options.inputs is not None
    of_table = options.inputs.suffix.lower() in TABLES
    if options.group_column is not None and (model.transform is None or not of_table):
        raise UserError(f"--group-column names a column of a table of images, and {options.inputs} is none; leave it out")
    if model.transform is None:
        features, arrays = read_features(model, options)
        if "labels" not in arrays or len(arrays["labels"]) != len(features):
            raise UserError(f"{options.inputs}: needs an array 'labels', one a row of 'features'; it has {', '.join(arrays)}")
        known = _Known.of(options, arrays["labels"].tolist(), model.classes)
        batches = of_features(model, options, range(len(known.rows)), features[known.rows])
        return _Labelled(batches, known.numbers, None, None, known.unknown)
    paths, labels, groups = _table(options.inputs, options.group_column) if of_table else (*_folder(options.inputs), None)
    known = _Known.of(options, labels, model.classes)
    paths = [paths[row] for row in known.rows]
    files, trained_on = [path for path in paths if isinstance(path, Path)], None
    if model.seen is not None and len(files) == len(paths):
        trained_on = int(np.isin(file_hashes(files).view(np.int64), model.seen.numpy()).sum())
    batches = of_images(model, options, list(enumerate(paths)))
    return _Labelled(batches, known.numbers, None if groups is None else groups[known.rows], trained_on, known.unknown)


def _folder(root: Path) -> tuple[list[Path], list[str]]:
    """The images below the class folders of ``root``, and the names of these folders."""
    paths = image_paths(root)
    parts: list[tuple[str, ...]] = [path.relative_to(root).parts for path in paths] if root.is_dir() else [()]
    if loose := next((path for path, below in zip(paths, parts, strict=True) if len(below) < 2), None):
        raise UserError(f"{loose}: lies in no class folder; evaluate needs one folder a class, or a table of path and label")
    return paths, [below[0] for below in parts]


def _table(path: Path, group_column: str | None) -> tuple[Sequence[Path | bytes], list[str], NDArray[np.str_] | None]:
    """Images and labels of a table with a column ``label``, and their groups where ``group_column`` names them; only test rows where the table has splits."""
    table, images = image_table(path)
    frame = table.frame
    require_filled(path, frame, LABEL_COLUMN)
    labels = [str(label) if table.names is None else table.names[int(label)] for label in frame[LABEL_COLUMN]]
    test = np.ones(len(frame), bool)
    if SPLIT_COLUMN in frame:
        test = (frame[SPLIT_COLUMN].astype(str).str.strip().str.lower() == "test").to_numpy()
    if not test.any():
        raise UserError(f"{path}: has no rows of split test")
    rows = np.flatnonzero(test)
    groups = None
    if group_column is not None:
        require_filled(path, frame, group_column)
        groups = frame[group_column].astype(str).to_numpy(str)[rows]
    return [images[row] for row in rows], [labels[row] for row in rows], groups
