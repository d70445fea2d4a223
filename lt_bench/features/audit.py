"""An audit of features before they become a cache: faults that make numbers wrong are refused, doubtful facts are reported and kept in the manifest.

Everything is measured by chunks of rows; no copy of the features is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_bench.core.content import Hashes, row_hashes
from lt_bench.core.errors import UserError
from lt_bench.core.names import counted
from lt_bench.data.repeated import NAMES, Contents, Images, repeated
from lt_bench.features.encoding import encode, round_trip
from lt_bench.features.moments import Moments, chunks, moments, width
from lt_bench.features.near import near_rows

SPLITS = ("train", "val", "test")
LARGEST_ERROR = {"float16": 0.01, "float32": 0.01, "affine8": 0.05}
"""Error of a stored dimension, as a share of its usual width (``moments.width``), above which the type is refused. 8 bits alone cost an ordinary dimension 0.01 to 0.02."""
SURELY = 2.0
"""Factor on ``LARGEST_ERROR`` beyond which a sample of rows is enough to refuse a type."""
NORMS = (2.0, 200.0)
"""Range of mean feature lengths that the recipes' learning rates are made for."""
UNIT = 0.01
UNEVEN, OFFSET = 100.0, 10.0
SHOWN = 10


def require_precision(
    dtype: str, errors: Mapping[str, Tensor], arrays: Mapping[str, Tensor], of_train: Moments, standard: Moments | None, verb: str = ""
) -> dict[str, Any]:
    """Refuse a stored type that changes a dimension by more than ``LARGEST_ERROR`` of its spread.

    Args:
        dtype: float16, float32 or affine8.
        errors: (D,) of the stored arrays by name, as ``encoding.round_trip`` measures them; ``<split>/features`` is over all views of a split.
        arrays: by name, before they were standardised or coded.
        of_train: moments of the plain training features, before they were standardised.
        standard: moments that features are standardised by before they are stored; None where they are not.
        verb: verb whose options the messages name; empty where that is the running one.

    Returns:
        The type, and the largest error with its array and dimension.

    Raises:
        UserError: names the array, how many dimensions are changed and by how much, and the options that mend it.
    """
    divisor = 1.0 if standard is None else standard.divisor
    widths: dict[str, Tensor] = {}
    worst: dict[str, Any] = {"dtype": dtype, "largest_error": 0.0, "array": None, "dimension": None}
    for name, error in errors.items():
        if not bool(error.any()):
            continue
        of_array = name if name in arrays else f"{name}/plain"
        for one in {of_array, "train/features/plain"} - widths.keys():
            widths[one] = width(arrays[one])
        usual = torch.maximum(widths[of_array], widths["train/features/plain"]) / divisor  # a balanced test set may be wider
        share = torch.where(of_train.constant | (error == 0), 0.0, error / usual)
        if float(share.max()) > worst["largest_error"]:
            worst |= {"largest_error": float(share.max()), "array": name, "dimension": int(share.argmax())}
        if bool((share > LARGEST_ERROR[dtype]).any()):
            raise UserError(f"{name}: {_lost(dtype, share, standard is not None, verb)}")
    return worst


def require_precision_of_some(dtype: str, features: Tensor, verb: str) -> None:
    """Refuse a stored type that surely changes most dimensions too much, by some rows of the training features; ``require_precision`` judges all of them.

    Args:
        dtype: float16, float32 or affine8.
        features: (n, D) float32, rows at even distances over the training rows, all finite.
        verb: verb whose options the message names.

    Raises:
        UserError: says how many dimensions are changed, by how much, and the options that mend it.
    """
    error = round_trip("some", features, encode(dtype, "some", features))
    share = torch.where(moments(features).constant | (error == 0), 0.0, error / width(features))
    if float(share.median()) > SURELY * LARGEST_ERROR[dtype]:
        raise UserError(f"{len(features)} training images: {_lost(dtype, share, False, verb)}")


def _lost(dtype: str, share: Tensor, standardised: bool, verb: str) -> str:
    """The loss of a stored type, (D,) as shares of the spread, and the options that mend it, in words."""
    ways = [] if dtype == "float32" else [f"store them with {option('--dtype float32', verb)}"]
    ways += [] if standardised else [f"standardise them with {option('--standardise', verb)}"]
    return (
        f"{dtype} changes {int((share > LARGEST_ERROR[dtype]).sum()):,} of {len(share):,} dimensions by more than {LARGEST_ERROR[dtype]:.0%} of their spread "
        f"(dimension {int(share.argmax())} by {min(9.99, float(share.max())):.0%}); {' or '.join(ways) or 'scale the features'}"
    )


def option(words: str, verb: str) -> str:
    """An option as a person types it: alone, or behind the verb that has it."""
    return f"`lt-bench {verb} {words}`" if verb else words


def as_arguments(text: str) -> str:
    """A message with the options of ``import-features`` replaced by the arguments of a call: ``--dtype float32`` is ``dtype="float32"``."""
    text = re.sub(r"--dtype (\w+)", r'dtype="\1"', text)
    return re.sub(r"--(standardise|relabel|drop-empty)", lambda option: f"{option[1].replace('-', '_')}=True", text)


def audit(
    arrays: Mapping[str, Tensor],
    moments: Moments,
    class_names: Sequence[str],
    precision: Mapping[str, Any],
    standardised: bool,
    verb: str = "",
    images: Images | None = None,
) -> dict[str, Any]:
    """The audit of features and labels, as a manifest stores it; ``notes`` says what a reader should know, a line each.

    Args:
        arrays: by their names in a cache; the plain views and labels are looked at.
        moments: of the plain training features.
        class_names: K names.
        precision: what ``require_precision`` returned.
        standardised: whether the cache holds the features standardised.
        verb: verb whose options the messages name; empty where that is the running one.
        images: behind the rows, where they are known; else the rows themselves are compared.

    Raises:
        UserError: every training row is the same.
    """
    if bool(moments.constant.all()):
        raise UserError("train/features/plain: every row is the same; these are no features of anything, extract them again")
    plain = {split: arrays[f"{split}/features/plain"] for split in SPLITS if f"{split}/features/plain" in arrays}
    labels = {split: arrays[f"{split}/labels"] for split in plain}
    sizes = {split: len(rows) for split, rows in plain.items()}
    what = "rows" if images is None else "images"
    images = images or Images({split: _row_hashes(rows) for split, rows in plain.items()}, _row_name)
    classes = _classes(labels, len(class_names))
    norms = {split: _norms(rows) for split, rows in plain.items()}
    scale = _scale(norms, moments)
    repeats = repeated(images.contents, {split: of_split.numpy() for split, of_split in labels.items()})
    near = {
        split: near_rows(plain[split], _others(images.contents, split), plain["train"], labels["train"], moments.mean)
        for split in plain
        if split != "train"
    }
    notes = [
        *(f"{line} (the first: {'; '.join(pairs)})" for line, pairs in repeats.facts(what, images.name, class_names)),
        *_near_notes(near),
        *_class_notes(classes),
        *([] if standardised else _scale_notes(scale, norms["train"], option("--standardise", verb))),
        *(f"rows of {split} that are all zero: {count:,} of {sizes[split]:,}" for split, count in scale["zero_rows"].items() if count),
    ]
    return {
        "rows": sizes, "classes": classes, "scale": scale, "precision": dict(precision), "repeated_rows": repeats.counts,
        "repeated_with_another_label": repeats.relabelled, "repeated_pairs": repeats.named_pairs(images.name, class_names),
        "near_rows": {split: {"compared": compared, "near": len(pairs)} for split, (compared, pairs) in near.items()}, "standardised": standardised, "notes": notes,
    }  # fmt: skip


def summary(audit: Mapping[str, Any]) -> list[str]:
    """An audit for people: one line of what is well, and its notes."""
    if not audit:
        return []
    classes, precision = audit["classes"], audit["precision"]
    K, trained = classes["number"], classes["with_training_rows"]
    rows = ", ".join(f"{count:,} {split}" for split, count in audit["rows"].items())
    well = [
        f"{rows} rows",
        f"K = {K:,} classes" + (", all with training rows" if trained == K else f", {trained:,} of which have training rows"),
        *([] if any(audit["repeated_rows"].values()) else ["no row twice"]),
        _precision_words(precision),
    ]
    return [f"audit: {'; '.join(well)}", *(f"audit: {note}" for note in audit["notes"])]


def _precision_words(precision: Mapping[str, Any]) -> str:
    dtype, error = precision["dtype"], precision["largest_error"]
    return f"{dtype} keeps every dimension to {100 * error:.2g} % of its spread" if error else f"{dtype} keeps every number"


def _classes(labels: Mapping[str, Tensor], K: int) -> dict[str, Any]:
    counts = {split: torch.bincount(of_split, minlength=K) for split, of_split in labels.items()}
    train = counts["train"]
    empty = (train == 0).nonzero().squeeze(1).tolist()
    held = {split: int(of_split[train == 0].sum()) for split, of_split in counts.items() if split != "train"}
    return {
        "number": K,
        "with_training_rows": K - len(empty),
        "without_training_rows": empty[:SHOWN],
        "without_test_rows": int((counts["test"][train > 0] == 0).sum()),
        "rows_of_classes_without_training_rows": held,
        "most": int(train.max()),
        "fewest": int(train[train > 0].min()),
    }


def _class_notes(classes: Mapping[str, Any]) -> Iterable[str]:
    K, trained = classes["number"], classes["with_training_rows"]
    if trained < K:
        first = ", ".join(map(str, classes["without_training_rows"])) + (", ..." if K - trained > SHOWN else "")
        yield (
            f"K = {K:,} classes, {trained:,} of which have training rows; none: {first}; --relabel numbers the classes that have rows in any split 0..K-1, "
            "--drop-empty leaves out classes without training rows"
        )
    for split, count in classes["rows_of_classes_without_training_rows"].items():
        if count:
            yield (
                f"{counted(count, 'row')} of {split} of classes without training rows, which no head can learn: "
                f"are the labels of train and {split} numbered alike? --drop-empty leaves such rows out"
            )
    if classes["without_test_rows"]:
        yield f"classes with training rows and no test row, whose accuracy is not measured: {classes['without_test_rows']:,}"


def _norms(rows: Tensor) -> Tensor:
    """Length (N,) of each row, float64."""
    return torch.cat([torch.linalg.vector_norm(chunk.double(), dim=1) for _, chunk in chunks(rows)])


def _scale(norms: Mapping[str, Tensor], moments: Moments) -> dict[str, Any]:
    varying, train = moments.deviation[~moments.constant], norms["train"]
    return {
        "norm_mean": float(train.mean()),
        "norm_smallest": float(train.min()),
        "norm_largest": float(train.max()),
        "deviation_smallest": float(varying.min()),
        "deviation_median": float(varying.median()),
        "deviation_largest": float(varying.max()),
        "offset": float(moments.mean.norm() / moments.deviation.norm()),
        "constant_dimensions": int(moments.constant.sum()),
        "zero_rows": {split: int((of_split == 0).sum()) for split, of_split in norms.items()},
    }


def _scale_notes(scale: Mapping[str, Any], norms: Tensor, standardise: str) -> Iterable[str]:
    """Notes on features of another scale than recipes are made for; each names the option."""
    mend = f"the learning rates of the recipes are for features of ordinary length: {standardise}, or other rates"
    low, high = NORMS
    if float((norms - 1).abs().max()) < UNIT:
        yield f"every training row has length 1 (normalised embeddings); {mend}"
    elif not low <= scale["norm_mean"] <= high:
        yield f"training rows are {scale['norm_mean']:.3g} long on average, usual are {low:g} to {high:g}; {mend}"
    if scale["deviation_largest"] > UNEVEN * scale["deviation_median"]:
        ratio = scale["deviation_largest"] / scale["deviation_median"]
        yield f"the widest dimension has {ratio:,.0f} times the spread of the median one and outweighs the others; {standardise} makes them equal"
    if scale["offset"] > OFFSET:
        yield f"all rows share an offset {scale['offset']:,.0f} times as long as their spread, which slows a fit; {standardise} takes it out"


def _row_hashes(rows: Tensor) -> Hashes:
    """Content (N,) of rows as float32, the finest type that a cache holds: the splits may have come in files of several types."""
    return np.concatenate([row_hashes(part.float().numpy()) for _, part in chunks(rows)])


def _others(hashes: Contents, split: str) -> Tensor:
    """Positions (n,) of the rows of a split whose content is not in training."""
    return torch.from_numpy(np.flatnonzero(~np.isin(hashes[split], hashes["train"])))


def _near_notes(near: Mapping[str, tuple[int, list[tuple[int, int]]]]) -> Iterable[str]:
    for split, (compared, pairs) in near.items():
        if pairs:
            row, other = pairs[0]
            yield (
                f"{len(pairs):,} of {compared:,} {split} rows are all but equal to a training row, as of one image in two files or sizes "
                f"(the first: {split} row {row} is like training row {other})"
            )


def _row_name(split: str, i: int) -> str:
    return f"{NAMES[split]} row {i}"
