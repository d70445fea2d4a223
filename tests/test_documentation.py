"""Every command of README and docs is run: page after page, line after line, as a reader would; the quick ones in the fast suite, the rest in the slow one.

Each page has a folder and a home of its own with small data in it. `STAND_INS` says what stands for a placeholder or for something big, `NOT_RUN` what cannot be run here, and why.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lt_bench.backbones.registry import PACKAGED
from lt_bench.cli.main import main
from lt_bench.cli.request import parse
from lt_bench.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "data"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(?:console|bash|sh)\n(.*?)```", re.DOTALL)

# Command as printed -> command as run, in this order, on the words joined by single spaces.
STAND_INS = (
    (r"--dataset cifar100_lt --cache", "--cache"),
    (r"--dataset cifar100_lt( --selection seed0)? --data-dir DIR", "--dataset cifar10_lt --data-dir images --imbalance-factor 2"),
    (r"^data check cifar100_lt --data-dir DIR", "data check cifar10_lt --data-dir images --imbalance-factor 2"),
    (r"--dataset cifar100_lt", "--cache small"),  # six classes in place of the shipped hundred
    (r"--backbone resnet(10s2|32|34)\b", "--backbone resnet20"),
    (r"--backbone torchvision\.resnet50 --weights FILE", "--backbone torchvision.shufflenet_v2_x0_5 --weights shufflenet.safetensors"),
    (r"--weights FILE --out EXPORT", "--weights shufflenet.safetensors --out EXPORT"),
    (r"--weights FILE", "--weights stage1.safetensors"),
    (r"migrate '~/\.cache/lt-bench/caches'", "migrate home/caches"),
    (r"results/folder/RECORD\.json", "RECORD"),
    (r"evaluate EXPORT later", "evaluate EXPORT photos/test"),
    (r"predict EXPORT FOLDER", "predict EXPORT photos/test/oak"),
    (r"update EXPORT --data-dir photos", "update EXPORT --data-dir more_photos"),
    (r"(epoch-|--keep-epochs )100(,130)?", r"\g<1>1\g<2>"),
    (r"epoch-130|,130", lambda found: found.group().replace("130", "2")),
    (r"^(pretrain .*)", r"\1 --epochs 3"),
    (r"^choose (?!.*--budget)", "choose --budget 1 "),
    (r"^choose (.*)--budget 3", r"choose \1--budget 1"),
    (r"^choose ", "choose --folds 3 "),  # six validation images make three
    (r"^(run (?=.*--mode end-to-end)(?=.*--recipe ib).*)", r"\1 --epochs 2"),  # whose half is epoch 1
    (r"^(run (?=.*--mode end-to-end)(?=.*--recipe (?!ib)).*)", r"\1 --epochs 3"),
    (r"^(run (?=.*--mode end-to-end)(?!.*--recipe).*)", r"\1 --strategy.epochs 2"),
)
# The beginning of a command, or a part of it -> why it is not run here.
NOT_RUN = {
    "make ": "a target of the Makefile: checked to exist; CI runs `make test` itself, and what `make leaderboard` does is the commands below",
    "pip install": "the environment is there already",
    "--weights hub": "needs a network",
    "--backbone open_clip.": "needs a released checkpoint; tests/backbones/test_encoders.py runs a tiny one",
    "--backbone transformers.": "needs a released checkpoint; tests/backbones/test_encoders.py runs a tiny one",
    "gtsrb_tracks": "needs the images of traffic signs",
    "imagenet_lt": "needs ImageNet's images and a released checkpoint",
    "--cache decoupling": "needs ImageNet's images and a released checkpoint",
    "bench plug_in": "needs released checkpoints",
    "lt-bench push": "needs an account",
    "lt-bench pull": "needs a network",
    "--wandb online": "needs an account",
    "wandb push --online": "needs an account",
    "--logger tensorboard": "needs tensorboard",
    "wandb dashboard": "needs an account",
    "wandb push --exports": "needs an export of a folder of images; tests/deploy/test_wandb_models.py has some",
    "--names names.yaml": "needs rows and names of the reader's own; tests/leaderboard/tables/test_selection.py has some",
    "my_submission": "needs records of a strategy of one's own; tests/bench/test_submission.py has some",
    "--slurm": "needs a cluster",
    "torchrun": "needs several machines",
    "srun": "needs a cluster",
    "sbatch": "needs a cluster",
}
# Part of what is run, what it needs, and what makes it where the page has not (or only the slow tests are run).
BEFORE = (
    ("leaderboard", "results/*/*.json", "run --strategy joint --cache small"),
    ("migrate results", "results/*/*.json", "run --strategy joint --cache small"),
    ("--tuned", "results/tuning/*.json", "tune --strategy {strategy} --cache small"),  # shipped for the shipped features
    ("--cache mine", "home/caches/mine", "import-features --name mine --train train.npz --val val.npz --test test.npz --head head.npz"),
)
QUICK = ("list", "run --strategy joint", "run --strategy logit_adjustment", "leaderboard", "data check folder", "import-features")
QUICK_PAGES = ("README.md", "tutorial.md", "own_data.md", "statistics.md")


@dataclass(frozen=True)
class Command:
    """A line of a page."""

    page: Path
    line: str

    @property
    def why_not(self) -> str | None:
        return next((why for mark, why in NOT_RUN.items() if mark in self.line), None)

    @property
    def words(self) -> list[str]:
        """Words that are run, after `lt-bench`."""
        text = shlex.join(shlex.split(self.line, comments=True)[1:])
        for printed, run in STAND_INS:
            text = re.sub(printed, run, text)
        return shlex.split(text)

    @property
    def quick(self) -> bool:
        return self.page.name in QUICK_PAGES and " ".join(self.words).startswith(QUICK) and "plots" not in self.line


def commands() -> list[Command]:
    """Every line of every block of commands."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            lines = [line.removeprefix("$ ").strip() for line in block.replace("\\\n", " ").splitlines()]
            found += [Command(page, line) for line in lines if shlex.split(line, comments=True)]
    return found


COMMANDS = commands()
RUN = [command for command in COMMANDS if command.why_not is None]


def readme_strategy() -> str:
    """The worked example of the README."""
    return first_block("README.md", "python")


def first_block(page: str, language: str) -> str:
    """The first block of a page in a language, which the page calls a file."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found.group(1)


def named(command: Command) -> str:
    return f"{command.page.stem}: {command.line.partition(' #')[0].strip()[:90]}"


def test_the_documentation_shows_commands() -> None:
    verbs = {command.line.split()[1] for command in COMMANDS if command.line.startswith("lt-bench")}
    assert verbs >= {
        "run",
        "tune",
        "bench",
        "leaderboard",
        "list",
        "check",
        "import-features",
        "pretrain",
        "extract",
        "export",
        "predict",
        "data",
    }


def test_every_line_is_a_command_of_ours_or_said_not_to_run() -> None:
    assert [command.line for command in RUN if not command.line.startswith("lt-bench ")] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {command.line.split()[1] for command in COMMANDS if command.line.startswith("make ")} <= targets


@pytest.mark.parametrize("mark", NOT_RUN)
def test_what_is_not_run_is_at_least_parsed(mark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        words = shlex.split(command.line, comments=True)
        if mark in command.line and words[0] == "lt-bench":
            assert parse(words[1], words[2:]) is not None


def test_commands_within_a_sentence_name_verbs_that_exist() -> None:
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        verbs = re.findall(r"`lt-bench ([a-z-]+)", text)
        assert set(verbs) <= set(VERBS), page.name


def test_the_worked_example_is_short() -> None:
    assert len(readme_strategy().splitlines()) < 30


@dataclass
class Readers:
    """A reader of each page: a working folder, and a home with one small cache."""

    make_cache: object
    root: Path
    pages: dict[Path, Path] = field(default_factory=dict)

    def folder(self, page: Path) -> Path:
        if page not in self.pages:
            self.pages[page] = self.root / page.stem
            self.prepare(self.pages[page])
        return self.pages[page]

    def prepare(self, folder: Path) -> None:
        from photos import write_photos
        from small_image_files import write_cifar10

        self.make_cache(folder / "home" / "caches" / "small")  # type: ignore[operator]
        draws = np.random.default_rng(0)
        for split, n in (("train", 40), ("val", 12), ("test", 12)):
            labels = np.arange(n) % 4
            np.savez(folder / f"{split}.npz", features=draws.normal(size=(n, 6)) + labels[:, None], labels=labels)
        np.savez(folder / "head.npz", weight=draws.normal(size=(4, 6)), bias=np.zeros(4))
        (folder / "names.txt").write_text("oak\nash\nelm\nyew\n", encoding="utf-8")
        (folder / "my_head.py").write_text(readme_strategy(), encoding="utf-8")
        (folder / "my_slots.py").write_text(first_block("docs/slots.md", "python"), encoding="utf-8")
        suite = re.sub(r"\{dataset: cifar100_lt.*\}", "{cache: small}", first_block("docs/slots.md", "yaml"))
        (folder / "my_suite.yaml").write_text(suite, encoding="utf-8")
        write_cifar10(folder / "images" / "cifar10", n_max=6)
        counts = {f"{split}/{name}": n for split, n in (("train", 6), ("val", 3), ("test", 2)) for name in ("ash", "oak")}
        write_photos(folder / "photos", counts)
        write_photos(folder / "more_photos", {name: n + 3 for name, n in counts.items()})

    def weights(self, folder: Path) -> None:
        """Files of networks that were never trained."""
        from lt_bench.backbones.registry import build_backbone
        from lt_bench.backbones.weights import save_weights

        for name, backbone, classes in (("stage1", "resnet20", 10), ("shufflenet", "torchvision.shufflenet_v2_x0_5", 2)):
            if not (folder / f"{name}.safetensors").exists():
                save_weights(build_backbone(backbone, classes), folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory, make_cache: object) -> Readers:
    return Readers(make_cache, tmp_path_factory.mktemp("readers"))


def with_record(words: list[str], folder: Path) -> list[str]:
    """The words, with a record of the page in the place of RECORD: one of the folder of images where it has some."""
    records = [*folder.glob("results/folder/*.json"), *folder.glob("results/*/*.json")]
    return [str(records[0]) if word == "RECORD" else word for word in words]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=named(command), marks=() if command.quick else (pytest.mark.slow, pytest.mark.timeout(900)))
        for command in RUN
    ],
)
def test_the_command_runs(command: Command, readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, words = readers.folder(command.page), command.words
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LT_BENCH_HOME", str(folder / "home"))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    if any(word.endswith(".safetensors") for word in words):
        readers.weights(folder)
    for mark, there, first in BEFORE:
        if mark in " ".join(words) and not list(folder.glob(there)):
            strategy = words[words.index("--strategy") + 1] if "--strategy" in words else ""
            for member in re.sub(r"ensemble\((.*)\)", r"\1", strategy).split("+"):  # each is tuned by itself
                assert main(with_record(shlex.split(first.format(strategy=member)), folder)) == 0
    words = with_record(words, folder)
    for backbone in PACKAGED:
        if backbone.name in words:  # extra `pretrained`, which `make setup` does not install for all
            pytest.importorskip(backbone.package)
    if "--devices" in words:  # processes of its own
        program = str(Path(sys.executable).parent / "lt-bench")
        done = subprocess.run([program, *words], env=os.environ, capture_output=True, text=True, timeout=800, check=False)
        assert done.returncode == 0, done.stderr
    else:
        assert main(words) == 0
