"""The completion scripts, in a real bash."""

import shutil
import subprocess

import pytest

from lt_bench.cli.completion import script
from lt_bench.cli.verbs import VERBS

CASES = {
    "ru": {"run"},
    "run --see": {"--seeds"},
    "run --strategy lo": {"log_reweight", "logistic", "logit_adjustment", "lort", "los", "los_prototypes"},
    "run --strategy los --strategy.eps": {"--strategy.epsilon"},
    "run --protocol images-": {"images-eval", "images-train"},
    "run --dataset imag": {"imagenet_lt"},
    "extract --backbone resnet3": {"resnet32", "resnet34"},
    "check lo": {"log_reweight", "logistic", "logit_adjustment", "lort", "los", "los_prototypes"},
    "list str": {"strategies"},
    "list strategies los": {"los", "los_prototypes"},
    "bench shi": {"shipped"},
    "wandb ": {"push", "dashboard"},
    "data ": {"check"},
    "completion ": {"bash", "zsh"},
    "": set(VERBS),
}
COMPLETE = """
source "$1"; shift
COMP_WORDS=(lt-bench "$@"); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_shtab_lt_bench lt-bench "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "lt-bench"
    path.write_text(script("bash"))
    return path


@pytest.mark.parametrize("line", CASES)
def test_a_bash_completes(line, bash_script):
    words = line.split(" ")
    done = subprocess.run(["bash", "-c", COMPLETE, "bash", bash_script, *words], capture_output=True, text=True, timeout=20, check=True)
    assert set(done.stdout.split()) == CASES[line], done.stderr


def test_every_option_of_every_verb_is_in_the_script(bash_script, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    completed = bash_script.read_text()
    for verb in VERBS:
        options = {
            word
            for line in cli(verb, "--help-all" if verb in ("run", "tune", "choose", "budgets") else "--help").out.splitlines()
            for word in line.split()[:2]
        }
        for option in {word.strip(",") for word in options if word.startswith("--")}:
            assert option in completed, (verb, option)


def test_the_script_of_zsh(cli):
    done = cli("completion", "zsh")
    assert done.code == 0
    assert done.out.startswith("#compdef lt-bench")
    assert "--strategy[" in done.out
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-n"], input=done.out, text=True, check=True)


def test_other_shells_are_refused(cli):
    done = cli("completion", "fish")
    assert done.code == 2
    assert "completion fish: one of bash, zsh: lt-bench completion bash > " in done.err
