"""The options of every verb: what the command line, the environment and YAML files can say. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from lt_bench.data.reading import Reading
from lt_bench.engine.arithmetic import Matmul

T = TypeVar("T")

Wandb = Literal["off", "offline", "online"]


def option(default: Any, text: str, *, positional: bool = False) -> Any:
    """A field with its help text; ``positional`` ones are given without a name."""
    metadata = {"help": text, "positional": positional}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class StrategyChoice:
    """A strategy and the hyper-parameters given for it; what is not given takes its official or inferred default."""

    name: str = ""
    hyperparameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageOptions:
    """Which images."""

    dataset: str = option("", "data set, see `lt-bench list datasets`")
    data_dir: Path | None = option(None, "where the images are")
    imbalance_factor: float | None = option(None, "n_max / n_min of the long-tailed subset (default: the data set's, 100 for CIFAR)")
    profile: Literal["exponential", "step"] | None = option(
        None, "shape of the long tail (default: exponential, or that of the cache that fits)"
    )
    selection: Literal["first", "seed0"] | None = option(
        None,
        "which images of a class are kept: the first, or the standard seed-0 shuffle of the balanced original (default: first, or that of the cache that fits)",
    )
    image_column: str | None = option(None, "parquet and tables: column of images or of paths, where it is not `image` or `path`")
    label_column: str | None = option(None, "parquet and tables: column of labels, where it is not `label`")
    split_column: str | None = option(None, "tables: column of train, val and test, where it is not `split`")
    split_seed: int = option(0, "images: of the split that is made where your data bring none")


@dataclass
class CacheOptions(ImageOptions):
    """Which features."""

    cache: str | None = option(None, "feature cache: a directory, or the name or key of a known one (default: the only one that fits)")
    backbone: str | None = option(None, "backbone, see `lt-bench list backbones`")
    weights: Path | None = option(None, "its stage-1 weights: a safetensors file, a state dict, or a published checkpoint")
    skip_broken: bool = option(False, "where features are extracted first: leave out images that cannot be decoded, and name them")


@dataclass
class FitOptions(CacheOptions):
    """Where heads are fitted and where records go."""

    results: Path = option(Path("results"), "directory of run records")
    accelerator: str = option("auto", "Lightning accelerator: auto, cpu, gpu")
    devices: int = option(1, "processes of one fit (DDP); gloo on CPU")
    wandb: Wandb = option("off", "also log every run to Weights & Biases: off, offline (no account needed) or online")
    wandb_project: str = option("lt-bench", "W&B project")


@dataclass
class RunOptions(FitOptions):
    """Re-train, evaluate, record."""

    strategy: StrategyChoice = field(default_factory=StrategyChoice, metadata={"several": True})
    seeds: list[int] = option([0], "repetitions, e.g. 0,1,2: initial head and batch order")
    tuned: bool = option(False, "use the hyper-parameters that `lt-bench tune` chose on validation for this cache")
    analysis: bool = option(False, "also record classifier norm, feature norm and cosine per class over the epochs")
    best_test_epoch: bool = option(
        False, "also test after every epoch and record the best, which the test set chose: for comparison with papers"
    )
    matmul: Matmul = option(
        "highest",
        "how exact float32 products of a fit are: highest, or high (TF32) or medium (bfloat16) where the device has units for them; another run in records",
    )
    protocol: Literal["clean", "images-eval", "images-train"] = option(
        "clean",
        "clean: frozen cached features; images-eval, images-train: fresh augmentations through the backbone in eval or training mode",
    )
    mode: Literal["head", "end-to-end"] = option("head", "end-to-end: the strategy's loss trains the backbone too")
    recipe: str | None = option(
        None, "end-to-end: stage-1 recipe (los, ldam, decoupling, fast) in place of the strategy's own optimisation"
    )
    epochs: int | None = option(None, "end-to-end: instead of the recipe's")
    phase1: Path | None = option(
        None, "end-to-end: begin with this checkpoint (pretrain --keep-epochs); with --recipe, at its place in the schedule"
    )
    precision: Literal["bf16", "fp32"] | None = option(None, "on images, of training (default: bf16 on a GPU, fp32 on a CPU)")
    compiled: bool = option(False, "on images: torch.compile the backbone")
    checkpoints: Path = option(Path("end-to-end"), "end-to-end: directory of checkpoints and weights, a folder for each run")
    checkpoint_every: int = option(5, "end-to-end: epochs between checkpoints, from which the same command goes on after a kill")
    keep_epochs: list[int] = option([], "end-to-end: epochs whose checkpoint stays as epoch-N.ckpt, a phase 1 for others")


@dataclass
class TuneOptions(FitOptions):
    """Choose hyper-parameters on validation images that the backbone has not seen."""

    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    seeds: list[int] = option([0, 1, 2], "repetitions that every grid point is fitted with")
    workers: int | None = option(None, "processes that share the grid (default: one for each GPU; on the CPU by cores, memory and work)")


@dataclass
class BenchOptions:
    """Run a suite."""

    suite: str = option("", "suite file (YAML) or the name of a shipped one", positional=True)
    results: Path = option(Path("results"), "directory of run records")
    accelerator: str = option("auto", "Lightning accelerator: auto, cpu, gpu")
    workers: int | None = option(
        None,
        "processes that share the runs of the suite, each with its share of the CPU threads and one GPU (default: one for each GPU; on the CPU by cores, memory and work)",
    )
    slurm: str | None = option(None, "run the suite as jobs on this partition of SLURM, --workers at a time; needs the extra `slurm`")
    slurm_options: list[str] = option([], "more for submitit, e.g. timeout_min=60,cpus_per_task=8,slurm_account=lab")
    devices: int = option(1, "processes of one fit (DDP)")
    wandb: Wandb = option("off", "also log every run to Weights & Biases: off, offline or online")
    wandb_project: str = option("lt-bench", "W&B project")


@dataclass
class ListOptions:
    """What there is."""

    what: str = option("", "strategies, datasets, backbones or caches", positional=True)
    name: str = option("", "one of them, shown in full", positional=True)


@dataclass
class LeaderboardOptions:
    """Records to tables."""

    results: Path = option(Path("results"), "directory of run records")
    out: Path = option(Path("leaderboard"), "where the files are written")
    formats: list[str] = option(
        ["markdown", "csv", "latex", "html", "published"],
        "what to write: markdown, csv, latex, html, published (measured beside published), plots (then in the page too)",
    )
    columns: list[str] = option([], "modules of yours that register columns")
    statistics: bool = option(True, "rank groups and intervals over test images, from the stored predictions (kept between calls)")


@dataclass
class WandbOptions:
    """W&B as a view of the records."""

    action: str = option(
        "", "push: rebuild every run, table and plot from the records; dashboard: make a workspace and a report", positional=True
    )
    results: Path = option(Path("results"), "directory of run records")
    project: str = option("lt-bench", "W&B project")
    entity: str | None = option(None, "W&B user or team")
    online: bool = option(False, "push: send now; otherwise offline runs are written, for `wandb sync`")
    plots: bool = option(True, "push: with the plots of every board")


@dataclass
class VerifyOptions:
    """Run a record again and compare."""

    record: Path = option(Path(), "a record's JSON file", positional=True)
    tolerance: float = option(1e-5, "largest difference of a metric that passes, relative to figures above 1")
    cache: str | None = option(None, "the record's feature cache, where it is not in a known place")
    data_dir: Path | None = option(None, "of a record fitted on images: where they are")
    weights: Path | None = option(None, "of a record fitted on images: the backbone's stage-1 weights")
    phase1: Path | None = option(None, "of an end-to-end record: the checkpoint that it began with")


@dataclass
class CheckOptions:
    """The contract suite on a strategy."""

    strategy: str = option("", "name, or dotted path of your own, e.g. my_pkg.my_module.MyHead", positional=True)


@dataclass
class WritingOptions(ImageOptions):
    """Which images, and how their features are stored."""

    views: int = option(8, "augmented views of each training image in the cache")
    dtype: Literal["float16", "float32", "affine8"] = option("float16", "stored precision of the cache")
    accelerator: str = option("auto", "auto, cpu or gpu")


@dataclass
class ExtractOptions(WritingOptions):
    """Images to a feature cache."""

    backbone: str = option("", "backbone, see `lt-bench list backbones`")
    weights: Path | None = option(None, "its stage-1 weights: a safetensors file or a state dict")
    name: str | None = option(None, "name of the cache (default: DATASET-ifIF-BACKBONE)")
    out: Path | None = option(None, "directory of the cache (default: its name in the known caches)")
    stage1: str = option("", "how the backbone was trained, in words")
    batch_size: int | None = option(None, "views a forward (default: 250 for small images, else 125)")
    workers: int | None = option(None, "processes that decode image files (default: by the cores; 0: none)")
    devices: int = option(1, "processes, one device each, that share the images; torchrun for several nodes, --out on a file system of all")
    skip_broken: bool = option(False, "leave out images that cannot be decoded, and name them")
    val_seen_by_backbone: bool = option(False, "whether stage 1 was trained on the validation images; tuning then refuses them")


@dataclass
class DataOptions:
    """What is there of a data set, and what is missing."""

    action: str = option("", "check", positional=True)
    dataset: str = option("", "data set, see `lt-bench list datasets`", positional=True)
    data_dir: Path | None = option(None, "where the images are")
    imbalance_factor: float | None = option(None, "n_max / n_min of the long-tailed subset (default: the data set's)")
    profile: Literal["exponential", "step"] = option("exponential", "shape of the long tail")
    selection: Literal["first", "seed0"] = option("first", "which images of a class are kept")
    image_column: str | None = option(None, "column of encoded images or of paths, where it is not `image` or `path`")
    label_column: str | None = option(None, "column of labels, where it is not `label`")
    split_column: str | None = option(None, "tables: column of train, val and test, where it is not `split`")
    split_seed: int = option(0, "of the split that is made where your data bring none")
    decode: int = option(8, "images of each split to decode; 0 for none, -1 for all")


@dataclass
class PretrainOptions(WritingOptions):
    """Stage 1: train a backbone on the long-tailed images, then extract its cache."""

    backbone: str = option("resnet34", "backbone, see `lt-bench list backbones`")
    weights: Path | None = option(None, "weights to start from: a file, or hub for the published ones (default: fresh)")
    recipe: str = option("los", "stage-1 recipe: los, ldam, mixup, decoupling or fast")
    seed: int = option(0, "of initial weights, batch order and augmentation")
    epochs: int | None = option(None, "instead of the recipe's")
    out: Path = option(Path("stage1"), "directory of the run: plan, checkpoint, log, weights")
    cache: Path | None = option(None, "directory of the feature cache (default: OUT/cache)")
    precision: Literal["bf16", "fp32"] | None = option(None, "default: bf16 on a GPU, fp32 on a CPU")
    devices: int = option(1, "processes (DDP), one device each; torchrun for several nodes, --out on a file system of all")
    workers: int | None = option(None, "processes that decode image files, for each device (default: by the cores; 0: none)")
    skip_broken: bool = option(False, "leave out images that cannot be decoded, and name them")
    compiled: bool = option(False, "torch.compile the network")
    deterministic: bool = option(
        True, "cuDNN's deterministic algorithms; without them a resumed run on a GPU may differ in the last digits"
    )
    half_weights: bool = option(False, "store the weights as float16")
    keep_epochs: list[int] = option([], "epochs whose checkpoint stays as OUT/epoch-N.ckpt, a phase 1 for `run --mode end-to-end`")
    wandb: Wandb = option("off", "also log the epochs to Weights & Biases: off, offline (no account needed) or online")
    wandb_project: str = option("lt-bench", "W&B project")


@dataclass
class ImportOptions:
    """Embeddings from anywhere to a feature cache."""

    name: str = option("", "name of the new cache")
    train: Path | None = option(None, "training arrays: .npz, .safetensors or .parquet with features and labels, or a .npy of features")
    train_labels: Path | None = option(None, ".npy of labels, where --train is a .npy")
    val: Path | None = option(None, "validation arrays, unseen by the backbone")
    val_labels: Path | None = option(None, ".npy of labels, where --val is a .npy")
    test: Path | None = option(None, "test arrays")
    test_labels: Path | None = option(None, ".npy of labels, where --test is a .npy")
    head: Path | None = option(None, "stage-1 head: .npz or .safetensors with weight (K, D) and bias (K,)")
    class_names: Path | None = option(None, "text file, one class name a line, in label order")
    dataset: str = option("embeddings", "data set the features are of")
    backbone: str = option("unknown", "network that made them")
    stage1: str = option("", "how that network was trained, in words")
    imbalance_factor: float | None = option(None, "imbalance factor of the training set, where it is a subset")
    val_seen_by_backbone: bool = option(False, "whether stage 1 was trained on the validation rows; tuning then refuses them")
    dtype: Literal["float16", "float32", "affine8"] = option("float16", "stored precision")
    val_fraction: float = option(0.0, "without --val: hold out this share of the training rows per class, at most half a class")
    seed: int = option(0, "of that draw")
    out: Path | None = option(None, "directory of the new cache (default: NAME in the known caches)")


@dataclass
class ExportOptions:
    """Backbone and re-trained head as one classifier."""

    record: Path | None = option(None, "a record's JSON file")
    weights: Path | None = option(None, "the weights of the backbone, those that the cache was extracted with")
    out: Path | None = option(None, "directory of the export (default: STRATEGY-DATASET-ID here)")
    cache: str | None = option(None, "the record's feature cache, where it is not in a known place")
    head_only: bool = option(False, "leave the backbone out: the export takes features")
    onnx: bool = option(False, "also write classifier.onnx; needs the extra `onnx`")


@dataclass
class PredictOptions:
    """An exported classifier on new inputs."""

    export: Path | None = option(None, "directory that `lt-bench export` wrote", positional=True)
    inputs: Path | None = option(
        None, "folder of images (or one image); an array file of features for an export without backbone", positional=True
    )
    out: Path = option(Path("predictions.csv"), "the table: path, class, confidence, and the next four classes")
    batch_size: int = option(64, "inputs at a time")
    accelerator: str = option("auto", "auto, cpu or gpu")
    skip_broken: bool = option(False, "leave out images that cannot be read, and name them")


def reading(options: ImageOptions | DataOptions) -> Reading:
    """What the options say on how images are read."""
    return Reading(
        imbalance_factor=options.imbalance_factor, profile=options.profile or "exponential", selection=options.selection or "first", image_column=options.image_column,
        label_column=options.label_column, split_column=options.split_column, split_seed=options.split_seed,
    )  # fmt: skip
