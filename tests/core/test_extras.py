"""A plain install does without W&B and Matplotlib, and says in one line what needs them."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FITS = ("--cache", "small", "--accelerator", "cpu")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ("run", "--strategy", "joint", *FITS, "--wandb", "offline"),
            "--wandb offline needs the package wandb; `pip install 'lt-bench[wandb]'`",
        ),
        (
            ("run", "--strategy", "joint", *FITS, "--logger", "wandb"),
            "--wandb online needs the package wandb; `pip install 'lt-bench[wandb]'`",
        ),
        (("wandb", "push"), "wandb push needs the package wandb; `pip install 'lt-bench[wandb]'`"),
        (("push", "small", "--to", "hf://me/heads"), "hf://me/heads needs the package huggingface_hub; `pip install 'lt-bench[hub]'`"),
        (("leaderboard", "--formats", "plots"), "--formats plots needs the package matplotlib; `pip install 'lt-bench[plots]'`"),
        (("report", "--strategy", "joint"), "report needs the package matplotlib; `pip install 'lt-bench[plots]'`"),
    ],
)
def test_what_needs_an_extra_says_so(cli, small_cache, tmp_path, monkeypatch, line, message):
    if line[0] == "leaderboard":
        assert cli("run", "--strategy", "joint", *FITS).code == 0
    for package in ("wandb", "matplotlib", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    done = cli(*line)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert message in done.err


ABSENT = (
    "wandb",
    "matplotlib",
    "timm",
    "onnx",
    "submitit",
    "transformers",
    "open_clip",
    "imbalanced_learn",
    "imblearn",
    "scikit_learn",
    "sklearn",
)


@pytest.fixture
def plain_install(tmp_path):
    """The environment of a subprocess that has the packages of this one but for those of the extras."""
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(ABSENT) and entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}


@pytest.mark.slow
def test_the_verbs_of_the_readme_do_without(small_cache, plain_install, tmp_path):
    lines = [
        ["list", "strategies"],
        ["run", "--strategy", "la_loss,ncm", *FITS],
        ["tune", "--strategy", "tau_norm", *FITS, "--seeds", "0"],
        ["run", "--strategy", "tau_norm", *FITS, "--tuned"],
        ["leaderboard"],
        ["validate", "results"],
    ]
    program = f"from lt_bench.cli.main import main\nassert [main(line) for line in {lines!r}] == [0] * {len(lines)}\n"
    program += "import sys\nassert not {'wandb', 'matplotlib'} & sys.modules.keys()"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=plain_install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "leaderboard" / "leaderboard.html").is_file()
