"""The form of the help."""

from __future__ import annotations

import argparse
import shutil
import textwrap

from jsonargparse import DefaultHelpFormatter

_WIDEST = 120


class HelpFormatter(DefaultHelpFormatter):
    """One entry an option: how it is written, what it does, its default where there is one to show; the environment is explained once, below."""

    def __init__(self, prog: str, **others: object) -> None:
        columns = min(shutil.get_terminal_size().columns, _WIDEST)
        super().__init__(prog, max_help_position=min(34, columns // 3), width=columns - 1)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an entry; the names of subcommands are indented deeper than argparse counts."""
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += 4

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help or ""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        text = argparse.HelpFormatter._format_action_invocation(self, action).replace("--strategy.name", "--strategy")
        return text.removesuffix(" [{true,false}]").replace(" \b[=flags]", "")

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
