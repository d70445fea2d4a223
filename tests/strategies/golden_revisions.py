"""Numbers of every strategy and of every entry of the vocabulary: small fits in float64, measured. `make golden` compares them with ``golden_revisions.json``,
refuses where numbers changed and no revision was raised, and writes that file and ``lt_bench/strategies/sources.json``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import typing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lt_bench.core.errors import UserError
from lt_bench.engine.evaluate import evaluate
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob, pools, stacks
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies import revisions
from lt_bench.strategies.composition import NEEDS
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.facts import Facts
from lt_bench.strategies.registry import find, strategy_names
from lt_bench.strategies.slots.vocabulary import COMPOSE, entries

GOLDEN = Path(__file__).with_name("golden_revisions.json")
COUNTS, D = (40, 23, 12, 6, 3), 6
RECIPE: dict[str, Any] = {"epochs": 3, "batch_size": 16, "milestones": (1, 2), "warmup_epochs": 1}
METRICS = ("macro_accuracy", "nll", "loma_column_balance")
TOLERANCE = 1e-6


@dataclasses.dataclass
class Problem:
    """Features of a few samples: ``facts``, ``train`` in two views, ``test`` (N, D) with ``labels`` (N,)."""

    facts: Facts
    train: FeatureSplit
    test: torch.Tensor
    labels: torch.Tensor


def problem() -> Problem:
    """Features made without random numbers, so that they are the same on every machine."""
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    rows, columns = torch.arange(2 * len(labels), dtype=torch.float64)[:, None], torch.arange(D, dtype=torch.float64)
    waves = torch.sin(1.7 * rows + 0.9 * columns + 0.37 * rows * columns) + 1.3 * torch.cos(1.1 * labels.repeat(2)[:, None] + columns)
    features, classes = waves.abs(), torch.arange(len(COUNTS), dtype=torch.float64)[:, None]
    head = Head(torch.sin(classes + 0.7 * columns).float(), torch.cos(classes[:, 0]).float())
    train = FeatureSplit("train", ("plain", "aug1"), (features,), labels, torch.arange(len(labels)))
    return Problem(Facts(D, COUNTS, head), train, features[::3].flip(1) + 0.1, labels.repeat(2)[::3])


def jobs_of(on: Problem) -> dict[str, list[HeadJob]]:
    """Fits to make, by strategy and by entry of the vocabulary that no strategy's slots have."""
    jobs = {name: [job(find(name), changes) for changes in ({}, *varied(on, find(name)))] for name in strategy_names()}
    ensemble = find("ensemble(crt+los)")
    short = {f"{member.name}_{key}": value for member in ensemble.members for key, value in RECIPE.items()}
    jobs[ensemble.name] = [HeadJob(ensemble, ensemble.resolve("", None, short), 1)]
    of_presets = {(slot, text.partition("(")[0]) for name in strategy_names() for slot, text in (find(name).slots or {}).items()}
    for slot, name in entries():
        if (slot, name) not in of_presets and name not in NEEDS.get(slot, ()):
            jobs[f"{slot} {name}"] = [job(find(COMPOSE), {slot: name})]
    return jobs


def job(entry: Entry, changes: dict[str, Any]) -> HeadJob:
    """One head, fitted for three epochs."""
    return HeadJob(entry, entry.resolve("", None, {**(RECIPE if entry.fitting == "sgd" else {}), **changes}), 1)


def varied(on: Problem, entry: Entry) -> list[dict[str, Any]]:
    """Other hyper-parameters than the defaults, of the grid and of named choices: all at once, or one by one where they do not go together."""
    default, changes = entry.resolve(""), {}
    for name, values in entry.grid.items():
        changes[name] = next((one for one in values if one != default[name]), default[name])
    for one in entry.hyperparameters:
        if typing.get_origin(one.type) is typing.Literal:
            changes[one.name] = [choice for choice in typing.get_args(one.type) if choice != one.default][-1]
    changes = {name: value for name, value in changes.items() if name not in RECIPE}
    try:
        entry.load()(on.facts, **changes)
    except UserError:
        return [{name: value} for name, value in changes.items()]
    return [changes] if changes else []


def fitted(on: Problem, jobs: list[HeadJob]) -> dict[int, nn.Module]:
    """Inference heads by the id of their job, fitted in stacks and pools as a suite fits them."""
    heads: dict[int, nn.Module] = {}
    for pool in pools(stacks(jobs, 64), 64):
        for fit in fit_heads(pool, on.facts, on.train, Hardware("cpu"), dtype=torch.float64, held_out=on.train):
            heads |= {id(one): fit.head(number).inference_head().double() for number, one in enumerate(fit.jobs)}
    return heads


def measured(on: Problem, heads: list[nn.Module], every: bool) -> dict[str, Any]:
    """Logits and some metrics of heads, and every metric of the first one by name, so that a new metric is no change."""
    numbers: list[float] = []
    metrics: dict[str, float] = {}
    for head in heads:
        with torch.no_grad():
            logits = head(on.test)
        scalars = evaluate(head, (on.test,), on.labels, COUNTS, dtype=torch.float64, equalise=True).scalars
        metrics = metrics or {name: value for name, value in scalars.items() if not math.isnan(value)}
        numbers += [float(logits.norm()), *logits[7, :3].tolist(), float(logits.softmax(1).norm()), *(scalars[name] for name in METRICS)]
    return {"numbers": numbers} | ({"metrics": metrics} if every else {})


def numbers() -> dict[str, dict[str, Any]]:
    """By strategy, and by entry of the vocabulary: its revision and its numbers."""
    on = problem()
    jobs = jobs_of(on)
    heads = fitted(on, [one for several in jobs.values() for one in several])
    return {
        name: {"revision": revisions.revision_of(several[0].entry)}
        | measured(on, [heads[id(one)] for one in several], every=name == "joint")
        for name, several in jobs.items()
    }


def changed(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """Names whose numbers are others under the same revision."""
    return [
        name for name, one in now.items() if name in before and before[name]["revision"] == one["revision"] and not agree(before[name], one)
    ]


def agree(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether numbers, and the metrics that there were, differ by rounding only."""
    one, other = before["numbers"], now["numbers"]
    pairs = [
        *zip(one, other, strict=False),
        *((value, now["metrics"].get(name, math.nan)) for name, value in before.get("metrics", {}).items()),
    ]
    return len(one) == len(other) and all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9) for a, b in pairs)


def advice(names: list[str]) -> str:
    """Advice where numbers changed."""
    where = (
        f"revision in the class of {names[0]}"
        if len(names) == 1
        else "SHARED in lt_bench/strategies/revisions.py, or revision in each class"
    )
    return f"numbers of {', '.join(names)} changed: raise {where}, and run `make golden`"


def main() -> str | None:
    """Compare and write; a line where a revision is to be raised first."""
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
    now = numbers()
    if names := changed(before, now):
        return advice(names)
    golden = {
        name: one | before[name] if name in before and before[name]["revision"] == one["revision"] else one for name, one in now.items()
    }
    golden["joint"]["metrics"] = now["joint"]["metrics"] | golden["joint"]["metrics"]
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(golden.items())]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sources = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in revisions.fingerprints_of_files().items()]
    revisions.SOURCES.write_text("{\n" + ",\n".join(sources) + "\n}\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main())
