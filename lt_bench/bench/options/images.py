"""Options of several verbs on images and their features; those of ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lt_bench.bench.options.choices import Accelerator, Augment, Dtype, Head

if TYPE_CHECKING:
    from lt_bench.data.reading import Reading


@dataclass
class ImageOptions:
    """Images of a data set.

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
        image_root: tables: folder that the paths are relative to (default: that of the table)
        split_seed: of the split that is made where your data bring none
        group_column: tables: column of tracks, patients or sites, which stay together in train, val or test
        group_pattern: class folders: regular expression with one (group), searched in CLASS/FILE; images with the same text in it (a track, a patient) stay
            together in train, val or test
    """

    dataset: str = ""
    data_dir: Path | None = None
    imbalance_factor: float | None = None
    profile: Literal["exponential", "step"] | None = None
    selection: Literal["first", "seed0"] | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    image_root: Path | None = None
    split_seed: int = 0
    group_column: str | None = None
    group_pattern: str | None = None


@dataclass
class InputOptions(ImageOptions):
    """Images as inputs of a network.

    Attributes:
        image_size: height and width of the network's inputs, pixels (default: the network's, or the data set's)
        augment: augmentation of training images: a random resized crop, a horizontal flip, colour jitter (default: that of the data set's papers; none for your own
            images, since a flip or crop can change their class; crop in `pretrain`)
    """

    image_size: int | None = None
    augment: Augment | None = None


@dataclass
class CacheOptions(InputOptions):
    """Features: a cache, or the images and network that make one.

    Attributes:
        cache: feature cache: a directory, or the name or key of a known one (default: the only one that fits)
        backbone: network, see `lt-bench list backbones`
        weights: its stage-1 weights: a safetensors file, a state dict, or a published checkpoint
        stage1_head: what strategies start from: weights, the classifier of the weights; text, what a text tower says of the class names; fit, logistic regression
            on the features (default: weights or text where there is one for your classes, else fit for your own images)
        prompt: sentence for the text tower, {} standing for the name of a class
        skip_broken: leave out images that cannot be decoded, and name them
    """

    cache: str | None = None
    backbone: str | None = None
    weights: Path | None = None
    stage1_head: Head | None = None
    prompt: str = "a photo of a {}."
    skip_broken: bool = False


@dataclass
class WritingOptions(InputOptions):
    """Images, and the stored form of their features.

    Attributes:
        views: augmented views of each training image in the cache (default: 8, or 0 without augmentation)
        dtype: stored precision of the cache (default: float16; float32 for your own images)
        val_per_class: validation images of a class, or all, of those in neither train nor test (default: the data set's validation)
        accelerator: device of a fit
    """

    views: int | None = None
    dtype: Dtype | None = None
    val_per_class: int | Literal["all"] | None = None
    accelerator: Accelerator = "auto"


@dataclass
class DataOptions(ImageOptions):
    """Check of the files of a data set.

    Attributes:
        action: check
        decode: images of each split to decode; 0 for none, -1 for all. Repeated and near-identical images are looked for among your own images unless it is 0, among
            the files of a benchmark with -1: every file is read
    """

    positional: ClassVar[tuple[str, ...]] = ("action", "dataset")
    action: str = ""
    decode: int = 8


def reading(options: ImageOptions) -> Reading:
    """Options of reading a data set."""
    return {
        "imbalance_factor": options.imbalance_factor, "profile": options.profile or "exponential", "selection": options.selection or "first",
        "image_column": options.image_column, "label_column": options.label_column, "split_column": options.split_column, "image_root": options.image_root, "split_seed": options.split_seed,
        "group_column": options.group_column, "group_pattern": options.group_pattern,
    }  # fmt: skip
