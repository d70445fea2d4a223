"""Options of ``export`` and ``predict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lt_bench.bench.options.choices import Accelerator


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
class PredictOptions:
    """An exported classifier on new inputs.

    Attributes:
        export: directory that `lt-bench export` wrote
        inputs: folder of images (or one image); an array file of features for an export without backbone
        out: the table: path, class, confidence, and the next four classes
        batch_size: inputs at a time
        accelerator: device of a fit
        skip_broken: leave out images that cannot be read, and name them
        trust_program: run the program that a head of your own was exported as; a program is code, so only where you trust who made it
    """

    positional: ClassVar[tuple[str, ...]] = ("export", "inputs")
    export: Path | None = None
    inputs: Path | None = None
    out: Path = Path("predictions.csv")
    batch_size: int = 64
    accelerator: Accelerator = "auto"
    skip_broken: bool = False
    trust_program: bool = False
