"""The options of every verb as plain dataclasses: what the command line, the environment and YAML files can say. Free of torch and NumPy.

Help texts are those of the docstrings: an option is explained where its class is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lt_bench.engine.arithmetic import Matmul

if TYPE_CHECKING:
    from lt_bench.data.reading import Reading

Wandb = Literal["off", "offline", "online"]
Accelerator = Literal["auto", "cpu", "gpu"]
Dtype = Literal["float16", "float32", "affine8"]
Precision = Literal["bf16", "fp32"]


@dataclass
class StrategyChoice:
    """A strategy and the hyper-parameters given for it; what is not given takes its official or inferred default."""

    name: str = ""
    hyperparameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageOptions:
    """Which images.

    Attributes:
        dataset: data set, see `lt-bench list datasets`
        data_dir: where the images are
        imbalance_factor: n_max / n_min of the subset (default: 100 for CIFAR)
        profile: shape of the long tail (default: exponential, or that of the cache that fits)
        selection: which images of a class are kept: the first, or the standard seed-0 shuffle of the balanced original (default: first, or that of the cache
            that fits)
        image_column: parquet and tables: column of images or of paths, where it is not `image` or `path`
        label_column: parquet and tables: column of labels, where it is not `label`
        split_column: tables: column of train, val and test, where it is not `split`
        split_seed: of the split that is made where your data bring none
    """

    dataset: str = ""
    data_dir: Path | None = None
    imbalance_factor: float | None = None
    profile: Literal["exponential", "step"] | None = None
    selection: Literal["first", "seed0"] | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    split_seed: int = 0


@dataclass
class CacheOptions(ImageOptions):
    """Which features.

    Attributes:
        cache: feature cache: a directory, or the name or key of a known one (default: the only one that fits)
        backbone: network, see `lt-bench list backbones`
        weights: its stage-1 weights: a safetensors file, a state dict, or a published checkpoint
        skip_broken: leave out images that cannot be decoded, and name them
    """

    cache: str | None = None
    backbone: str | None = None
    weights: Path | None = None
    skip_broken: bool = False


@dataclass
class FitOptions(CacheOptions):
    """Where heads are fitted and where records go.

    Attributes:
        results: directory of run records
        accelerator: device of a fit
        devices: processes of one fit (DDP); gloo on CPU
        wandb: also log every run to Weights & Biases; offline needs no account
        wandb_project: W&B project
    """

    results: Path = Path("results")
    accelerator: Accelerator = "auto"
    devices: int = 1
    wandb: Wandb = "off"
    wandb_project: str = "lt-bench"


@dataclass
class RunOptions(FitOptions):
    """Re-train, evaluate, record.

    Attributes:
        strategy: see `lt-bench list strategies`, or package.module.Class of your own, or several: a,b,c
        seeds: repetitions, e.g. 0,1,2 or 0-4: initial head and batch order
        tuned: take the hyper-parameters that `lt-bench tune` chose
        analysis: also record norms and cosine per class over epochs
        best_test_epoch: also record the best epoch on the test set, as papers do
        matmul: float32 products of a fit: exact, TF32 or bfloat16 where the device has them; another run in records
        protocol: clean: cached features; else fresh augmentations through the backbone, in eval or training mode
        mode: end-to-end: the strategy's loss trains the backbone too
        recipe: end-to-end: stage-1 recipe (los, ldam, decoupling, fast) in place of the strategy's own optimisation
        epochs: end-to-end: instead of the recipe's
        phase1: end-to-end: begin with this checkpoint (pretrain --keep-epochs); with --recipe, at its place in the schedule
        precision: of training (default: bf16 on a GPU, fp32 on a CPU)
        compiled: torch.compile the backbone
        checkpoints: end-to-end: directory of checkpoints and weights, a folder for each run
        checkpoint_every: end-to-end: epochs between checkpoints, from which the same command goes on after a kill
        keep_epochs: end-to-end: epochs whose checkpoint stays as epoch-N.ckpt, a phase 1 for others
    """

    several: ClassVar[bool] = True
    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    seeds: list[int] = field(default_factory=lambda: [0])
    tuned: bool = False
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


@dataclass
class TuneOptions(FitOptions):
    """Choose hyper-parameters on validation images that the backbone has not seen.

    Attributes:
        strategy: see `lt-bench list strategies`, or package.module.Class of your own; hyper-parameters that are given leave the grid
        seeds: repetitions that every grid point is fitted with, e.g. 0,1,2 or 0-4
        workers: processes that share the grid (default: one for each GPU; on the CPU by cores, memory and work)
    """

    strategy: StrategyChoice = field(default_factory=StrategyChoice)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    workers: int | None = None


@dataclass
class BenchOptions:
    """Run a suite.

    Attributes:
        suite: suite file (YAML) or the name of a shipped one
        results: directory of run records
        accelerator: device of a fit
        workers: processes that share the runs of the suite, each with its share of the CPU threads and one GPU (default: one for each GPU; on the CPU by cores,
            memory and work)
        slurm: run the suite as jobs on this partition of SLURM, --workers at a time; needs the extra `slurm`
        slurm_options: more for submitit, e.g. timeout_min=60,cpus_per_task=8,slurm_account=lab
        devices: processes of one fit (DDP)
        wandb: also log every run to Weights & Biases; offline needs no account
        wandb_project: W&B project
    """

    positional: ClassVar[tuple[str, ...]] = ("suite",)
    suite: str = ""
    results: Path = Path("results")
    accelerator: Accelerator = "auto"
    workers: int | None = None
    slurm: str | None = None
    slurm_options: list[str] = field(default_factory=list)
    devices: int = 1
    wandb: Wandb = "off"
    wandb_project: str = "lt-bench"


@dataclass
class ListOptions:
    """What there is.

    Attributes:
        what: strategies, datasets, backbones, caches or slots
        name: one of them, shown in full
    """

    positional: ClassVar[tuple[str, ...]] = ("what", "name")
    what: str = ""
    name: str = ""


@dataclass
class CompletionOptions:
    """Shell completion.

    Attributes:
        shell: bash or zsh
    """

    positional: ClassVar[tuple[str, ...]] = ("shell",)
    shell: str = ""


@dataclass
class LeaderboardOptions:
    """Records to tables.

    Attributes:
        results: directory of run records
        out: where the files are written
        formats: what to write: markdown, csv, latex, html, published (measured beside published), plots (then in the page too)
        columns: modules of yours that register columns
        statistics: rank groups and intervals over test images, from the stored predictions (kept between calls)
    """

    results: Path = Path("results")
    out: Path = Path("leaderboard")
    formats: list[str] = field(default_factory=lambda: ["markdown", "csv", "latex", "html", "published"])
    columns: list[str] = field(default_factory=list)
    statistics: bool = True


@dataclass
class WandbOptions:
    """W&B as a view of the records.

    Attributes:
        action: push: rebuild every run, table and plot from the records; dashboard: make a workspace and a report
        results: directory of run records
        project: W&B project
        entity: W&B user or team
        online: push: send now; otherwise offline runs are written, for `wandb sync`
        plots: push: with the plots of every board
    """

    positional: ClassVar[tuple[str, ...]] = ("action",)
    action: str = ""
    results: Path = Path("results")
    project: str = "lt-bench"
    entity: str | None = None
    online: bool = False
    plots: bool = True


@dataclass
class VerifyOptions:
    """Run a record again and compare.

    Attributes:
        record: a record's JSON file
        tolerance: largest difference of a metric that passes, relative to figures above 1
        cache: the record's feature cache, where it is not in a known place
        data_dir: of a record fitted on images: where they are
        weights: of a record fitted on images: the backbone's stage-1 weights
        phase1: of an end-to-end record: the checkpoint that it began with
    """

    positional: ClassVar[tuple[str, ...]] = ("record",)
    record: Path = Path()
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


@dataclass
class WritingOptions(ImageOptions):
    """Which images, and how their features are stored.

    Attributes:
        views: augmented views of each training image in the cache
        dtype: stored precision of the cache
        accelerator: device of a fit
    """

    views: int = 8
    dtype: Dtype = "float16"
    accelerator: Accelerator = "auto"


@dataclass
class ExtractOptions(WritingOptions):
    """Images to a feature cache.

    Attributes:
        backbone: network, see `lt-bench list backbones`
        weights: its stage-1 weights: a safetensors file, a state dict, or a published checkpoint
        name: name of the cache (default: DATASET-ifIF-BACKBONE)
        out: directory of the cache (default: its name in the known caches)
        stage1: how the backbone was trained, in words
        batch_size: views a forward (default: 250 for small images, else 125)
        workers: processes that decode image files (default: by the cores; 0: none)
        devices: processes, one device each, that share the images; torchrun for several nodes, --out on a file system of all
        skip_broken: leave out images that cannot be decoded, and name them
        val_seen_by_backbone: whether stage 1 was trained on the validation images; tuning then refuses them
    """

    backbone: str = ""
    weights: Path | None = None
    name: str | None = None
    out: Path | None = None
    stage1: str = ""
    batch_size: int | None = None
    workers: int | None = None
    devices: int = 1
    skip_broken: bool = False
    val_seen_by_backbone: bool = False


@dataclass
class DataOptions:
    """What is there of a data set, and what is missing.

    Attributes:
        action: check
        dataset: data set, see `lt-bench list datasets`
        data_dir: where the images are
        imbalance_factor: n_max / n_min of the long-tailed subset (default: the data set's)
        profile: shape of the long tail
        selection: which images of a class are kept: the first, or the standard seed-0 shuffle of the balanced original
        image_column: column of encoded images or of paths, where it is not `image` or `path`
        label_column: column of labels, where it is not `label`
        split_column: tables: column of train, val and test, where it is not `split`
        split_seed: of the split that is made where your data bring none
        decode: images of each split to decode; 0 for none, -1 for all
    """

    positional: ClassVar[tuple[str, ...]] = ("action", "dataset")
    action: str = ""
    dataset: str = ""
    data_dir: Path | None = None
    imbalance_factor: float | None = None
    profile: Literal["exponential", "step"] = "exponential"
    selection: Literal["first", "seed0"] = "first"
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    split_seed: int = 0
    decode: int = 8


@dataclass
class PretrainOptions(WritingOptions):
    """Stage 1: train a backbone on the long-tailed images, then extract its cache.

    Attributes:
        backbone: network, see `lt-bench list backbones`
        weights: weights to start from: a file, or hub for the published ones (default: fresh)
        recipe: stage-1 recipe: los, ldam, mixup, decoupling or fast
        seed: of initial weights, batch order and augmentation
        epochs: instead of the recipe's
        out: directory of the run: plan, checkpoint, log, weights
        cache: directory of the feature cache (default: OUT/cache)
        precision: of training (default: bf16 on a GPU, fp32 on a CPU)
        devices: processes (DDP), one device each; torchrun for several nodes, --out on a file system of all
        workers: processes that decode image files, for each device (default: by the cores; 0: none)
        skip_broken: leave out images that cannot be decoded, and name them
        compiled: torch.compile the network
        deterministic: cuDNN's deterministic algorithms; without them a resumed run on a GPU may differ in the last digits
        half_weights: store the weights as float16
        keep_epochs: epochs whose checkpoint stays as OUT/epoch-N.ckpt, a phase 1 for `run --mode end-to-end`
        wandb: also log the epochs to Weights & Biases; offline needs no account
        wandb_project: W&B project
    """

    backbone: str = "resnet34"
    weights: Path | None = None
    recipe: str = "los"
    seed: int = 0
    epochs: int | None = None
    out: Path = Path("stage1")
    cache: Path | None = None
    precision: Precision | None = None
    devices: int = 1
    workers: int | None = None
    skip_broken: bool = False
    compiled: bool = False
    deterministic: bool = True
    half_weights: bool = False
    keep_epochs: list[int] = field(default_factory=list)
    wandb: Wandb = "off"
    wandb_project: str = "lt-bench"


@dataclass
class ImportOptions:
    """Embeddings from anywhere to a feature cache.

    Attributes:
        name: name of the new cache
        train: training arrays: .npz, .safetensors or .parquet with features and labels, or a .npy of features
        train_labels: .npy of labels, where --train is a .npy
        val: validation arrays, unseen by the backbone
        val_labels: .npy of labels, where --val is a .npy
        test: test arrays
        test_labels: .npy of labels, where --test is a .npy
        head: stage-1 head: .npz or .safetensors with weight (K, D) and bias (K,)
        class_names: text file, one class name a line, in label order
        dataset: data set the features are of
        backbone: network that made them
        stage1: how that network was trained, in words
        imbalance_factor: imbalance factor of the training set, where it is a subset
        val_seen_by_backbone: whether stage 1 was trained on the validation rows; tuning then refuses them
        dtype: stored precision
        val_fraction: without --val: hold out this share of the training rows per class, at most half a class
        seed: of that draw
        out: directory of the new cache (default: NAME in the known caches)
    """

    name: str = ""
    train: Path | None = None
    train_labels: Path | None = None
    val: Path | None = None
    val_labels: Path | None = None
    test: Path | None = None
    test_labels: Path | None = None
    head: Path | None = None
    class_names: Path | None = None
    dataset: str = "embeddings"
    backbone: str = "unknown"
    stage1: str = ""
    imbalance_factor: float | None = None
    val_seen_by_backbone: bool = False
    dtype: Dtype = "float16"
    val_fraction: float = 0.0
    seed: int = 0
    out: Path | None = None


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
    """

    positional: ClassVar[tuple[str, ...]] = ("export", "inputs")
    export: Path | None = None
    inputs: Path | None = None
    out: Path = Path("predictions.csv")
    batch_size: int = 64
    accelerator: Accelerator = "auto"
    skip_broken: bool = False


def reading(options: ImageOptions | DataOptions) -> Reading:
    """What the options say on how images are read."""
    return {
        "imbalance_factor": options.imbalance_factor, "profile": options.profile or "exponential", "selection": options.selection or "first",
        "image_column": options.image_column, "label_column": options.label_column, "split_column": options.split_column, "split_seed": options.split_seed,
    }  # fmt: skip
