"""Facts of each data set: classes, counts, normalisation, files, licence. Free of torch."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from lt_bench.core.errors import UserError
from lt_bench.data.profiles import Profile, profile_counts

Layout = Literal["small_images", "tiny_imagenet", "lists", "inat", "subset_folders", "folders", "table", "embeddings"]
Statistics = tuple[float, float, float]

IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NeededFile:
    """A file or folder that is needed in the data directory, and the archive or page it comes from."""

    path: str
    origin: str


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    Attributes:
        name: as on the command line.
        title: as in a table.
        summary: one line for ``lt-bench list datasets``.
        layout: arrangement of the files, which decides the reader.
        num_classes: K; None for a user's own data.
        n_max: images of the largest class of the source; None where the counts are given.
        imbalance_factor: the default; None for data whose counts are given and that take no factor.
        natural_factor: imbalance factor of the whole source; with this factor all images are used.
        counts_file: package data with the K training counts, for data whose counts are given.
        names_file: package data with the K class names; None for data that have names of their own.
        val_per_class: validation images per class, taken from outside the subset, for data without a validation file.
        mean, std: normalisation of RGB in 0..1.
        input_size: height and width of the network's input, pixels.
        jitter: strength of the colour jitter of the augmentation: brightness, contrast and saturation.
        square: images are padded to a square and resized whole, and flipped both ways, instead of cropped.
        augmentation: the training augmentation, in words.
        evaluation: how a test image becomes an input, in words.
        n_val, n_test: images of the official splits; None for a user's own data.
        folder: subfolder of the data directory that is searched first.
        needs: files.
        obtain: how to get the files.
        licence: what the owners allow.
        homepage: of the images.
        paper: definition of the long-tailed version.
    """

    name: str
    title: str
    summary: str
    layout: Layout
    num_classes: int | None = None
    n_max: int | None = None
    imbalance_factor: float | None = None
    natural_factor: float | None = None
    counts_file: str | None = None
    names_file: str | None = None
    val_per_class: int = 0
    mean: Statistics = IMAGENET_MEAN
    std: Statistics = IMAGENET_STD
    input_size: int = 224
    jitter: float = 0
    square: bool = False
    augmentation: str = "random resized crop to 224, horizontal flip"
    evaluation: str = "resize 256, centre crop 224"
    n_val: int | None = None
    n_test: int | None = None
    folder: str = ""
    needs: tuple[NeededFile, ...] = ()
    obtain: str = ""
    licence: str = ""
    homepage: str = ""
    paper: str = ""

    def train_counts(self, imbalance_factor: float | None = None, profile: Profile = "exponential") -> tuple[int, ...] | None:
        """Training images per class in label order: given ones, or by the profile at ``imbalance_factor`` (default: the spec's); None for a user's own data.

        Raises:
            UserError: a factor for data that take none, or one out of range.
        """
        if self.n_max is not None and self.num_classes is not None:
            return profile_counts(profile, self.n_max, imbalance_factor or self.imbalance_factor or 1, self.num_classes)
        if imbalance_factor is not None:
            raise UserError(f"{self.name} has its own class counts and takes no imbalance factor; leave it out")
        return tuple(_package_list(f"class_counts/{self.counts_file}")) if self.counts_file else None

    def class_names(self) -> tuple[str, ...] | None:
        """K class names in label order, or None for data that have names of their own."""
        return tuple(_package_list(f"class_names/{self.names_file}")) if self.names_file else None


def _package_list(path: str) -> list:
    return json.loads(files("lt_bench.data").joinpath(path).read_text(encoding="utf-8"))


_CIFAR_STATISTICS: tuple[Statistics, Statistics] = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def _cifar(classes: int, n_max: int, val_per_class: int) -> DatasetSpec:
    folder, archive = f"cifar{classes}", f"cifar-{classes}-python.tar.gz"
    export = f"any parquet export of CIFAR-{classes} with columns image and label"
    python_folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    return DatasetSpec(
        name=f"cifar{classes}_lt",
        title=f"CIFAR-{classes}-LT",
        summary=f"{classes} classes of 32x32 photographs, subset by an imbalance factor",
        layout="small_images",
        num_classes=classes,
        n_max=n_max,
        imbalance_factor=100,
        names_file=f"cifar{classes}.json",
        val_per_class=val_per_class,
        mean=_CIFAR_STATISTICS[0],
        std=_CIFAR_STATISTICS[1],
        input_size=32,
        augmentation="random crop 32 after padding 4 with black, horizontal flip",
        evaluation="as it is",
        n_test=10_000,
        folder=folder,
        needs=(NeededFile("train.parquet", export), NeededFile("test.parquet", export), NeededFile(python_folder, archive)),
        obtain=f"download {archive} from the homepage and unpack it, or give train.parquet and test.parquet (val.parquet if there is one)",
        licence="none stated by the authors; cite Krizhevsky 2009",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        paper="Cui et al. 2019 (class-balanced loss); subset rule of Cao et al. 2019 (LDAM-DRW)",
    )


def _list_files(stem: str) -> tuple[NeededFile, ...]:
    origin = f"the list files of facebookresearch/classifier-balancing, data/{stem}"
    return tuple(NeededFile(f"{stem}_{split}.txt", origin) for split in ("train", "val", "test"))


_JITTER = "random resized crop to 224, horizontal flip, colour jitter 0.4 0.4 0.4"

_SPECS = (
    _cifar(10, 5000, 200),
    _cifar(100, 500, 20),
    DatasetSpec(
        name="tiny_imagenet_lt",
        title="Tiny-ImageNet-LT",
        summary="200 classes of 64x64 photographs, subset by an imbalance factor",
        layout="tiny_imagenet",
        num_classes=200,
        n_max=500,
        imbalance_factor=100,
        val_per_class=20,
        n_test=10_000,
        folder="tiny-imagenet-200",
        needs=tuple(
            NeededFile(p, "tiny-imagenet-200.zip") for p in ("wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt")
        ),
        obtain="download tiny-imagenet-200.zip from the homepage and unpack it; its val folder is the test set, classes in alphabetical order of wnid",
        licence="ImageNet terms: non-commercial research and education",
        homepage="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        paper="Cao et al. 2019 (LDAM-DRW)",
    ),
    DatasetSpec(
        name="imagenet_lt",
        title="ImageNet-LT",
        summary="1,000 classes, 115,846 photographs, 1,280 to 5 images per class",
        layout="lists",
        num_classes=1000,
        counts_file="imagenet_lt.json",
        augmentation=_JITTER,
        jitter=0.4,
        n_val=20_000,
        n_test=50_000,
        folder="imagenet_lt",
        needs=(
            *_list_files("ImageNet_LT"),
            NeededFile("train", "ILSVRC2012_img_train.tar"),
            NeededFile("val", "ILSVRC2012_img_val.tar"),
        ),
        obtain="register at the homepage for ILSVRC 2012, unpack one folder per wnid, and put the three list files beside it",
        licence="ImageNet terms: non-commercial research and education",
        homepage="https://image-net.org",
        paper="Liu et al. 2019 (OLTR)",
    ),
    DatasetSpec(
        name="places_lt",
        title="Places-LT",
        summary="365 classes, 62,500 photographs, 4,980 to 5 images per class",
        layout="lists",
        num_classes=365,
        counts_file="places_lt.json",
        augmentation=_JITTER,
        jitter=0.4,
        n_val=7_300,
        n_test=36_500,
        folder="places_lt",
        needs=(
            *_list_files("Places_LT"),
            NeededFile("data_256", "places365standard_easyformat.tar or train_256_places365standard.tar"),
        ),
        obtain="download Places365-Standard (256 pixels) from the homepage and put the three list files beside it",
        licence="Places terms: non-commercial research and education",
        homepage="http://places2.csail.mit.edu",
        paper="Liu et al. 2019 (OLTR)",
    ),
    DatasetSpec(
        name="inat2018",
        title="iNaturalist 2018",
        summary="8,142 species, 437,513 photographs, 1,000 to 2 images per class",
        layout="inat",
        num_classes=8142,
        counts_file="inat2018.json",
        mean=(0.466, 0.471, 0.380),
        std=(0.195, 0.194, 0.192),
        n_val=24_426,
        n_test=24_426,
        folder="inat2018",
        needs=(
            NeededFile("train_val2018", "train_val2018.tar.gz"),
            NeededFile("train2018.json", "train2018.json.tar.gz"),
            NeededFile("val2018.json", "val2018.json.tar.gz"),
        ),
        obtain="download the three archives that the homepage links and unpack them side by side; its validation images are the test set",
        licence="each photograph under its own licence; the competition allows non-commercial research and education",
        homepage="https://github.com/visipedia/inat_comp/tree/master/2018",
        paper="Van Horn et al. 2018",
    ),
    DatasetSpec(
        name="ictext_lt",
        title="ICText-LT",
        summary="36 characters on electronic parts, subset by an imbalance factor",
        layout="subset_folders",
        num_classes=36,
        n_max=3200,
        imbalance_factor=100,
        natural_factor=18,
        val_per_class=20,
        mean=(0.276, 0.262, 0.261),
        std=(0.239, 0.229, 0.227),
        input_size=32,
        square=True,
        augmentation="horizontal and vertical flip",
        evaluation="padding to a square, resize 32",
        n_test=6_300,
        folder="ictext_lt",
        needs=(NeededFile("train", "the owner, on signing an agreement"), NeededFile("test", "the owner, on signing an agreement")),
        obtain="ask the owner (ictext@vitrox.com) for the images; one folder per character in train and test",
        licence="non-disclosure agreement with ViTrox",
        homepage="https://github.com/chunchet-ng/ICText-AGCL",
        paper="FFDS loss (nwjun/FFDS-Loss)",
    ),
    DatasetSpec(
        name="folder",
        title="Class folders",
        summary="your images, one folder per class, with or without train, val and test above them",
        layout="folders",
        obtain="give the folder with --data-dir",
    ),
    DatasetSpec(
        name="table",
        title="Table of images",
        summary="your images, listed in a CSV or parquet file with columns path, label and optionally split",
        layout="table",
        obtain="give the file with --data-dir, or a folder with train, test and perhaps val as a file each",
    ),
    DatasetSpec(
        name="embeddings",
        title="Embeddings",
        summary="your features of any modality, imported with `lt-bench import-features`",
        layout="embeddings",
        obtain="run `lt-bench import-features`",
    ),
)

_BY_NAME = {spec.name: spec for spec in _SPECS}


def dataset_names() -> tuple[str, ...]:
    """Names of all data sets, benchmarks first, then the kinds of a user's own data."""
    return tuple(_BY_NAME)


def dataset_spec(name: str) -> DatasetSpec:
    """The spec of a data set; ``-`` and ``_`` are the same, case does not matter.

    Raises:
        UserError: no such data set; names the nearest.
    """
    wanted = name.lower().replace("-", "_")
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    near = difflib.get_close_matches(wanted, _BY_NAME, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_BY_NAME)}"
    raise UserError(f"no data set is called {name!r}; {hint}")
