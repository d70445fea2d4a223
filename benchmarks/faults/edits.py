"""Code that is edited between two commands: the new number each time, and no row of two programs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from benchmarks.faults.commands import ROOT, call
from benchmarks.faults.outcomes import Outcome
from benchmarks.faults.verbs import CPU, Verb, furnish

HEAD = '''
"""A head of the user's own."""
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from my_helper import shift

class MyHead(Strategy):
    """Margins."""
    name = "my_head"
    amount: float = hyper(1.0, low=0, high=10, grid=(0.5, 2.0), help="of the margin")

    def modulate(self, losses, batch):
        return shift(losses) * (1.0 + self.amount * self.class_counts.to(losses.dtype)[batch.labels] ** -0.25)
'''
HELPER = "def shift(losses):\n    return 1.0 * losses\n"
EPOCHS = ("--strategy.epochs", "2")
EDITS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    ("my_head.MyHead", EPOCHS, "my_head.py", "** -0.25", "** 0.25"),
    ("my_head.MyHead", EPOCHS, "my_helper.py", "1.0 * losses", "3.0 * losses"),
    ("ncm", (), "lt_bench/strategies/ncm.py", "bias = -self.means.square().sum(1)", "bias = -1.5 * self.means.square().sum(1)"),
    ("tau_norm", (), "lt_bench/strategies/slots/inference.py", "weight / norms**self.tau", "weight / norms ** (0.5 * self.tau)"),
    ("crt", EPOCHS, "lt_bench/features/samplers.py", "classes.repeat_interleave(self.run)[:n]", "classes.repeat_interleave(self.run)[:n].flip(0)"),
    ("los", EPOCHS, "lt_bench/strategies/slots/targets.py", "return self.mass\n\n    mass: Tensor | float", "return 0.5 * self.mass\n\n    mass: Tensor | float"),
)  # fmt: skip
"""Strategy, options that make it short, the file that is edited, and what is written in place of what."""


def edited(place: Path, seed: int) -> Outcome:
    """A trial: run, tune, run --tuned and bench; an edit; the same again, beside the same in results of its own. The package is a copy, first on the path."""
    strategy, short, name, old, new = EDITS[seed % len(EDITS)]
    outcome = Outcome()
    furnish(place, Verb("", (), ("home",), ()))
    source = place / "source"
    shutil.copytree(ROOT / "lt_bench", source / "lt_bench", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "my_head.py").write_text(HEAD)
    (place / "my_helper.py").write_text(HELPER)
    epochs = ", epochs: 2" if short else ""
    (place / "suite.yaml").write_text(
        f"strategies:\n- {{name: {strategy}{epochs}}}\n- joint\ncaches: [{{cache: small}}]\nseeds: [0, 1, 2]\n"
    )
    on = ("--strategy", strategy, "--cache", "small", *CPU)
    verbs = (
        ("run", *on, *short, "--seeds", "0,1"),
        ("tune", *on, "--seeds", "0"),
        ("run", *on, "--tuned"),
        ("bench", "suite.yaml", "--workers", "1", *CPU),
    )

    def do(which: int, results: str, codes: tuple[int, ...] = (0,)) -> None:
        words = (*verbs[which], "--results", results)
        outcome.judge(f"{' '.join(words)} around an edit of {name}", call(place, *words, source=source), codes)

    for which in range(4):
        do(which, "results")
    before = numbers(place / "results")
    path = (source if name.startswith("lt_bench") else place) / name
    text = path.read_text()
    assert text.count(old) == 1, name
    path.write_text(text.replace(old, new))
    do(2, "results", (2,))  # the choice is of other code
    for results in ("results", "anew"):
        for which in range(4):
            do(which, results)
    compare(outcome, f"after an edit of {name}", before, numbers(place / "results"), numbers(place / "anew"))
    words = ("leaderboard", "--results", "results", "--out", "board", "--formats", "csv")
    outcome.judge(f"leaderboard after an edit of {name}", call(place, *words, source=source), (0,))
    if (place / "board" / "leaderboard.csv").is_file():
        rows_of_one_program(outcome, f"a board after an edit of {name}", place)
    return outcome


def numbers(results: Path) -> dict[str, dict[str, float]]:
    """Test metrics by record, but for the stage-1 head's, which no edit concerns."""
    documents = [json.loads(path.read_text()) for path in sorted((results / "embeddings").glob("*.json"))]
    return {one["id"]: one["metrics"]["test"] for one in documents if one["identity"]["strategy"] != "joint"}


def compare(
    outcome: Outcome, what: str, before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], anew: dict[str, dict[str, float]]
) -> None:
    """Count records that went, numbers of the old code under new ids, and commands that were served the old ones."""
    outcome.compare(f"{what}, earlier records", dict(after), dict(before))
    outcome.compare(what, dict(after), dict(anew))
    if same := anew.keys() & before.keys():
        outcome.wrong.append(f"{what}: {len(same)} records of the earlier code are served")
    if not anew or any(one in before.values() for one in anew.values()):
        outcome.wrong.append(f"{what}: a number did not change")


def rows_of_one_program(outcome: Outcome, what: str, place: Path) -> None:
    """Count rows whose accuracy is not the mean over the records of one code and one choice."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for path in (place / "results" / "embeddings").glob("*.json"):
        one = json.loads(path.read_text())
        key = (one["identity"]["strategy"], one["identity"]["code"], json.dumps(one["identity"]["hyperparameters"]) + one["tuning"]["kind"])
        groups.setdefault(key, []).append(100 * one["metrics"]["test"]["accuracy"])
    right = sorted((code, len(values), round(sum(values) / len(values), 5)) for (_, code, _), values in groups.items())
    with (place / "board" / "leaderboard.csv").open() as file:
        now = sorted((row["code"], int(row["n"]), round(float(row["accuracy"]), 5)) for row in csv.DictReader(file))
    if now != right:
        outcome.wrong.append(f"{what}: rows {now}, and the records give {right}")
