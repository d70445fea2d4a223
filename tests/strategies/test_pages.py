from __future__ import annotations

from pathlib import Path

from lt_bench.strategies.pages import pages
from lt_bench.strategies.registry import strategy_names

DOCS = Path(__file__).resolve().parents[2] / "docs" / "strategies"


def test_pages_are_those_of_the_source() -> None:
    """`make docs` brings them up to date."""
    written = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    assert written == pages()


def test_every_strategy_has_a_page_with_formula_and_command() -> None:
    actual = pages()
    for name in strategy_names():
        assert f"lt-bench run --strategy {name} " in actual[f"{name}.md"]
        assert "`" in actual[f"{name}.md"].split("* family")[0], f"{name}: no formula"
