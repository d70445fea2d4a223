"""Cost of the fingerprints of code and the seals of files: their own seconds within a command, beside the whole command.

Each command runs in a new process in which the functions below are timed (the outermost of nested calls counts; in threads too), so that a busy machine slows
both figures alike. What a board spends on the seals of the records that it reads is in the subject ``leaderboard``.
"""

from __future__ import annotations

import functools
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import Figure, Setting

FUNCTIONS = {
    "lt_bench.core.provenance": ("fingerprints", "combined", "source_digest"),
    "lt_bench.core.seals": ("seal_of", "sealed", "check_seal", "digest_of"),
    "lt_bench.results.seal": ("array_digest", "arrays_digest", "check_arrays"),
    "lt_bench.strategies.revisions": ("code_of", "revision_of", "edited_of", "fingerprints_of_files"),
    "lt_bench.bench.tuned": ("tuning_id", "check_choice"),
    "lt_bench.core.identity": ("record_id",),
}
OWN = """from torch.nn.functional import one_hot

import lt_bench as lt


class MyHead(lt.Strategy):
    name = "my_head"
    margin: float = lt.hyper(1.0, low=0, high=10, help="taken from the true logit of rare classes")

    def transform(self, logits, labels):
        margin = self.margin * self.class_counts.clamp_min(1).to(logits) ** -0.25
        return logits - one_hot(labels, logits.shape[-1]) * margin[labels].unsqueeze(-1)
"""
COMMANDS = {
    "run --strategy los": ["run", "--strategy", "los", "--dataset", "cifar100_lt"],
    "run --strategy my_head.MyHead": ["run", "--strategy", "my_head.MyHead", "--dataset", "cifar100_lt"],
    "bench shipped": ["bench", "shipped", "--workers", "1"],
}


def measure(setting: Setting) -> list[Figure]:
    """Seconds of the command and of identity within it, medians over new processes."""
    figures = []
    for name, words in COMMANDS.items():
        if setting.quick and words[0] == "bench":
            continue
        rounds = [_run(words) for _ in range(3 if words[0] == "bench" else setting.rounds)]
        whole, own = (statistics.median(figure[which] for figure in rounds) for which in ("whole", "identity"))
        share = statistics.median(figure["identity"] / figure["whole"] for figure in rounds)
        note = f"{len(rounds)} rounds"
        figures += [
            Figure("identity", name, "the command", whole, None, note=note),
            Figure("identity", name, "fingerprints and seals", own, None, "the command", share, note=note),
        ]
    return figures


def _run(words: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "my_head.py").write_text(OWN)
        code = f"import sys; sys.path.append({str(Path(__file__).resolve().parents[2])!r}); from benchmarks.speed.identity import child; child({words!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout.splitlines()[-1])


def child(words: list[str]) -> None:
    """Run a command of lt-bench with the functions of identity timed; the last line of the output is JSON."""
    clock = Clock()
    begin = time.perf_counter()
    for module, names in FUNCTIONS.items():
        owner = importlib.import_module(module)
        for name in names:
            setattr(owner, name, clock.timed(getattr(owner, name)))
    sys.argv[1:] = [*words, "--results", "results"]
    status = importlib.import_module("lt_bench.cli.main").main()
    if status:
        raise SystemExit(status)
    sys.stdout.write(f"\n{json.dumps({'whole': time.perf_counter() - begin, 'identity': clock.seconds})}\n")


class Clock:
    """Seconds within the outermost of the timed functions, over all threads."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = threading.local()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if getattr(self.depth, "inside", False):
                return function(*arguments, **options)
            self.depth.inside, begin = True, time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - begin
                self.depth.inside = False

        return wrapper
