"""Keys by which a drawn split assigns images: the content of the image, or its group (track, patient, site). Free of torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.content import file_hashes
from lt_bench.core.errors import UserError
from lt_bench.data.hold_out import Shares, classes_of_one_group, hold_out, words
from lt_bench.data.images.image_list import ImageList
from lt_bench.data.splits import Rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settled:
    """Known splits of image contents (see ``contents``) and of groups; the split of a group takes precedence."""

    contents: Mapping[str, str]
    groups: Mapping[str, str]

    def of_groups(self, images: ImageList, groups: Sequence[str]) -> dict[str, str]:
        """The splits of known groups, from the group (N,) of each image; a new group with a known image takes the split of that image."""
        by_content = {group: self.contents[one] for one, group in zip(contents(images), groups, strict=True) if one in self.contents}
        return by_content | {group: self.groups[group] for group in groups if group in self.groups}


@dataclass(frozen=True)
class Groups:
    """The groups of images that stay together: ``of`` (N,) names the group of each, ``words`` where they come from, ``source`` the folder or table."""

    of: NDArray[np.str_]
    words: str
    source: Path

    def take(self, index: NDArray[np.integer]) -> Groups:
        """The groups of the images at ``index``."""
        return Groups(self.of[index], self.words, self.source)

    def require_apart(self, rows: Mapping[str, Rows]) -> None:
        """Refuse given splits that share a group.

        Raises:
            UserError: names the first group that two splits share, and how many there are.
        """
        if overlap := groups_of_two_splits({split: self.of[index] for split, index in rows.items()}):
            first, second, shared = overlap
            raise UserError(
                f"{self.source}: {len(shared):,} {self.words} have images in {first} and in {second}, the first is {shared[0]!r}; "
                "leave the given splits out to have one made by group, or leave the groups out"
            )


def groups_of_two_splits(groups: Mapping[str, NDArray[np.str_]]) -> tuple[str, str, list[str]] | None:
    """The first two splits that share groups, and the shared groups; None where no two splits share one."""
    for first, second in combinations([split for split in ("train", "val", "test") if split in groups], 2):
        if (shared := np.intersect1d(groups[first], groups[second])).size:
            return first, second, shared.tolist()
    return None


def pattern_groups(pattern: str, paths: Sequence[str], source: Path) -> Groups:
    """Groups of images by the text that the capturing group of a regular expression matches in each path.

    Raises:
        UserError: not a regular expression with one capturing group, or paths without a match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"--group-pattern {pattern} is not a regular expression ({error})") from None
    if expression.groups != 1:
        raise UserError(
            f"--group-pattern {pattern} has {expression.groups} groups in parentheses, expected one, around the name of the track, patient or site"
        )
    caught = [match[1] if (match := expression.search(path)) else None for path in paths]
    missed = [path for path, group in zip(paths, caught, strict=True) if group is None]
    if missed:
        raise UserError(
            f"{source}: --group-pattern {pattern} is not found in {len(missed):,} of {len(paths):,} paths, the first is {missed[0]}; it is searched in CLASS/FILE"
        )
    return Groups(np.array(caught, dtype=np.str_), f"groups of the pattern {pattern}", source)


def column_groups(table: Path, frame: pd.DataFrame, column: str) -> Groups:
    """Groups by a column of a table.

    Raises:
        UserError: no such column, or an empty cell.
    """
    if column not in frame.columns:
        raise UserError(f"{table}: no column {column}, it has {', '.join(map(str, frame.columns))}; name it with --group-column")
    empty = np.flatnonzero(frame[column].isna())
    if empty.size:
        raise UserError(f"{table}: line {empty[0] + 2} has no {column}; every image needs a group")
    return Groups(frame[column].astype(str).to_numpy(dtype=np.str_), f"groups of the column {column}", table)


def drawn_split(
    images: ImageList, shares: Shares, seed: int, names: Sequence[str], groups: Groups | None = None, settled: Settled | None = None
) -> tuple[dict[str, Rows], str]:
    """Draw held-out splits: the rows of every split, and the rule in words.

    Args:
        images: the images to split.
        shares: share of each held-out split.
        seed: of the split.
        names: (K,) class names, for messages.
        groups: groups of ``images``; None: each image is assigned by its content, so that copies stay together.
        settled: known splits of contents, and of groups where images have them.

    Raises:
        UserError: nothing can be held out, since some class trains on each group; or a file cannot be read.
    """
    if groups is None:
        return hold_out(images.labels, shares, contents(images), seed, settled and settled.contents), words(shares, seed)
    parts = hold_out(images.labels, shares, groups.of.tolist(), seed, settled and settled.of_groups(images, groups.of.tolist()))
    single = classes_of_one_group(images.labels, groups.of)
    if single and not any(parts[split].size for split in shares):
        label, group = next(iter(single.items()))
        raise UserError(
            f"{groups.source}: no group can be held out, since each is one that a class trains on "
            f"(all images of class {names[label]!r} are of one group, {group!r}); gather other groups, or name smaller ones"
        )
    return parts, words(shares, seed, groups.words)


def contents(images: ImageList) -> list[str]:
    """Hash (N,) of the bytes of each encoded image or file, as text."""
    if images.encoded is not None:
        return list(images.paths)
    return [f"{value:016x}" for value in file_hashes([images.root / path for path in images.paths])]
