"""Scores of an unfinished tuning, in a sealed file beside the tuning's, from which the same command resumes after a kill."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.tuned import AGAIN
from lt_bench.bench.validation import Validation
from lt_bench.core.devices import device_name
from lt_bench.core.environment import environment
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text
from lt_bench.core.identity import record_id
from lt_bench.core.launchers import is_first_process
from lt_bench.core.processes import current
from lt_bench.core.seals import check_seal, check_version, read_json_object, sealed
from lt_bench.leaderboard.objective.objective import Objective

SCHEMA_VERSION = 1
SUFFIX = ".unfinished"


class Score(NamedTuple):
    """The objective of a head on each draw of validation images and on all of them (the worst possible value where its fit diverged), and the signs of a wrong fit (`results.health`)."""

    draws: tuple[float, ...]
    whole: float
    signs: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The value of the first draw, which decides."""
        return self.draws[0]


class UnfinishedScores:
    """Scores by run id, of the plain fits and of those from a shifted start, in memory and on disk.

    Args:
        path: of the file.
        identity: all that determines the scores, as plain JSON.

    Raises:
        UserError: the file is damaged, altered, or of another version.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path, self._identity = path, identity
        self._scores: dict[str, dict[str, Score]] = current().first_does(self._read)

    def of(self, shifted: bool) -> dict[str, Score]:
        """The scores so far."""
        return dict(self._scores[_name(shifted)])

    def add(self, shifted: bool, scores: Mapping[str, Score]) -> None:
        """Write further scores; the file is whole at any time."""
        self._scores[_name(shifted)].update(scores)
        if is_first_process():
            document = sealed({"schema": SCHEMA_VERSION, "identity": self._identity, "scores": json.loads(json.dumps(self._scores))})
            write_text(self.path, json.dumps(document) + "\n")

    def _read(self) -> dict[str, dict[str, Score]]:
        if not self.path.is_file():
            return {_name(shifted): {} for shifted in (False, True)}
        document = read_json_object(self.path, f"move it away and {AGAIN}")
        check_version(document, SCHEMA_VERSION, self.path, "scores of an unfinished tuning", AGAIN)
        check_seal(document, self.path, AGAIN)
        if document["identity"] != self._identity:
            raise UserError(f"{self.path}: of another tuning than its name says; move it away and {AGAIN}")
        return {
            start: {run: Score(tuple(draws), whole, tuple(signs)) for run, (draws, whole, signs) in scores.items()}
            for start, scores in document["scores"].items()
        }


def _name(shifted: bool) -> str:
    return "shifted" if shifted else "plain"


def unfinished_scores(
    tuning: Path, bench: CacheSource, planned: Sequence[Sequence[Planned]], objective: Objective, validation: Validation
) -> UnfinishedScores:
    """Scores of the tuning that will be written to ``tuning``, under the hash of all that determines them: other code, another grid or objective has a file of its own.

    Raises:
        UserError: as ``UnfinishedScores``.
    """
    identity = inputs_of(bench, planned, objective, validation)
    return UnfinishedScores(tuning.with_name(f"{tuning.stem}-{record_id(identity)}{SUFFIX}"), identity)


def inputs_of(bench: CacheSource, planned: Sequence[Sequence[Planned]], objective: Objective, validation: Validation) -> dict[str, Any]:
    """Inputs that determine the scores of a tuning, as plain JSON."""
    versions = environment(device_name(bench.device), bench.hardware.layout.world)
    return {
        "runs": [run.id for runs in planned for run in runs], "code": sorted({run.code.text for runs in planned for run in runs}),
        "cache_key": bench.manifest.key, "objective": objective.identity, "validation": dict(vars(validation)),
        **{name: versions[name] for name in ("lt_bench", "torch", "numpy", "device", "devices")},
    }  # fmt: skip


def remove_unfinished(tuning: Path) -> None:
    """Remove the unfinished scores of a tuning that is written now."""
    for path in tuning.parent.glob(f"{glob.escape(tuning.stem)}-{'?' * 16}{SUFFIX}"):
        path.unlink(missing_ok=True)
