"""Options of ``run``, ``tune``, ``bench``, ``verify`` and ``check``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lt_bench.bench.options.choices import DRAWS, Accelerator, Precision, Wandb
from lt_bench.bench.options.images import CacheOptions
from lt_bench.core.commands import RESULTS
from lt_bench.engine.arithmetic import Matmul


@dataclass
class StrategyChoice:
    """A strategy and the hyper-parameters given for it; what is not given takes its official or inferred default."""

    name: str = ""
    hyperparameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class FitOptions(CacheOptions):
    """Device and processes of fits, and place of records.

    Attributes:
        results: directory of run records
        accelerator: device of a fit
        devices: processes of one fit (DDP); gloo on CPU
    """

    results: Path = RESULTS
    accelerator: Accelerator = "auto"
    devices: int = 1


@dataclass
class RunOptions(FitOptions):
    """Re-training, evaluation and recording of a strategy.

    Attributes:
        strategy: see `lt-bench list strategies`, or package.module.Class of your own, or several: a,b,c
        seeds: repetitions, e.g. 0,1,2 or 0-4
        tuned: take the hyper-parameters that `lt-bench tune` chose
        again: fit recorded runs again and compare
        analysis: also record norms and cosine per class over epochs
        best_test_epoch: also record the best test epoch, as papers do
        matmul: float32 products: exact, TF32 or bfloat16; another run in records
        protocol: clean: cached features; else fresh augmentations, backbone in eval or training mode
        mode: end-to-end: the strategy's loss trains the backbone too
        recipe: end-to-end: stage-1 recipe (los, ldam, ib, ...) in place of the strategy's own optimisation
        epochs: end-to-end: instead of the recipe's
        phase1: end-to-end: begin with this checkpoint (pretrain --keep-epochs); with --recipe, at its place in the schedule
        precision: of training (default: bf16 on a GPU, fp32 on a CPU)
        compiled: torch.compile the backbone
        checkpoints: end-to-end: directory of checkpoints and weights, a folder for each run
        checkpoint_every: end-to-end: epochs between checkpoints, from which the same command goes on after a kill
        keep_epochs: end-to-end: epochs whose checkpoint stays as epoch-N.ckpt, a phase 1 for others
        wandb: also log to W&B; offline needs no account
        wandb_project: W&B project
        logger: beside CSV: wandb, tensorboard, mlflow, package.module.Class
    """

    several: ClassVar[bool] = True
    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    seeds: list[int] = field(default_factory=lambda: [0])
    tuned: bool = False
    again: bool = False
    analysis: bool = False
    best_test_epoch: bool = False
    matmul: Matmul = "highest"
    protocol: Literal["clean", "images-eval", "images-train"] = "clean"
    mode: Literal["head", "end-to-end"] = "head"
    recipe: str | None = None
    epochs: int | None = None
    phase1: Path | None = None
    precision: Precision | None = None
    compiled: bool = False
    checkpoints: Path = Path("end-to-end")
    checkpoint_every: int = 5
    keep_epochs: list[int] = field(default_factory=list)
    wandb: Wandb = "off"
    wandb_project: str = "lt-bench"
    logger: str = "csv"


@dataclass
class TuneOptions(FitOptions):
    """Choice of hyper-parameters on validation images that the backbone has not seen.

    Attributes:
        strategy: see `lt-bench list strategies`, or package.module.Class of your own; hyper-parameters that are given leave the grid
        seeds: repetitions that every grid point is fitted with, e.g. 0,1,2 or 0-4
        objective: what decides: macro (mean of class accuracies), micro (share of images), shots (macro; a class without images leaves its weight to its group), prior=FILE (class accuracies weighted; CSV class,prior, or forward:50, backward:10) or cost=FILE (mean cost; CSV K x K, or class,cost)
        val_size: how many validation images decide, drawn from those there are (default: all)
        val_profile: which ones of --val-size: balanced (as many of each class, the default) or long-tailed (in proportion to its training images)
        draws: how often they are drawn; the first decides, the others, with replacement, tell how settled that is; no point is fitted again
        budget: points to try at most: the strategy's own hyper-parameters, then a random draw of its grid (default: all)
        workers: processes that share the grid (default: one for each GPU; on the CPU by cores, memory and work)
    """

    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    objective: str = "macro"
    val_size: int | None = None
    val_profile: Literal["balanced", "long-tailed"] | None = None
    draws: int = DRAWS
    budget: int | None = None
    workers: int | None = None


@dataclass
class ChooseOptions(CacheOptions):
    """Choice of a strategy and its hyper-parameters on images that the backbone has not seen.

    Attributes:
        strategies: to compare, with hyper-parameters that are chosen for each (default: the stage-1 head as it is, and seven others)
        objective: what decides, as of `tune`: macro, micro, shots, prior=FILE or cost=FILE
        split: rows that decide: val, or train, where heads are fitted without each fold and without each two, which takes ten times as long with 5 folds (default: val where the backbone has not seen it, else train)
        folds: that the split is divided into, 3 or more; groups stay together
        seeds: repetitions of every fit
        budget: points of each strategy at most: its own hyper-parameters, then a random sample of its grid
        results: where predictions are kept, so that the same command goes on after a kill
        out: where table and page are written
        accelerator: device of a fit
    """

    strategies: list[str] = field(default_factory=list)
    objective: str = "macro"
    split: Literal["val", "train"] | None = None
    folds: int = 5
    seeds: list[int] = field(default_factory=lambda: [0])
    budget: int = 12
    results: Path = RESULTS
    out: Path = Path("choice")
    accelerator: Accelerator = "auto"


@dataclass
class BudgetsOptions(CacheOptions):
    """Worth of a tuning budget: every point of strategies' grids, fitted once.

    Attributes:
        strategies: whose grids are compared, e.g. los,crt,ncm
        objective: what chooses on validation and is shown on test, as of `tune`: macro, micro, shots, prior=FILE or cost=FILE
        budget: the largest number of points (at most that of the largest grid, the default)
        seeds: repetitions of every point
        results: where predictions are kept, so that the same command goes on after a kill
        out: where table and picture are written
        accelerator: device of a fit
    """

    strategies: list[str] = field(default_factory=list)
    objective: str = "macro"
    budget: int | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    results: Path = RESULTS
    out: Path = Path("budgets")
    accelerator: Accelerator = "auto"


@dataclass
class BenchOptions:
    """Run of a suite.

    Attributes:
        suite: suite file (YAML) or the name of a shipped one
        results: directory of run records
        accelerator: device of a fit
        workers: processes that share the runs of the suite, each with its share of the CPU threads and one GPU (default: one for each GPU; on the CPU by cores,
            memory and work)
        slurm: run the suite as jobs on this partition of SLURM, --workers at a time; needs the extra `slurm`
        slurm_options: more for submitit, e.g. timeout_min=60,cpus_per_task=8,slurm_account=lab
        devices: processes of one fit (DDP)
        wandb: also log to W&B; offline needs no account
        wandb_project: W&B project
        logger: beside CSV: wandb, tensorboard, mlflow, package.module.Class
    """

    positional: ClassVar[tuple[str, ...]] = ("suite",)
    suite: str = ""
    results: Path = RESULTS
    accelerator: Accelerator = "auto"
    workers: int | None = None
    slurm: str | None = None
    slurm_options: list[str] = field(default_factory=list)
    devices: int = 1
    wandb: Wandb = "off"
    wandb_project: str = "lt-bench"
    logger: str = "csv"


@dataclass
class VerifyOptions:
    """Second fit of a record, for comparison.

    Attributes:
        record: a record's JSON file, or the folder of a submission, whose records are all run again
        tolerance: largest difference of a metric that passes, relative to figures above 1
        cache: the record's feature cache, where it is not in a known place
        data_dir: of a record fitted on images: where they are
        weights: of a record fitted on images: the backbone's stage-1 weights
        phase1: of an end-to-end record: the checkpoint that it began with
    """

    positional: ClassVar[tuple[str, ...]] = ("record",)
    record: Path | None = None
    tolerance: float = 1e-5
    cache: str | None = None
    data_dir: Path | None = None
    weights: Path | None = None
    phase1: Path | None = None


@dataclass
class CheckOptions:
    """The contract suite on a strategy.

    Attributes:
        strategy: name, or dotted path of your own, e.g. my_pkg.my_module.MyHead
    """

    positional: ClassVar[tuple[str, ...]] = ("strategy",)
    strategy: str = ""
