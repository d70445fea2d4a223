"""Options of ``extract``, ``pretrain`` and ``import-features``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lt_bench.bench.options.choices import Dtype, Fitted, Head, Precision, Wandb
from lt_bench.bench.options.images import WritingOptions


@dataclass
class ExtractOptions(WritingOptions):
    """Images to a feature cache.

    Attributes:
        backbone: network, see `lt-bench list backbones` (default for your own images: efficientnet_lite0)
        weights: its stage-1 weights: a safetensors file, a state dict, or a published checkpoint (default: those of its package)
        stage1_head: what strategies start from: weights, the classifier of the weights; text, what a text tower says of the class names; fit, logistic regression
            on the features (default: weights or text where there is one for your classes, else fit for your own images)
        prompt: sentence for the text tower, {} standing for the name of a class
        name: name of the cache (default: DATASET-ifIF-BACKBONE)
        out: directory of the cache (default: its name in the known caches)
        stage1: how the backbone was trained, in words
        standardise: mean 0 and spread 1 over the plain training images in each dimension; exports do the same
        batch_size: views a forward (default: 250 for small images, else 125, or 16 on a CPU)
        workers: processes that decode image files (default: by the cores; 0: none)
        devices: processes, one device each, that share the images; torchrun for several nodes, --out on a file system of all
        skip_broken: leave out images that cannot be decoded, and name them
        val_seen_by_backbone: whether stage 1 was trained on the validation images; tuning then refuses them
    """

    backbone: str = ""
    weights: Path | None = None
    stage1_head: Head | None = None
    prompt: str = "a photo of a {}."
    name: str | None = None
    out: Path | None = None
    stage1: str = ""
    standardise: bool = False
    batch_size: int | None = None
    workers: int | None = None
    devices: int = 1
    skip_broken: bool = False
    val_seen_by_backbone: bool = False


@dataclass
class PretrainOptions(WritingOptions):
    """Stage 1: train a backbone on the long-tailed images, then extract its cache.

    Attributes:
        backbone: network, see `lt-bench list backbones`
        weights: weights to start from: a file, or hub for the published ones (default: those of its package, else fresh)
        recipe: stage-1 recipe: los, ldam, mixup, decoupling or fast
        recipe_fields: numbers of the recipe that are others than its own, by name
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
    recipe_fields: dict[str, float] = field(default_factory=dict)
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
        train: training arrays features and labels: .npz, .pt, .safetensors or .parquet (also of the Hugging Face hub), or a .npy of features
        train_labels: labels, where --train has none, as a .npy
        val: validation arrays, unseen by the backbone
        val_labels: labels, where --val has none
        test: test arrays
        test_labels: labels, where --test has none
        head: stage-1 head: .npz, .pt or .safetensors with weight (K, D) and bias (K,)
        stage1_head: fit: logistic regression on the features, for strategies that start from a stage-1 head
        class_names: text file, one class name a line, in label order (default: those of a Hugging Face file, or of --dataset)
        dataset: data set the features are of
        backbone: network that made them
        stage1: how that network was trained, in words
        imbalance_factor: imbalance factor of the training set, where it is a subset
        val_seen_by_backbone: whether stage 1 was trained on the validation rows; tuning then refuses them (default: false, as of foundation models; true for
            rows of --val-fraction where a head is given, which was trained on them)
        dtype: stored precision
        val_fraction: without --val: hold out about this share of the training rows of every class, by hash of their content; equal rows stay together
        seed: of that split
        out: directory of the new cache (default: NAME in the known caches)
        relabel: number the ids that have rows 0..K-1; each class keeps its name, or its id as its name
        drop_empty: the same for the classes that have training rows; rows of others are left out
        standardise: mean 0 and spread 1 over the training rows in each dimension; exports apply it to raw features
    """

    name: str = ""
    train: Path | None = None
    train_labels: Path | None = None
    val: Path | None = None
    val_labels: Path | None = None
    test: Path | None = None
    test_labels: Path | None = None
    head: Path | None = None
    stage1_head: Fitted | None = None
    class_names: Path | None = None
    dataset: str = "embeddings"
    backbone: str = "unknown"
    stage1: str = ""
    imbalance_factor: float | None = None
    val_seen_by_backbone: bool | None = None
    dtype: Dtype = "float16"
    val_fraction: float = 0.0
    seed: int = 0
    out: Path | None = None
    relabel: bool = False
    drop_empty: bool = False
    standardise: bool = False
