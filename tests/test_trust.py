"""docs/trust.md names tests that exist, in every line of every table."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| Fault ")]


@cache
def functions_of(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_has_its_sections():
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == ["Identity", "Fidelity", "Data", "Faults"]
    assert len(LINES) > 10


@pytest.mark.parametrize("line", LINES)
def test_every_guarantee_names_tests_that_exist(line):
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", line.split("|")[3])
    assert named, "a guarantee without a test"
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert name in functions_of(path), f"{path} has no test {name}"


def test_the_page_says_what_the_campaign_of_faults_counted():
    table = (ROOT / "benchmarks" / "results" / "faults" / "faults.md").read_text(encoding="utf-8")
    counts = re.findall(r"\d+", re.findall(r"^\| all \|.+", table, re.MULTILINE)[0])
    sentence = "planned {} trials, and tried {}: {} survived, with {} wrong numbers, {} tracebacks and {} lost files"
    assert sentence.format(*counts) in TEXT


def test_every_kind_of_file_is_in_the_trust_model():
    """SECURITY.md has a line for each ending that the suite reads, on one of its two lists."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    data, code = text.partition("## What is code")[::2]
    for ending in (".json", ".npz", ".npy", ".safetensors", ".parquet", ".pt", ".pth", ".ckpt"):
        assert f"`{ending}`" in data, ending
    for what in ("`.yaml`", "`--trust-program`", "`classifier.pt2`", "dotted name", "current folder", "`PYTHONPATH`"):
        assert what in code, what
    assert "SECURITY.md" in TEXT
