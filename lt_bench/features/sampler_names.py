"""Names and docstrings of the samplers, read from the source of ``features.samplers``. Free of torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class SamplerEntry:
    """A registered sampler: its name, its class, its parameters with their defaults (``beta=0.9999``), and its docstring."""

    name: str
    class_path: str
    parameters: tuple[str, ...]
    doc: str

    @property
    def signature(self) -> str:
        """``effective_number(beta=0.9999)``."""
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


@cache
def sampler_entries() -> dict[str, SamplerEntry]:
    """All registered samplers by name, in the order of the file."""
    entries = {}
    for node in ast.parse(Path(__file__).with_name("samplers.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            name = next((ast.literal_eval(one.value) for one in node.body if _assigns(one, "name")), "")  # pyright: ignore[reportAttributeAccessIssue]
            if name:
                path = f"lt_bench.features.samplers.{node.name}"
                entries[name] = SamplerEntry(name, path, _parameters(node), ast.get_docstring(node) or "")
    return entries


def _assigns(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name) and statement.targets[0].id == name


def _parameters(node: ast.ClassDef) -> tuple[str, ...]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args.args[1:]
            return tuple(f"{a.arg}={ast.unparse(d)}" for a, d in zip(arguments, statement.args.defaults, strict=True))
    return ()
