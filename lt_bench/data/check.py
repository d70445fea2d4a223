"""Completeness of a data set on disk: which files are present, which are missing and from which archive they come. Needs no image to start with."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from lt_bench.core.activity import doing, steps
from lt_bench.core.commands import text
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted, span
from lt_bench.core.resources import usable_cores
from lt_bench.data.images.decode import BrokenImage
from lt_bench.data.images.decode import decode as decoded
from lt_bench.data.images.image_list import NAMED, Broken, FileData, absent, refusal, sample_name
from lt_bench.data.load import data_root, listed_splits, load_images, missing_files
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.reading import DEFAULTS, Reading
from lt_bench.data.repeated import image_contents, repeated
from lt_bench.data.specs import DatasetSpec, dataset_spec
from lt_bench.metrics.groups import shot_groups

if TYPE_CHECKING:
    from lt_bench.data.near import Near

FEW = 5000  # images that are read sooner than processes are started
THIN = 100
"""Test images below which the 95 % interval of an accuracy of one half is wider than 10 points to each side."""
Say = Callable[[RenderableType], None]
"""Shows a line of text or a table."""


@dataclass(frozen=True)
class Checked:
    """A data set that is complete.

    Attributes:
        data: its images.
        noticed: counts of repeated, near-identical and one-coloured images, where they were looked for.
    """

    data: ImageData | FileData
    noticed: dict[str, Any]


def check_dataset(dataset: str, data_dir: Path | None, say: Say, *, decode: int = 8, **reading: Unpack[Reading]) -> Checked:
    """Show which files of a data set are present, decode some images, and show the next command.

    Args:
        dataset: its name.
        data_dir: where its images are; None shows what is needed.
        say: shows a line or a table.
        decode: images of each split to decode, evenly over the split; -1 for all. Repeated and near-identical images are looked for in
            small images, in a user's own unless ``decode`` is 0, and in all others where ``decode`` is below 0; this reads every file.
        reading: see ``Reading``.

    Raises:
        UserError: no such data set; something is missing, wrong or cannot be decoded, after everything else has been shown.
    """
    spec = dataset_spec(dataset)
    say(f"{spec.name}: {spec.title}, {spec.summary}")
    if spec.num_classes is not None:  # a benchmark, whose number of classes is fixed
        for name in ("obtain", "homepage", "licence", "evaluation"):
            say(f"{name.replace('obtain', 'get it')}: {getattr(spec, name)}")
    if data_dir is None:
        if spec.needs:
            _show_needs(say, spec, None)
        raise UserError(f"{spec.name}: where are its images? give --data-dir DIR")
    root = data_root(spec, data_dir)
    if spec.needs:
        _show_needs(say, spec, root)
    if spec.layout in ("lists", "inat"):
        _show_listed(say, spec, root)
    if missing := missing_files(spec, root):
        raise UserError(f"{data_dir}: {len(missing)} of what {spec.name} needs are missing: {', '.join(missing)}")
    data = load_images(dataset, data_dir, **reading)
    _show_splits(say, data)
    for remark in data.remarks:
        say(remark)
    broken = _decode(say, data, decode) if isinstance(data, FileData) else {}
    noticed = {}
    if not isinstance(data, FileData) or decode < 0 or (decode and spec.num_classes is None):
        noticed, near = _show_repeated(say, data), _show_near(say, data)
        noticed |= near.record()
        broken = {split: of_split | broken.get(split, {}) for split, of_split in near.broken.items()}
    else:
        say("repeated and near-identical images were not looked for; --decode -1 does, and reads every file")
    if reasons := [why for of_split in broken.values() for _, why in sorted(of_split.items())]:
        for why in reasons[NAMED:]:
            say(why)
        raise UserError(refusal(reasons))
    say(f"{spec.name} is complete; next: {_next(data, data_dir, reading)}")
    return Checked(data, noticed)


def _show_needs(say: Say, spec: DatasetSpec, root: Path | None) -> None:
    """Show the table of needed files."""
    table = Table("needed", "", "from", box=SIMPLE_HEAD)
    for need in spec.needs:
        table.add_row(need.path, "there" if root is not None and (root / need.path).exists() else "missing", need.origin)
    say(table)


def _show_listed(say: Say, spec: DatasetSpec, root: Path) -> None:
    """Show how many of the listed images are present, if the lists are."""
    try:
        splits, _ = listed_splits(spec, root)
    except UserError as error:
        say(f"lists: {error}")
        return
    for split, images in splits.items():
        gone = absent(images)
        say(
            f"{split}: {len(images):,} images listed, {len(images) - len(gone):,} there"
            + (f"; the first absent one is {gone[0]}" if gone else ""),
        )


def _show_splits(say: Say, data: ImageData | FileData) -> None:
    spec, counts = data.spec, np.array(data.train_counts)
    expected = {
        "train": sum(spec.train_counts(data.imbalance_factor if spec.imbalance_factor else None, data.profile) or ()) or None,
        "val": spec.n_val, "test": spec.n_test,
    }  # fmt: skip
    groups, known = shot_groups(counts), any(expected.values())
    table = Table("split", "images", *(("expected",) if known else ()), "of many / medium / few", "classes", box=SIMPLE_HEAD)
    for split in ("train", "val", "test"):
        if split in data.splits:
            labels, wanted = data.splits[split].labels, expected[split]
            told = ("" if wanted is None else f"{wanted:,}",) if known else ()
            shares = " / ".join(f"{group[labels].sum():,}" for group in (groups.many, groups.medium, groups.few))
            table.add_row(split, f"{len(labels):,}", *told, shares, f"{np.unique(labels).size:,}")
    say(table)
    untested = np.setdiff1d(np.arange(counts.size), data.splits["test"].labels)
    if untested.size:
        say(f"{counted(untested.size, 'class', 'classes')} without a test image and so without an accuracy: {_classes(data, untested)}")
    few = data.splits["test"].labels[groups.few[data.splits["test"].labels]]
    if 0 < few.size < THIN:
        say(
            f"few-shot accuracy on test will rest on {counted(few.size, 'image')} of {counted(np.unique(few).size, 'class', 'classes')}: read its interval"
        )
    say(
        f"{counts.size:,} classes of {span(counts.max(), counts.min())} training images ({counts.max() / counts.min():.1f} times)",
    )
    say(f"many / medium / few (above 100, below 20): {groups.many.sum()} / {groups.medium.sum()} / {groups.few.sum()} classes")
    if spec.num_classes is None:
        say(
            f"largest: {_classes(data, np.argsort(-counts, kind='stable'))}; smallest: {_classes(data, np.argsort(counts, kind='stable'))}",
        )
    say(f"validation: {data.val_source}")
    say(f"split hash: {data.split_hash}")


def _show_repeated(say: Say, data: ImageData | FileData) -> dict[str, Any]:
    """Show which images have the bytes of another one; returns the counts, and the first pairs."""
    with doing("looking for images that are there twice"):
        hashes = image_contents(data.splits)
    repeats = repeated(hashes, {split: images.labels for split, images in data.splits.items()})
    name = partial(sample_name, data)
    for line, pairs in repeats.facts("images", name, data.class_names):
        say(line)
        for pair in pairs:
            say(f"  {pair}")
    return {
        "repeated_images": repeats.counts,
        "repeated_with_another_label": repeats.relabelled,
        "repeated_pairs": repeats.named_pairs(name, data.class_names),
    }


def _show_near(say: Say, data: ImageData | FileData) -> Near:
    """Show near-identical and one-coloured images; finds broken ones too."""
    from lt_bench.data.near import near_images  # imports torch, which the refusals before do not need

    workers = min(16, usable_cores()) if sum(map(len, data.splits.values())) > FEW else 0
    with doing("looking for near-identical images"):
        near = near_images(data, workers)
    for line in near.lines() or ["near-identical images: no test or validation image has one in train"]:
        say(line)
    return near


def _classes(data: ImageData | FileData, order: np.ndarray, most: int = 3) -> str:
    return ", ".join(f"{data.class_names[k]} ({data.train_counts[k]:,})" for k in order[:most])


def _next(data: ImageData | FileData, data_dir: Path, reading: Reading) -> str:
    """The next command, with every option that was checked."""
    own = data.spec.num_classes is None  # the default backbone for such data brings its weights
    chosen = {name: value for name, value in reading.items() if value is not None and value != DEFAULTS.get(name)}
    network = {} if own else {"backbone": "NAME", "weights": "FILE"}
    options = {
        **({} if own else {"strategy": "crt"}),
        "dataset": data.spec.name,
        "data_dir": data_dir,
        **chosen,
        **network,
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", text(value))]
    return shlex.join(["lt-bench", "choose" if own else "run", *words])


def _decode(say: Say, data: FileData, count: int) -> Broken:
    """Decode ``count`` images at even distances over each split."""
    broken: Broken = {split: {} for split in data.splits}
    for split, images in data.splits.items():
        chosen = np.arange(len(images)) if count < 0 else np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))
        sizes = []
        for i in steps(chosen, f"images of {split} decoded"):
            try:
                sizes.append(decoded(images.source(int(i))).size)
            except BrokenImage as error:
                broken[split][int(i)] = f"{images.name(int(i))}: {error}"
        if sizes:
            width, height = (sorted(side) for side in zip(*sizes, strict=True))
            say(
                f"{split}: {len(sizes)} of {len(images):,} decoded, {span(width[0], width[-1])} pixels wide, {span(height[0], height[-1])} high",
            )
    return broken
