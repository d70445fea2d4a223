"""docs/datasets.md, written from the specs: ``python -m lt_bench.data.docs > docs/datasets.md``. Free of torch."""

from __future__ import annotations

import sys

from lt_bench.data.specs import DatasetSpec, dataset_names, dataset_spec
from lt_bench.metrics.groups import shot_groups

_HEAD = """# Data sets

Written from `lt_bench/data/specs.py` by `python -m lt_bench.data.docs > docs/datasets.md`; do not edit.

`lt-bench data check NAME --data-dir DIR` says what is there, what is missing and where to get it, and decodes a few images (`--decode -1`: all, and compares them across splits, which for your own images is done anyway); `lt-bench extract --dataset NAME --data-dir DIR
--backbone BACKBONE --weights FILE` makes the cache. Many, medium and few are classes with more than 100, 20 to 100, and fewer than 20 training images. Counts are those at the default imbalance factor."""

_VALIDATION = """## Validation images

Of data with an imbalance factor, validation is `val.parquet` or the folder `val` where there is one, else the first images of each class outside the training subset: 200 (CIFAR-10) or 20 (the others). A class
that is all trained on has none.

`lt-bench extract --val-per-class all` (and `pretrain`) takes every labelled image that is in neither the training subset nor test, those of the validation file first and then those outside the subset; a
number takes up to so many of each class. Images of CIFAR whose pixels are in train or in test, or stand twice, are left out, whatever their labels, and counted; image files are told apart by their paths. The larger the
imbalance factor, the more there are: of CIFAR-100 at 100 39,153 less duplicates, of a source that is itself long-tailed (IF 10) and brings 1,972 beside it 10,693. How many of each class there are the
extraction says. Training and test images, their order and the split hash stay as they are, so what is measured on test is of the same images; the hash is over train, test and the validation that a data set has by itself.
The validation images are in the key of the cache (labels, rows and features), in its name (`-valall`) and, as a hash, in `created_with` of its manifest; two caches of one backbone are two boards. Where weights carry the hashes of
their training images, validation is compared with them: more than one in a thousand that they have seen, and `tune` refuses them all. `tune --val-size 2277` draws from these 10,693 images 23 of
each class that has any, the most that there are of all ([statistics.md](statistics.md#protocol)); `--val-per-class 50` makes a cache with 4,915, as even as can be. Tuning file and board say how many there were, from how few to how many a class, and which classes had none."""

_OWN = """## Your own images

**Class folders** (`--dataset folder --data-dir DIR`): one folder per class, or `train`, `test` and perhaps `val` with class folders in each. Classes are
numbered in the sorted order of their names, which may hold spaces and any script. Where there is no `test`, about 20 % of every class become it, and about 10 %
validation where there is no `val`; a class of one image stays in train, one of two has one in test. An image's split is decided by the hash of its content with
`--split-seed`, before any training: a class or an image more, another name or another order move nobody else, and equal images stay together. (In a class of which
chance leaves none for test or validation one image is taken, and only its place may be taken by an addition to this class.)
With `train` and `val` alone, `val` is the test set.

**Tables** (`--dataset table --data-dir FILE`): CSV or parquet with columns `path` (relative to the file, or to `--image-root`), `label` (a name, or whole numbers from 0) and perhaps `split`
(`train`, `val`, `test`); other names with `--image-column`, `--label-column` and `--split-column`. A parquet file may hold the images themselves, as bytes or as the structs of the
Hugging Face hub, in a column `image` or `img`; such a file is read into memory, and the class names of its `ClassLabel` are taken. Splits are made as above where there are none. DIR may also be a folder with a table for each split: `train.parquet`,
`test.parquet` and perhaps `val.parquet` (or `.csv`), or their parts as on the hub (`train-00000-of-00002.parquet`, also in a folder `data`).

**Groups.** Frames of one track, slides of one patient, photographs of one site are no independent images: where they stand in train and in test, accuracy is that of
remembering. `--group-column COLUMN` (tables) and `--group-pattern REGEX` (class folders) keep them together in one split. The pattern has one group in parentheses and is searched
in `CLASS/FILE`: `--group-pattern '^(.*)_\\d+'` for `stop/00012_03.png`, `--group-pattern '/(patient\\d+)'` where a patient is in several classes. A given split that divides a group is refused. A class
of which all images are of one group trains, is named, and has no held-out images and so no accuracy. Groups stay whole, so few or
large ones leave shares far from those above, and validation without some classes: `data check` and `extract` say how many images each split has where a share is off by more than half of it and by more than
chance, and how many classes validation lacks. More and smaller groups mend it, another `--split-seed`, or a split of your own. The options belong to the split: give them again wherever the images are named again, but to
`update`, which takes them from the export's cache.

Every cache of image files holds `images.csv`, the split and path of each of its rows; put at the root of the images it can be given as a table again.

**Which images**: everything that Pillow reads. Grey, palette and CMYK images become RGB, alpha is dropped, 16-bit images keep their high byte, animations give their first frame,
photographs are turned upright by EXIF (benchmarks are not, as in their official loaders). Images that cannot be decoded are named and refused (your own before the backbone runs); `--skip-broken` leaves such images out and names them in the manifest.

**Transforms**: the backbone's own where it has one (torchvision, timm), else resize to 8/7 of its input size and centre crop, with ImageNet's mean and standard deviation; nothing is augmented but by `--augment` ([backbones.md](backbones.md#size-augmentation-and-stage-1-head))."""


def datasets_page() -> str:
    """The whole page."""
    specs = [dataset_spec(name) for name in dataset_names()]
    benchmarks = [spec for spec in specs if spec.num_classes is not None]
    return "\n\n".join([_HEAD, _table(benchmarks), *map(_section, benchmarks), _VALIDATION, _OWN]) + "\n"


def _table(specs: list[DatasetSpec]) -> str:
    lines = [
        "| name | classes | train | val | test | largest / smallest class | many / medium / few |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in specs:
        counts = spec.train_counts() or ()
        groups = shot_groups(counts)
        val = f"{spec.n_val:,}" if spec.n_val and spec.layout != "inat" else "outside the subset" if spec.val_per_class else "none"
        cells = (
            f"`{spec.name}`", f"{spec.num_classes:,}", f"{sum(counts):,}", val, f"{spec.n_test:,}" if spec.n_test else "", f"{max(counts):,} / {min(counts):,}",
            f"{groups.many.sum()} / {groups.medium.sum()} / {groups.few.sum()}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(spec: DatasetSpec) -> str:
    factor = (
        "none, the counts are given"
        if spec.imbalance_factor is None
        else f"{spec.imbalance_factor:g} by default, any with `--imbalance-factor`"
    )
    if spec.natural_factor is not None:
        factor += f"; {spec.natural_factor:g} takes all images"
    facts = [
        ("Imbalance factor", factor),
        ("Evaluation", f"{spec.evaluation}; mean {_numbers(spec.mean)}, standard deviation {_numbers(spec.std)}"),
        ("Augmentation", spec.augmentation),
        ("Get it", spec.obtain),
        ("Licence", spec.licence),
        ("Homepage", f"<{spec.homepage}>"),
        ("Defined by", spec.paper),
    ]
    needs = [f"| `{spec.folder}/{need.path}` | {need.origin} |" for need in spec.needs]
    return "\n".join(
        [f"## {spec.title}", "", f"{spec.summary[0].upper()}{spec.summary[1:]}.", "", *(f"- {name}: {text}" for name, text in facts), "",
         "| under `--data-dir` | from |", "|---|---|", *needs]
    )  # fmt: skip


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(map(str, values))


if __name__ == "__main__":
    sys.stdout.write(datasets_page())
