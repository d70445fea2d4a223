"""Rules of the house, measured: `python tests/house.py` prints what is against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lt_bench"
LONGEST_FUNCTION = 60
LONGEST_STRATEGY_FILE = 120
# Words that say nothing of the thing they name.
VAGUE = frozenset({"found", "made", "kept", "spread", "together", "course", "early", "leaving", "room", "launched"})
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@cache
def modules() -> dict[Path, ast.Module]:
    """The package's sources, parsed."""
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def long_functions(limit: int = LONGEST_FUNCTION) -> list[str]:
    """Functions of more lines than `limit`, docstring included."""
    return [
        f"{path}:{node.lineno} {node.name}: {lines} lines"
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > limit
    ]


def long_strategy_files(limit: int = LONGEST_STRATEGY_FILE) -> list[str]:
    """Files of a strategy with more lines than `limit`."""
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in strategy_files()}
    return [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > limit]


def strategy_files() -> list[Path]:
    """Files of `strategies/` with a class that has a public name."""
    return [path for path, module in modules().items() if path.parent.name == "strategies" and any(map(_has_name, ast.walk(module)))]


def _has_name(node: ast.AST) -> bool:
    if not isinstance(node, ast.ClassDef):
        return False
    assigned = [target for statement in node.body if isinstance(statement, ast.Assign) for target in statement.targets]
    return any(isinstance(name, ast.Name) and name.id == "name" for target in assigned for name in ast.walk(target))


def shared_files() -> list[str]:
    """Files that are shared by what only a reader of all of them knows."""
    return [str(path) for path in modules() if "_shared" in path.stem or "_shared" in path.parts]


def vague_names(*, local: bool = False) -> list[str]:
    """Modules, classes, functions, parameters and attributes, or else local variables, whose name has a vague word."""
    return [
        f"{path}:{line} {name}"
        for path, module in modules().items()
        for line, name, is_local in sorted({(1, path.stem, False), *_names(module)})
        if is_local == local and VAGUE & {word.lower() for word in WORD.findall(name)}
    ]


def _names(module: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line, name, and whether only a function sees it."""
    inside = {id(node) for function in ast.walk(module) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name, False
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, id(node) in inside


def lines_of_package() -> int:
    """Lines of Python in the package."""
    return sum(len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules())


def main() -> None:
    """Print everything that is against the house."""
    lists = {
        f"functions of more than {LONGEST_FUNCTION} lines": long_functions(),
        f"strategy files of more than {LONGEST_STRATEGY_FILE} lines": long_strategy_files(),
        "_shared files": shared_files(),
        "vague names": vague_names(),
        "vague local variables": vague_names(local=True),
    }
    for title, lines in lists.items():
        print(f"{len(lines)} {title}", *lines, sep="\n  ")  # noqa: T201
    print(f"{lines_of_package():,} lines of Python in lt_bench")  # noqa: T201


if __name__ == "__main__":
    main()
