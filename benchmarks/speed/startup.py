"""Start-up of the command line, beside Python's own."""

from __future__ import annotations

import importlib
import subprocess
import sys

from benchmarks.speed.measure import Contestant, Figure, Setting, race

COMMANDS = {"lt-bench --help": ["--help"], "lt-bench list": ["list"], "lt-bench run --help": ["run", "--help"]}


def measure(setting: Setting) -> list[Figure]:
    """A new process each; process time counts it."""
    importlib.import_module("jsonargparse")  # without it there is no command line to start

    def started(code: str) -> Contestant:
        def run() -> int:
            subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
            return 1

        return run

    contestants = {"python -c pass": started("pass"), "import torch": started("import torch")}
    for name, words in COMMANDS.items():
        contestants[name] = started(f"import sys; from lt_bench.cli.main import main; sys.argv[1:] = {words!r}; main()")
    return race(setting, "start-up", "", contestants, {name: "python -c pass" for name in contestants if name != "python -c pass"})
