"""Options of ``list``, ``validate`` and ``completion``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


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
        paths: records, results directories, tunings, caches, exports, stage-1 folders, checkpoints, weights, kept statistics; folders are searched
    """

    positional: ClassVar[tuple[str, ...]] = ("paths",)
    paths: list[Path] = field(default_factory=list)


@dataclass
class CompletionOptions:
    """Shell completion.

    Attributes:
        shell: bash or zsh
    """

    positional: ClassVar[tuple[str, ...]] = ("shell",)
    shell: str = ""
