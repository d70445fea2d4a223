"""``python -m benchmarks.speed [SUBJECT ...] [--device cuda] [--quick] [--seconds 150]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.speed.measure import Figure, Setting, as_rows, as_table
from lt_bench.core.environment import environment

SUBJECTS = (
    "heads",
    "denormals",
    "graphs",
    "metrics",
    "cache",
    "startup",
    "memory",
    "processes",
    "extraction",
    "pretrain",
    "frozen",
    "suite",
    "leaderboard",
    "identity",
)
ON_REQUEST = ("inat", "closed_form", "head_costs")  # minutes to a quarter of an hour, and gigabytes of memory or of the disk
OUT = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    """Measure what was asked for, print the table, write JSON and Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}; only by name: {', '.join(ON_REQUEST)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="at most two minutes")
    parser.add_argument("--seconds", type=float, help="begin nothing new after this time; 120 with --quick, else 1800")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if unknown := set(arguments.subjects) - {*SUBJECTS, *ON_REQUEST}:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; choose among {', '.join((*SUBJECTS, *ON_REQUEST))}")
    seconds = arguments.seconds or (120 if arguments.quick else 1800)
    end = time.monotonic() + 0.9 * seconds
    figures: list[Figure] = []
    notes = [f"load of the machine over the last minute when the run began: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"]
    chosen = arguments.subjects or SUBJECTS
    for number, subject in enumerate(chosen):
        left = end - time.monotonic()
        share = left if subject == chosen[-1] else left * (0.5 if subject == "heads" else 1 / (len(chosen) - number))
        setting = Setting(arguments.device, arguments.quick or seconds < 600, time.monotonic() + share, notes)
        if left <= 0:
            notes.append(f"{subject}: no time left")
            continue
        try:
            found = importlib.import_module(f"benchmarks.speed.{subject}").measure(setting)
        except ModuleNotFoundError as error:
            notes.append(f"{subject}: not measured, this machine has no {error.name}")
            continue
        figures += found
        sys.stdout.write(as_table(found))
        sys.stdout.flush()
    write(figures, notes, arguments.device, arguments.out)


def write(figures: list[Figure], notes: list[str], device: str, out: Path) -> None:
    """One JSON and one Markdown file, named by time, hardware and versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    facts = environment(name)
    hardware = name if device == "cuda" else f"{facts['cpu']} {torch.get_num_threads()} threads"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = re.sub(
        r"[^A-Za-z0-9.+_-]+",
        "-",
        f"speed-{hardware}-torch{torch.__version__}-lightning{facts['lightning']}-python{facts['python']}-{stamp}",
    )
    out.mkdir(parents=True, exist_ok=True)
    document = {"environment": facts, "command": " ".join(sys.argv), "notes": notes, "figures": as_rows(figures)}
    (out / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [f"{key}: {value}  " for key, value in facts.items()] + [f"note: {note}  " for note in notes]
    (out / f"{stem}.md").write_text("\n".join(lines) + "\n\n" + as_table(figures), encoding="utf-8")
    sys.stdout.write("".join(f"note: {note}\n" for note in notes) + f"wrote {out / stem}.json and .md\n")


if __name__ == "__main__":
    main()
