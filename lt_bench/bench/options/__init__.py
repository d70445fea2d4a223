"""Options of every verb as plain dataclasses: what the command line, the environment and YAML files can say. Free of torch and NumPy.

Help texts are those of the docstrings: an option is explained where its class is. One file a group of verbs, as in ``cli``.
"""

from lt_bench.bench.options.board import DiffOptions, LeaderboardOptions, MigrateOptions, ReportOptions, WandbOptions
from lt_bench.bench.options.choices import Accelerator, Augment, Dtype, Head, Precision, Wandb
from lt_bench.bench.options.deploy import EvaluateOptions, ExportOptions, PredictOptions, UpdateOptions, UseOptions
from lt_bench.bench.options.features import ExtractOptions, ImportOptions, PretrainOptions
from lt_bench.bench.options.fits import (
    BenchOptions,
    BudgetsOptions,
    CheckOptions,
    ChooseOptions,
    FitOptions,
    RunOptions,
    StrategyChoice,
    TuneOptions,
    VerifyOptions,
)
from lt_bench.bench.options.images import CacheOptions, DataOptions, ImageOptions, WritingOptions, reading
from lt_bench.bench.options.listing import CompletionOptions, ListOptions, PullOptions, PushOptions, SubmitOptions, ValidateOptions

__all__ = [
    "Accelerator",
    "Augment",
    "BenchOptions",
    "BudgetsOptions",
    "CacheOptions",
    "CheckOptions",
    "ChooseOptions",
    "CompletionOptions",
    "DataOptions",
    "DiffOptions",
    "Dtype",
    "EvaluateOptions",
    "ExportOptions",
    "ExtractOptions",
    "FitOptions",
    "Head",
    "ImageOptions",
    "ImportOptions",
    "LeaderboardOptions",
    "ListOptions",
    "MigrateOptions",
    "Precision",
    "PredictOptions",
    "PretrainOptions",
    "PullOptions",
    "PushOptions",
    "ReportOptions",
    "RunOptions",
    "StrategyChoice",
    "SubmitOptions",
    "TuneOptions",
    "UpdateOptions",
    "UseOptions",
    "ValidateOptions",
    "VerifyOptions",
    "Wandb",
    "WandbOptions",
    "WritingOptions",
    "reading",
]
