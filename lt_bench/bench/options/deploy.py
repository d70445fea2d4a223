"""Options of ``export``, ``predict``, ``evaluate`` and ``update``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from lt_bench.bench.options.choices import Accelerator
from lt_bench.bench.options.images import ImageOptions
from lt_bench.core.commands import RESULTS


@dataclass
class ExportOptions:
    """Backbone and re-trained head as one classifier.

    Attributes:
        record: a record's JSON file
        weights: the weights of the backbone, those that the cache was extracted with
        out: directory of the export (default: STRATEGY-DATASET-ID here)
        cache: the record's feature cache, where it is not in a known place
        head_only: leave the backbone out: the export takes features
        onnx: also write classifier.onnx; needs the extra `onnx`
    """

    record: Path | None = None
    weights: Path | None = None
    out: Path | None = None
    cache: str | None = None
    head_only: bool = False
    onnx: bool = False


@dataclass
class UseOptions:
    """An exported classifier and how it is used.

    Attributes:
        export: directory that `lt-bench export` wrote
        prior: shares of the classes in the inputs: training, uniform, a file (class,prior in CSV, or JSON), or estimate, from the inputs themselves (default: what the head assumes)
        assumed_prior: the prior that the head's probabilities assume, training, uniform or a file; only where the export is not calibrated
        batch_size: inputs at a time
        accelerator: device of a fit
        skip_broken: leave out images that cannot be read, and name them
        trust_program: run the program that a head of your own was exported as; a program is code, so only where you trust who made it
    """

    positional: ClassVar[tuple[str, ...]] = ("export", "inputs")
    export: Path | None = None
    inputs: Path | None = None
    prior: str | None = None
    assumed_prior: str | None = None
    batch_size: int = 64
    accelerator: Accelerator = "auto"
    skip_broken: bool = False
    trust_program: bool = False


@dataclass
class PredictOptions(UseOptions):
    """An exported classifier on new inputs.

    Attributes:
        inputs: folder or table of images (or one image); an array file of features for an export without backbone
        out: the table: path, class, confidence, and the next four classes
        all_probabilities: also a column for every class, probability_CLASS
        precision: also a column decided: no, below the confidence from which predictions of the class were right on validation as often as this says, e.g. 0.9
        coverage: also a column set: the classes that may be meant, so that of each class this share of new images has it in its set, e.g. 0.9
    """

    out: Path = Path("predictions.csv")
    all_probabilities: bool = False
    precision: float | None = None
    coverage: float | None = None


@dataclass
class EvaluateOptions(UseOptions):
    """An exported classifier on inputs whose classes are known.

    Attributes:
        inputs: folder of class folders, or a table of path and label; an array file of features and labels for an export without backbone
        skip_unknown: leave out inputs of classes that the export does not know, and say how many
        group_column: tables: column of what keeps images together (track, patient, site); intervals are then over these groups
    """

    skip_unknown: bool = False
    group_column: str | None = None


@dataclass
class UpdateOptions:
    """An exported classifier fitted anew where images were added.

    Attributes:
        export: directory that `lt-bench export` wrote; it stays as it is
        data_dir: where the images are now, earlier and new ones
        image_root: tables: folder that the paths are relative to (default: as before, else that of the table)
        weights: the weights of the backbone, those that the cache was extracted with (default: those of its package)
        cache: the export's feature cache, where it is not in a known place
        results: directory of run records
        out: directory of the new export (default: STRATEGY-DATASET-ID beside the other)
        objective: what the two classifiers are compared by, as of `leaderboard` (default: macro where the test images are imbalanced, else micro)
        accelerator: device of a fit
        workers: processes that decode image files (default: by the cores; 0: none)
        skip_broken: leave out images that cannot be decoded, and name them
        trust_program: run the program that a head of your own was exported as
    """

    positional: ClassVar[tuple[str, ...]] = ("export",)
    refused: ClassVar[Mapping[str, str]] = {
        f"--{field.name.replace('_', '-')}": "images are read as those of the export's cache were"
        for field in fields(ImageOptions)
        if field.name not in ("data_dir", "image_root")
    }
    """Options of other verbs, and why this one has none of the name."""

    export: Path | None = None
    data_dir: Path | None = None
    image_root: Path | None = None
    weights: Path | None = None
    cache: str | None = None
    results: Path = RESULTS
    out: Path | None = None
    objective: str | None = None
    accelerator: Accelerator = "auto"
    workers: int | None = None
    skip_broken: bool = False
    trust_program: bool = False
