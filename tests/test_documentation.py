"""Every command in README and docs is one that the program takes; the quick ones are run, the others in the slow tests."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lt_bench import cli
from lt_bench.features.locate import known_caches

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDERS = ("DIR", "FILE", "NAME", "…", "mine", "my_", "EXPORT", "FOLDER", "RECORD", ".npz", "results/")
QUICK = ("list", "run --strategy joint")


def commands() -> list[tuple[str, list[str]]]:
    """(page, words after lt-bench) of every line of a console block that calls lt-bench."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words and words[0] == "lt-bench":
                    found.append((page.name, words[1:]))
    return found


COMMANDS = commands()
RUNNABLE = [words for _, words in COMMANDS if not any(mark in word for word in words for mark in PLACEHOLDERS)]


def test_the_documentation_shows_commands() -> None:
    assert {words[0] for _, words in COMMANDS} >= {"run", "tune", "bench", "leaderboard", "list", "check", "import-features"}


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else value)
def test_options_of_documented_commands_exist(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert words[0] in cli.VERBS, f"{page}: no verb {words[0]}"
    (tmp_path / "my_head.py").write_text(readme_strategy(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.parse(words[0], words[1:]) is not None


def readme_strategy() -> str:
    """The worked example of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_worked_example_is_short() -> None:
    assert len(readme_strategy().splitlines()) < 30


@pytest.mark.parametrize("words", [w for w in RUNNABLE if " ".join(w).startswith(QUICK)], ids=" ".join)
def test_quick_commands_run(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 0


@pytest.mark.slow
def test_all_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert known_caches()
    failed = [" ".join(words) for words in RUNNABLE if "--devices" not in words and cli.main(words) != 0]
    assert failed == []
