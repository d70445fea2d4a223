"""``lt-bench data check NAME``: what is there of a data set, what is missing and from which archive it comes; useful before any image is there."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lt_bench.bench.options import DataOptions, reading
from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData, absent
from lt_bench.data.load import data_root, listed_splits, load_images, missing_files
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.specs import DatasetSpec, dataset_spec
from lt_bench.metrics.groups import shot_groups


def data_verb(options: DataOptions) -> None:
    """Show what is there.

    Raises:
        UserError: no such action or data set; something is missing, wrong or cannot be decoded, once everything that can be said has been shown.
    """
    if options.action != "check":
        raise UserError(f"data {options.action or '?'}: there is `lt-bench data check NAME --data-dir DIR`")
    if not options.dataset:
        raise UserError(
            "data check needs the name of a data set, e.g. `lt-bench data check imagenet_lt --data-dir DIR`; `lt-bench list datasets`"
        )
    spec, console = dataset_spec(options.dataset), Console()
    _say(console, f"{spec.name}: {spec.title}, {spec.summary}")
    if spec.num_classes is not None:  # else it is the user's own
        for name in ("obtain", "homepage", "licence", "evaluation"):
            _say(console, f"{name.replace('obtain', 'get it')}: {getattr(spec, name)}")
    if options.data_dir is None:
        _show_needs(console, spec, None)
        raise UserError(f"{spec.name}: where are its images? give --data-dir DIR")
    if spec.needs:
        _show_needs(console, spec, data_root(spec, options.data_dir))
    if spec.layout in ("lists", "inat"):
        _show_listed(console, spec, data_root(spec, options.data_dir))
    if missing := missing_files(spec, data_root(spec, options.data_dir)):
        raise UserError(f"{options.data_dir}: {len(missing)} of what {spec.name} needs are missing: {', '.join(missing)}")
    data = load_images(options.dataset, options.data_dir, **reading(options))
    _show_splits(console, data)
    if isinstance(data, FileData):
        _decode(console, data, options.decode)
    _say(console, f"{spec.name} is complete; next: {_next(data, options)}")


def _show_needs(console: Console, spec: DatasetSpec, root: Path | None) -> None:
    """The table of files."""
    table = Table("needed", "", "from", box=SIMPLE_HEAD)
    for need in spec.needs:
        table.add_row(need.path, "there" if root is not None and (root / need.path).exists() else "missing", need.origin)
    console.print(table)


def _show_listed(console: Console, spec: DatasetSpec, root: Path) -> None:
    """How many of the listed images are there, where the lists are."""
    try:
        splits, _ = listed_splits(spec, root)
    except UserError as error:
        _say(console, f"lists: {error}")
        return
    for split, images in splits.items():
        gone = absent(images)
        _say(
            console,
            f"{split}: {len(images):,} images listed, {len(images) - len(gone):,} there"
            + (f"; the first absent one is {gone[0]}" if gone else ""),
        )


def _show_splits(console: Console, data: ImageData | FileData) -> None:
    spec, counts = data.spec, np.array(data.train_counts)
    expected = {
        "train": sum(spec.train_counts(data.imbalance_factor if spec.imbalance_factor else None, data.profile) or ()) or None,
        "val": spec.n_val, "test": spec.n_test,
    }  # fmt: skip
    table = Table("split", "images", "expected", "classes", box=SIMPLE_HEAD)
    for split in ("train", "val", "test"):
        if split in data.splits:
            labels = data.splits[split].labels
            wanted = expected[split]
            table.add_row(split, f"{len(labels):,}", "" if wanted is None else f"{wanted:,}", f"{np.unique(labels).size:,}")
    console.print(table)
    groups = shot_groups(counts)
    _say(
        console,
        f"{counts.size:,} classes of {counts.max():,} to {counts.min():,} training images ({counts.max() / counts.min():.1f} times)",
    )
    _say(console, f"many / medium / few (above 100, below 20): {groups.many.sum()} / {groups.medium.sum()} / {groups.few.sum()} classes")
    if spec.num_classes is None:
        _say(
            console,
            f"largest: {_classes(data, np.argsort(-counts, kind='stable'))}; smallest: {_classes(data, np.argsort(counts, kind='stable'))}",
        )
    _say(console, f"validation: {data.val_source}")
    _say(console, f"split hash: {data.split_hash}")


def _classes(data: ImageData | FileData, order: np.ndarray, most: int = 3) -> str:
    return ", ".join(f"{data.class_names[k]} ({data.train_counts[k]:,})" for k in order[:most])


def _next(data: ImageData | FileData, options: DataOptions) -> str:
    """The command that goes on from here."""
    backbone = "torchvision.resnet50" if data.spec.num_classes is None else "NAME"
    words = [
        "lt-bench",
        "run",
        "--strategy",
        "crt",
        "--dataset",
        data.spec.name,
        "--data-dir",
        str(options.data_dir),
        "--backbone",
        backbone,
        "--weights",
    ]
    return f"{shlex.join(words)} FILE"


def _decode(console: Console, data: FileData, count: int) -> None:
    """Decode images spread over each split.

    Raises:
        UserError: one cannot be decoded; names the first and how many there are.
    """
    broken = []
    for split, images in data.splits.items():
        chosen = np.arange(len(images)) if count < 0 else np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))
        sizes = []
        for i in chosen:
            try:
                sizes.append(images.image(int(i)).size)
            except UserError as error:
                broken.append(str(error))
        if sizes:
            width, height = (sorted(side) for side in zip(*sizes, strict=True))
            _say(
                console,
                f"{split}: {len(sizes)} of {len(images):,} decoded, {width[0]} to {width[-1]} pixels wide, {height[0]} to {height[-1]} high",
            )
    if broken:
        for line in broken[1:]:
            _say(console, line)
        raise UserError(broken[0] if len(broken) == 1 else f"{len(broken)} images cannot be decoded; {broken[0]}")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
