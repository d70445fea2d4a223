"""``lt-bench leaderboard`` on many records, without the statistics, beside reading and parsing the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from lt_bench.core.identity import record_id
from lt_bench.results.store import record_paths

SHIPPED = Path(__file__).resolve().parents[1] / "results" / "shipped"
RECORDS, QUICK_RECORDS = 20_000, 2_000


def measure(setting: Setting) -> list[Figure]:
    """A new process each, so that start-up and memory count; all formats but plots."""
    count = QUICK_RECORDS if setting.quick else RECORDS
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        copies(results, count)
        parse = f"import json, pathlib; [json.loads(p.read_bytes()) for p in pathlib.Path({str(results)!r}).glob('*/*.json')]"
        table = (
            "from lt_bench.leaderboard.leaderboard import leaderboard; "
            f"leaderboard({str(results)!r}, statistics=False).write({str(Path(folder) / 'out')!r})"
        )
        contestants = {"read and parse the files": started(parse), "lt-bench leaderboard --statistics false": started(table)}
        found = race(
            setting,
            "leaderboard",
            f"{count:,} records",
            contestants,
            {"lt-bench leaderboard --statistics false": "read and parse the files"},
        )
        setting.notes.append(f"leaderboard of {count:,} records: peak memory {peak_of(table) / 1024:.0f} MiB")
    return found


def copies(results: Path, count: int) -> None:
    """Write `count` records made of the shipped ones: 40 rows of 10 seeds on as many boards as that gives; no side files."""
    templates = [json.loads(path.read_bytes()) for path in record_paths(SHIPPED)[:40]]
    (results / "cifar100_lt").mkdir(parents=True)
    for number in range(count):
        board, seed, row = number // 400, number // 40 % 10, number % 40
        data = templates[row % len(templates)]
        identity = data["identity"] | {
            "seed": seed,
            "cache_key": f"{board:016x}",
            "hyperparameters": {**data["identity"]["hyperparameters"], "row": row},
        }
        shift = 1e-4 * ((number * 7919) % 97)
        metrics = {
            view: {name: value if value is None else value + shift for name, value in values.items()}
            for view, values in data["metrics"].items()
        }
        record = data | {
            "id": record_id(identity),
            "identity": identity,
            "cache": data["cache"] | {"key": identity["cache_key"]},
            "seeds": data["seeds"] | {"repetition": seed},
            "metrics": metrics,
        }
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
        path = results / "cifar100_lt" / f"{data['strategy']['name']}-{record['id']}.json"
        path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def started(code: str) -> Contestant:
    """A new Python process that runs the code."""

    def run() -> int:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1

    return run


def peak_of(code: str) -> float:
    """Largest resident memory of such a process, KiB."""
    said = subprocess.run(
        [sys.executable, "-c", f"{code}; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(said.stdout.split()[-1])
