"""The workflow files: valid, of actions that are known, and of the Makefile's targets; what CI asks for is what a person runs."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {
    path.stem: yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
STEPS = [(name, step) for name, flow in WORKFLOWS.items() for job in flow["jobs"].values() for step in job["steps"]]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
ACTIONS = {
    "actions/checkout": "v4", "actions/setup-python": "v5", "actions/upload-artifact": "v4", "actions/download-artifact": "v4",
    "actions/upload-pages-artifact": "v3", "actions/deploy-pages": "v4", "pypa/gh-action-pypi-publish": "release/v1",
}  # fmt: skip


def commands(name):
    return [step["run"] for flow, step in STEPS if flow == name and "run" in step]


def test_every_step_is_a_known_action_or_a_command():
    assert set(WORKFLOWS) == {"ci", "release", "site", "submission"}
    for name, step in STEPS:
        assert ("uses" in step) != ("run" in step), (name, step)
        if "uses" in step:
            action, _, version = step["uses"].partition("@")
            assert ACTIONS[action] == version
        else:
            assert subprocess.run(["bash", "-n", "-c", step["run"]], check=False).returncode == 0, step["run"]
    for name, flow in WORKFLOWS.items():
        assert flow["permissions"]["contents"] == "read", name  # a job that writes asks for it itself
        assert set(flow) <= {"name", "on", "permissions", "concurrency", "jobs"}


def test_a_job_needs_jobs_that_are_there():
    for flow in WORKFLOWS.values():
        for job in flow["jobs"].values():
            assert set(filter(None, [job.get("needs")])) <= set(flow["jobs"])
            assert job["runs-on"] == "ubuntu-latest"


def test_the_targets_of_make_are_those_of_the_makefile():
    called = {target for _, step in STEPS for target in re.findall(r"\bmake (?:-C \S+ )?([a-z-]+)", step.get("run", ""))}
    assert called <= TARGETS
    assert {"check", "test", "leaderboard", "site", "setup"} <= called
    gate = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert {f"make {target}" for target in gate} <= set(commands("ci"))


def test_every_python_of_the_package_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = [one.rpartition(" ")[2] for one in project["classifiers"] if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", one)]
    assert WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]["python"] == said
    assert project["requires-python"] == f">={said[0]}"


def test_a_release_is_of_a_tag_that_is_the_version_and_is_tested_from_its_files():
    assert WORKFLOWS["release"]["on"] == {"push": {"tags": ["v*"]}}
    said = "\n".join(commands("release"))
    assert said.index("-m build") < said.index("make -C /tmp/sdist test") < said.index("pip install dist/*.whl")
    assert '"$GITHUB_REF_NAME"' in said
    publish = WORKFLOWS["release"]["jobs"]["publish"]
    assert (publish["needs"], publish["permissions"]) == ("build", {"id-token": "write"})


def test_changed_submissions_are_validated_and_verified(tmp_path):
    """The shell of the workflow, with a `lt-bench` that says what it was asked; a folder without a change is left alone."""

    def git(*words):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    for name in ("old", "new head"):
        (tmp_path / "benchmarks" / "submissions" / name).mkdir(parents=True)
    (tmp_path / "benchmarks/submissions/old/submission.json").write_text("{}")
    git("add", "-A")
    git("commit", "-m", "one")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    for name in ("submission.json", "verified.json"):
        (tmp_path / "benchmarks/submissions/new head" / name).write_text("{}")
    git("add", "-A")
    git("commit", "-m", "two")
    program = tmp_path / ".venv" / "bin" / "lt-bench"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/bash\nls "$2" | tr "\\n" " " >> asked; echo "$@" >> asked\n')
    program.chmod(0o755)
    environment = {"GITHUB_BASE_REF": "main", "PATH": "/usr/bin:/bin"}
    for command in commands("submission"):
        if not command.startswith("make"):
            subprocess.run(["bash", "-e", "-c", command], cwd=tmp_path, env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    folder = "benchmarks/submissions/new head"
    assert asked == [
        f"submission.json verified.json validate {folder}",
        f"submission.json verify {folder}",
    ]  # a verdict that came along does not count


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_forms_have_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["type"] in ("input", "textarea", "dropdown", "checkboxes") and field["attributes"]["label"] for field in form["body"])
