"""Options of ``list``, ``validate`` and ``completion``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from lt_bench.core.commands import RESULTS


@dataclass
class ListOptions:
    """Listing of strategies, data sets, backbones, caches or slots.

    Attributes:
        what: strategies, datasets, backbones, caches or slots
        name: one of them, shown in full
    """

    positional: ClassVar[tuple[str, ...]] = ("what", "name")
    what: str = ""
    name: str = ""


@dataclass
class ValidateOptions:
    """Whether files are as they were written.

    Attributes:
        paths: records, results directories, submissions, tunings, caches, exports, stage-1 folders, checkpoints, weights, kept statistics; folders are searched
    """

    positional: ClassVar[tuple[str, ...]] = ("paths",)
    paths: list[Path] = field(default_factory=list)


@dataclass
class SubmitOptions:
    """Records, their source and their tunings as one folder, for a pull request.

    Attributes:
        records: JSON files of the records of one strategy, or results directories
        out: the folder; made, or one of an earlier submission, which gets what it lacks
        author: whom the leaderboard should name
        paper: address of the paper
        code: address of your repository
    """

    positional: ClassVar[tuple[str, ...]] = ("records",)
    records: list[Path] = field(default_factory=list)
    out: Path | None = None
    author: str = ""
    paper: str | None = None
    code: str | None = None


@dataclass
class PushOptions:
    """Caches, records and tunings to the Hugging Face hub.

    Attributes:
        paths: caches (names or folders), results directories, records
        to: hf://OWNER/NAME, a data set on the hub; made if it is not there
        private: where it is made
    """

    positional: ClassVar[tuple[str, ...]] = ("paths",)
    paths: list[str] = field(default_factory=list)
    to: str = ""
    private: bool = True


@dataclass
class PullOptions:
    """Caches, records and tunings from the Hugging Face hub, checked by their seals.

    Attributes:
        source: hf://OWNER/NAME, or hf://OWNER/NAME@REVISION
        results: directory that gets records and tunings
    """

    positional: ClassVar[tuple[str, ...]] = ("source",)
    source: str = ""
    results: Path = RESULTS


@dataclass
class CompletionOptions:
    """Shell completion.

    Attributes:
        shell: bash or zsh
    """

    positional: ClassVar[tuple[str, ...]] = ("shell",)
    shell: str = ""
