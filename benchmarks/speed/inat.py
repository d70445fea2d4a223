"""`lt-bench run --strategy los` for an epoch on a cache of iNaturalist 2018's size and real class counts, made up, in a process of its own: its peak memory.

Takes 2 GB of the disk for temporary files and, on two cores, a quarter of an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.speed.measure import Figure, Setting
from benchmarks.speed.memory import peak
from benchmarks.speed.problems import Size, inat2018
from lt_bench.features.manifest import BackboneInfo, DatasetInfo
from lt_bench.features.write import Description, write_cache

TEST_PER_CLASS = 3  # the official validation images, which are the test set
LIMIT = 8 << 30


def measure(setting: Setting) -> list[Figure]:
    """Seconds a step of the fit; the peak in the note, the ratio that of the peak to 8 GiB."""
    size = inat2018()
    with tempfile.TemporaryDirectory() as folder:
        cache = write(size, Path(folder) / "cache")
        stored = sum(path.stat().st_size for path in cache.iterdir())
        words = [
            "run",
            "--strategy",
            "los",
            "--strategy.epochs",
            "1",
            "--cache",
            str(cache),
            "--results",
            f"{folder}/results",
            "--accelerator",
        ]
        command = [sys.executable, "-m", "benchmarks.speed.inat", *words, "gpu" if setting.device == "cuda" else "cpu"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        seconds, most = time.perf_counter() - started, int(done.stdout.split()[-1])
        record = json.loads(next(Path(folder, "results").rglob("los-*.json")).read_text(encoding="utf-8"))
    fit, steps = record["time"]["fit_s"], record["training"]["steps"]
    note = (
        f"peak resident memory {most / 2**30:.2f} GiB, cache {stored / 2**30:.2f} GiB; fit {fit:,.0f} s on {record['environment']['threads']} threads, "
        f"measuring {record['time']['evaluate_s']:,.0f} s, the whole command {seconds:,.0f} s"
    )
    return [Figure("iNaturalist size", size.label, f"los, an epoch of {steps} steps", fit / steps, None, "8 GiB", most / LIMIT, None, note)]


def write(size: Size, directory: Path) -> Path:
    """The cache: the plain view of train, both views of test, a stage-1 head, float16."""
    split, head, K = size.split("cpu"), size.facts().head, len(size.counts)
    assert head is not None
    labels = torch.arange(K).repeat_interleave(TEST_PER_CLASS)
    test = torch.randn(len(labels), size.dim, generator=torch.Generator().manual_seed(2)).relu().half()
    arrays = {
        "train/features/plain": split.blocks[0], "train/labels": split.labels, "test/features/plain": test, "test/features/flip": test.flip(1), "test/labels": labels,
        "head/weight": head.weight, "head/bias": head.bias,
    }  # fmt: skip
    dataset = DatasetInfo("inat2018", tuple(map(str, range(K))), size.counts, "made up")
    write_cache(
        directory, Description("inat", dataset, BackboneInfo("made up", "none", size.dim), {"evaluation": "", "augmentation": ""}), arrays
    )
    return directory


if __name__ == "__main__":
    from lt_bench.cli.main import main

    code = main(sys.argv[1:])
    print(peak("cpu"))
    sys.exit(code)
