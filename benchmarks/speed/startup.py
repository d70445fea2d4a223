"""Start-up of the command line, beside Python's own; and a run of the shipped features, beside the import of torch and Lightning and its fit."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile

from benchmarks.speed.measure import Contestant, Figure, Setting, race

COMMANDS = {"lt-bench --help": ["--help"], "lt-bench list": ["list"], "lt-bench run --help": ["run", "--help"]}

FLOOR = """
import lightning.pytorch
import lt_bench as lt
from lt_bench.engine.heads.fit import facts_of, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies.registry import find

cache, entry = lt.open_cache("cifar100_lt-if100-resnet10s2"), find("los")
fit_heads([[HeadJob(entry, entry.resolve("cifar100_lt", 100), 0)]], facts_of(cache), cache.split("train"))
"""
"""The parts of a run that cannot be left out: no audit of code, no metrics, no record."""


def measure(setting: Setting) -> list[Figure]:
    """A new process each; process time counts it."""
    importlib.import_module("jsonargparse")  # without it there is no command line to start

    def started(code: str) -> Contestant:
        def run() -> int:
            subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
            return 1

        return run

    def shipped_run() -> int:
        words = ["run", "--strategy", "los", "--dataset", "cifar100_lt", "--quiet"]
        with tempfile.TemporaryDirectory() as folder:
            started(f"from lt_bench.cli.main import main; main({[*words, '--results', folder]!r})")()
        return 1

    contestants = {"python -c pass": started("pass"), "import torch": started("import torch")}
    for name, words in COMMANDS.items():
        contestants[name] = started(f"import sys; from lt_bench.cli.main import main; sys.argv[1:] = {words!r}; main()")
    figures = race(setting, "start-up", "", contestants, {name: "python -c pass" for name in contestants if name != "python -c pass"})
    floor = "import torch and Lightning, open the shipped cache, fit los"
    runs: dict[str, Contestant] = {floor: started(FLOOR), "lt-bench run --strategy los": shipped_run}
    return figures + race(setting, "start-up", "a run", runs, {"lt-bench run --strategy los": floor})
