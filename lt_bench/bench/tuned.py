"""Files of ``lt-bench tune``: their place, and the checks before a choice is used. Free of torch."""

from __future__ import annotations

import glob
import hashlib
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lt_bench.bench.options import RunOptions
from lt_bench.bench.planning import Tuning, require_grid
from lt_bench.bench.settled import lines_of_choice, share_alone_best
from lt_bench.bench.validation import standard_error, validation_text
from lt_bench.core.commands import results_words, with_results
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_atomic
from lt_bench.core.identity import canonical_json, record_id
from lt_bench.core.seals import SEAL, check_seal, check_version, read_json_object
from lt_bench.features.locate import shipped
from lt_bench.features.manifest import Manifest
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.results.health import DIVERGENCE
from lt_bench.results.record import whole_validation
from lt_bench.strategies import ensembles
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.revisions import code_of

SCHEMA_VERSION = 2
AGAIN = "run `lt-bench tune` again"
RESTORE = f"restore it from a copy, or move it away and {AGAIN}"
NOT_OF_THE_CHOICE = {"id", "environment", "workers", "inputs", SEAL}
"""Entries of a tuning that its id is not a hash of: they say where and how it was made."""


def objective_in(document: Mapping[str, Any]) -> Objective:
    """The objective that a tuning states; macro accuracy for early tunings, which state none."""
    identity = document.get("objective", MACRO.identity)
    kind, values = identity["kind"], np.array(identity.get("values", ()))
    if kind == "shots":
        return Objective(kind, groups=values)
    if kind == "prior":
        return Objective(kind, prior=values.astype(np.float64))
    return Objective(kind, costs=values.astype(np.float64) if kind == "cost" else None)


def tuning_of(document: Mapping[str, Any]) -> Tuning:
    """The part of a record that names the tuning of its hyper-parameters."""
    objective = objective_in(document)
    kind = None if objective.kind == "macro" else objective.kind
    return Tuning(
        "tuned", "val", len(document["grid"]), tuple(document["seeds"]), document["id"], kind, validation_text(document),
        document.get("standard_error"), share_alone_best(document), points_drawn_among(document),
    )  # fmt: skip


def best_of(grid: Sequence[Mapping[str, Any]], objective: Objective = MACRO) -> int:
    """Position of the chosen point of a grid: the first of `ranked_points` that `may_be_chosen`."""
    order = ranked_points(grid, objective)
    return next(position for position in order if may_be_chosen(grid[position]))


def may_be_chosen(point: Mapping[str, Any]) -> bool:
    """Whether a point may be chosen: none of its fits diverged, and it did not fail to repeat from a start that differs by rounding (`tuning.stability`)."""
    return point.get("repeats", True) and not has_diverged(point)


def has_diverged(point: Mapping[str, Any]) -> bool:
    """Whether a fit of a point diverged: its parameters or losses were not finite, or its logits blew up."""
    return not DIVERGENCE.isdisjoint(point.get("health", ()))


def points_drawn_among(document: Mapping[str, Any]) -> int | None:
    """Number of points that a budget drew from; None where all were tried."""
    whole = document.get("budget", {}).get("of", 0)
    return whole if whole > len(document["grid"]) else None


def openness_of_choice(document: Mapping[str, Any]) -> list[str]:
    """Lines on how settled the choice is: points that tie with it, and the draws of validation images in which it is chosen."""
    grid, objective = document["grid"], objective_in(document)
    best = best_of(grid, objective)
    able = [position for position, point in enumerate(grid) if may_be_chosen(point)]
    tied = [position for position in able if round(grid[position]["mean"], 9) == round(grid[best]["mean"], 9)]
    return lines_of_choice(document, tied, objective)


def warnings_of_choice(document: Mapping[str, Any]) -> list[str]:
    """A line that names the signs of wrong fits of the chosen point; none where there are no signs."""
    signs = document["grid"][best_of(document["grid"], objective_in(document))].get("health")
    return [f"{document['strategy']}: the best point of the grid looks wrong on validation: {', '.join(signs)}"] if signs else []


def ranked_points(grid: Sequence[Mapping[str, Any]], objective: Objective = MACRO) -> list[int]:
    """Positions of the points of a grid, the best mean first; of means that agree to 1e-9 the first in the grid's order, which is the author's."""
    sign = 1 if objective.lower else -1
    return sorted(range(len(grid)), key=lambda position: (sign * round(grid[position]["mean"], 9), position))


def tuning_id(document: Mapping[str, Any]) -> str:
    """Identity of a tuning, 16 hex digits: the hash of all that was tried and chosen."""
    content = {name: value for name, value in document.items() if name not in NOT_OF_THE_CHOICE}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def tuning_name(entry: Entry, manifest: Manifest, fixed: dict[str, Any] | None = None) -> str:
    """File name of a strategy's tuning on a cache; a tuning with hyper-parameters fixed by hand gets another name, which ``--tuned`` never reads."""
    suffix = f"-fixed-{record_id(fixed)}" if fixed else ""
    return f"{entry.public_name}-{manifest.key}{suffix}.json"


def tuning_path(results: Path, entry: Entry, manifest: Manifest, fixed: dict[str, Any] | None = None) -> Path:
    """The file of a strategy's tuning on a cache."""
    return results / "tuning" / tuning_name(entry, manifest, fixed)


def tuned_before(path: Path, inputs: str) -> dict[str, Any] | None:
    """The tuning at ``path`` if it has the same hash of inputs; None where it is absent, different or damaged, so that it is made anew."""
    if not path.is_file():
        return None
    with suppress(UserError):
        document = read_tuning(path)
        return document if document.get("inputs") == inputs else None
    return None


def keep_earlier(path: Path, id: str) -> None:  # noqa: A002
    """Copy the tuning at ``path`` to a name with its own id before a tuning of another id replaces it, so that records that name it still find it."""
    if not path.is_file():
        return
    data, earlier = path.read_bytes(), ""
    with suppress(UserError):  # a damaged one is named by its content
        earlier = str(read_json_object(path, RESTORE).get("id"))
    if earlier != id:
        earlier = earlier if re.fullmatch(r"[0-9a-f]{16}", earlier) else hashlib.sha256(data).hexdigest()[:16]
        write_atomic(path.with_name(f"{path.stem}-{earlier}.json"), lambda file: file.write(data))


def earlier_tunings(path: Path, id: str) -> list[Path]:  # noqa: A002
    """The tunings that the tuning ``id`` at ``path`` has replaced."""
    return [one for one in sorted(path.parent.glob(f"{glob.escape(path.stem)}-{'[0-9a-f]' * 16}.json")) if not one.stem.endswith(id)]


def record_or_tuning(path: Path) -> Literal["record", "tuning"] | None:
    """The kind of a JSON file, by its content, or by its name and folder where it is damaged, so that damaged files are reported too; None for other files."""
    try:
        names = read_json_object(path, RESTORE).keys()
    except UserError:
        named = re.search(r"-[0-9a-f]{16}$", path.stem)
        return None if named is None else "tuning" if path.parent.name in ("tuning", "tuned") else "record"
    return "tuning" if {"grid", "choice"} <= names else "record" if {"identity", "metrics"} <= names else None


def read_tuning(path: Path) -> dict[str, Any]:
    """The document of a tuning, as it was written.

    Raises:
        UserError: the file is unreadable, altered or of another version, or its choice is not the best of the points it lists.
    """
    document = read_json_object(path, RESTORE)
    check_version(document, SCHEMA_VERSION, path, "a tuning", AGAIN)
    check_seal(document, path, AGAIN)
    check_choice(document, path)
    return document


def check_choice(document: Mapping[str, Any], path: Path) -> None:
    """Refuse a tuning that contradicts itself.

    Raises:
        UserError: the id, a mean or the standard error does not follow from the content, the choice is not the best point of the grid, or the tuning is damaged.
    """
    try:
        objective = objective_in(document)
        scores = [point[objective.metric] for point in document["grid"]]
        means = [statistics.fmean(of_seeds) for of_seeds in scores]
        best = document["grid"][best_of(document["grid"], objective)]
        faults = {
            "its id is not that of its content": document["id"] != tuning_id(document),
            "its command is none of `lt-bench tune`": not document["command"].startswith("lt-bench tune "),
            "it was not selected on validation": document["selected_on"] != "val" or document["val_seen_by_backbone"] is not False,
            "a mean is not that of its scores": means != [point["mean"] for point in document["grid"]],
            "a point has not a score for each seed": {len(of_seeds) for of_seeds in scores} != {len(document["seeds"])},
            "its standard error is not that of its choices": "choices" in document
            and document["standard_error"] != standard_error(document["grid"], document["choices"]),
            "its choice was never tried": document["choice"] not in [point["hyperparameters"] for point in document["grid"]],
            "its choice is not the best of what was tried": (document["choice"], document[objective.metric])
            != (best["hyperparameters"], best["mean"]),
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        raise UserError(f"{path}: damaged tuning ({error!r}); {RESTORE}") from None
    for fault, holds in faults.items():
        if holds:
            raise UserError(f"{path}: {fault}, so the file was altered; {RESTORE}")


def tune_command(entry: Entry, cache: str, results: Path) -> str:
    """The command that tunes a strategy on a cache and writes the tuning to where ``--tuned`` reads it."""
    return shlex.join(["lt-bench", "tune", "--strategy", entry.public_name, "--cache", cache, *results_words(results)])


def tuned_choice(entry: Entry, manifest: Manifest, results: Path, cache: str = "") -> tuple[dict[str, Any], Tuning] | None:
    """Hyper-parameters that ``lt-bench tune`` chose for a strategy on a cache, from ``results/tuning`` or the shipped choices; None where it was never tuned.

    An ensemble takes the choices of its members that have a grid. ``cache`` is the cache as commands name it, by default its name.

    Raises:
        UserError: the tuning is damaged, altered, or of another strategy, cache or code; a member of an ensemble was never tuned.
    """
    if entry.members:
        return _choices_of_members(entry, manifest, results, cache or manifest.name)
    for place in (results / "tuning", shipped("tuned")):
        path = place / tuning_name(entry, manifest)
        if path.is_file():
            document = read_tuning(path)
            _require_of(document, entry, manifest, path, results, cache or manifest.name)
            return dict(document["choice"]), tuning_of(document)
    return None


def _choices_of_members(entry: Entry, manifest: Manifest, results: Path, cache: str) -> tuple[dict[str, Any], Tuning]:
    """The choices of an ensemble's members, joined; the joint tuning has the points and seeds of all, and their ids joined by ``+``.

    Raises:
        UserError: no member has a grid, a member was never tuned, or members were tuned by different objectives or images.
    """
    chosen: list[dict[str, Any]] = []
    tunings: dict[str, Tuning] = {}
    for member in entry.members:
        choice = tuned_choice(member, manifest, results, cache) if member.grid else None
        if member.grid and choice is None:
            raise UserError(
                f"{entry.name}: {member.public_name} was not tuned on cache {manifest.name}; run `{tune_command(member, cache, results)}` first"
            )
        chosen.append({} if choice is None else choice[0])
        if choice is not None:
            tunings[member.public_name] = choice[1]
    if not tunings:
        raise UserError(f"{entry.name}: none of its members has anything to tune")
    first = _require_alike(entry, tunings)
    points, ids = sum(one.grid_size or 0 for one in tunings.values()), "+".join(one.tuning_id or "" for one in tunings.values())
    seeds = tuple(sorted({seed for one in tunings.values() for seed in one.seeds or ()}))
    return ensembles.joined(entry.members, chosen), replace(
        first, seeds=seeds, grid_size=points, tuning_id=ids, standard_error=None, alone_best=None, whole_grid=None
    )


def _require_alike(entry: Entry, tunings: Mapping[str, Tuning]) -> Tuning:
    """The first of the members' tunings, after a check that all have the same objective and validation images.

    Raises:
        UserError: two tunings differ in the objective or the images.
    """
    (first_name, first), *others = tunings.items()
    for name, one in others:
        alike = {(tuning.objective, whole_validation(tuning.validation or "")) for tuning in (first, one)}
        if len(alike) > 1:
            raise UserError(
                f"{entry.name}: {first_name} was tuned {_how(first)}, and {name} {_how(one)}; tune one of them as the other was"
            )
    return first


def _how(tuning: Tuning) -> str:
    """`for macro, on all 1,972 validation images`."""
    return f"for {tuning.objective or 'macro'}, on {tuning.validation}"


def _require_of(document: Mapping[str, Any], entry: Entry, manifest: Manifest, path: Path, results: Path, cache: str) -> None:
    """Refuse a tuning that is not of this strategy, cache and code.

    Raises:
        UserError: the message names what differs.
    """
    wanted = {
        "strategy": entry.public_name,
        "cache_key": manifest.key,
        "fixed": {},
        "code": code_of(entry, document["choice"]).text,
    }
    anew = tune_command(entry, cache, results)
    if document.get("code") != wanted["code"] and document.get("strategy") == wanted["strategy"]:
        raise UserError(
            f"{path}: the code of {entry.public_name} changed since it was tuned (then {document.get('code')}, now {wanted['code']}); run `{with_results(document['command'], results)}`"
        )
    for name, value in wanted.items():
        if document.get(name) != value:
            raise UserError(f"{path}: its {name} is {document.get(name)!r}, and here it is {value!r}; run `{anew}`")


def chosen(entry: Entry, options: RunOptions, tuned_on: Manifest | None) -> tuple[dict[str, Any], Tuning | None]:
    """The hyper-parameters of the options, or with ``--tuned`` those that `tune` chose, with their tuning.

    Raises:
        UserError: ``--tuned`` without a cache, without a tuning, or together with given hyper-parameters.
    """
    given = options.strategy.hyperparameters
    if not options.tuned:
        return given, None
    if tuned_on is None:
        raise UserError(
            "--tuned takes what was chosen on a feature cache; name it with --cache" + (", in mode head" if options.mode != "head" else "")
        )
    if not entry.members:
        require_grid(entry)
    cache = options.cache or tuned_on.name
    choice = tuned_choice(entry, tuned_on, options.results, cache)
    if choice is None:
        raise UserError(
            f"{entry.public_name} was not tuned on cache {tuned_on.name}; run `{tune_command(entry, cache, options.results)}` first"
        )
    if given:
        raise UserError(f"--tuned takes the chosen hyper-parameters, and {', '.join(given)} was given too; leave one of them out")
    return choice
