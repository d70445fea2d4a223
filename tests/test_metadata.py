"""Facts on the package in several files agree."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import lt_bench

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_citation_is_of_the_last_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version, date = re.findall(r"^## (\d\S*) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert (citation["version"], citation["date-released"]) == (version, date)
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_version_is_that_of_the_one_file_that_has_it():
    assert f'"{lt_bench.__version__}"' in (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")


def test_the_sdist_leaves_nothing_of_the_repository_out():
    if not (ROOT / ".git").exists():
        pytest.skip("not a repository")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    included = {path.strip("/") for path in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert {path.split("/")[0] for path in tracked} - included <= {"pyproject.toml", ".gitignore"}  # these are always in it


def test_what_the_dev_group_asks_for_has_an_exact_version():
    exact = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
    asked = [
        re.split(r"[\[>=<]", requirement)[0] for requirement in [*PROJECT["dependency-groups"]["dev"], *PROJECT["project"]["dependencies"]]
    ]
    assert [name for name in asked if name not in exact] == []
