"""Options of ``list`` and ``completion``."""

from __future__ import annotations

from dataclasses import dataclass
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
class CompletionOptions:
    """Shell completion.

    Attributes:
        shell: bash or zsh
    """

    positional: ClassVar[tuple[str, ...]] = ("shell",)
    shell: str = ""
