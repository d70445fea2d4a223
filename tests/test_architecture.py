"""Every file that the pages for maintainers, the README and docstrings name is there, and every module that a docstring names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from lt_bench.features.cache import Head
from lt_bench.strategies.facts import Facts

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lt_bench"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ARCHITECTURE, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "README.md"))]
SUFFIXES = "py|md|cff|toml|ya?ml|csv|json"
# Folders and files of the repository, not those that a command writes.
OF_THE_REPOSITORY = re.compile(rf"`((?:[\w.-]+/)+[\w.-]*|[\w.-]+\.(?:py|md|cff|toml))`|\]\(([\w./-]+\.(?:{SUFFIXES}))\)")
LINKS = re.compile(rf"\]\(([\w./-]+\.(?:{SUFFIXES}))[#)]")
WRITTEN_BY_COMMANDS = {"results/", "leaderboard/", "my_head.py", "LEADERBOARD.md", "PUBLISHED.md"}
IN_DOCSTRINGS = re.compile(
    rf"(?<![\w/.<*-])((?:docs|benchmarks|tests|lt_bench|checkpoints|examples)/[\w./-]+\.(?:{SUFFIXES})|[A-Z_]{{4,}}\.md)\b"
)
ROOMS = "|".join(sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
DOTTED = re.compile(rf"`(?:lt_bench\.)?((?:{ROOMS})(?:\.\w+)+)(?<!\.csv)(?<!\.tex)(?<!\.html)`")


def exists(name: str, beside: Path) -> bool:
    return any((place / name).exists() for place in (ROOT, PACKAGE, beside))


@cache
def docstrings() -> list[tuple[Path, str]]:
    nodes = ast.Module, ast.ClassDef, ast.FunctionDef
    trees = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))]
    return [(path, ast.get_docstring(node) or "") for path, tree in trees for node in ast.walk(tree) if isinstance(node, nodes)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = {match.group(1) or match.group(2) for match in OF_THE_REPOSITORY.finditer(page.read_text(encoding="utf-8"))}
    assert sorted(name for name in named - WRITTEN_BY_COMMANDS if not exists(name, page.parent)) == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_files_of_the_repository_that_a_page_of_the_documentation_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {*IN_DOCSTRINGS.findall(re.sub(r"\[[^\]]*\]\(", "](", text)), *LINKS.findall(text)}
    assert sorted(name for name in named - WRITTEN_BY_COMMANDS if not exists(name, page.parent)) == []


def test_files_that_docstrings_name_are_there() -> None:
    named = {(path.relative_to(ROOT).as_posix(), name) for path, text in docstrings() for name in IN_DOCSTRINGS.findall(text)}
    assert sorted((path, name) for path, name in named if name not in WRITTEN_BY_COMMANDS and not exists(name, ROOT)) == []


def test_modules_that_docstrings_name_are_there() -> None:
    named = {(path.relative_to(ROOT).as_posix(), name) for path, text in docstrings() for name in DOTTED.findall(text)}
    assert sorted((path, name) for path, name in named if not _is_code(name.split("."))) == []


def _is_code(parts: list[str]) -> bool:
    """Whether this is a module, or a name that the module above it defines."""
    for depth in range(len(parts), 0, -1):
        place = PACKAGE.joinpath(*parts[:depth])
        source = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if source.exists():
            return depth == len(parts) or parts[depth] in source.read_text(encoding="utf-8")
    return False


def test_a_question_is_answered_in_at_most_four_files() -> None:
    table = ARCHITECTURE.read_text(encoding="utf-8").split("## Where is ...?")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 20
    assert [question for question, files in rows if not 1 <= files.count("`") / 2 <= 4] == []


def test_every_room_is_described() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert [room for room in ROOMS.split("|") if f"| `lt_bench/{room}/` |" not in text] == []


def test_the_strategy_of_the_contributing_page_is_one() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "los_of_the_page"}
    exec(source, names)
    head = names["LOS"](Facts(4, (5, 2, 1), Head(torch.zeros(3, 4), torch.zeros(3))), epsilon=0.6)
    assert float(head.target(torch.tensor([0]))) == pytest.approx(0.6)
