"""Units of work as a job array of SLURM, through submitit (an extra); one whose job dies is submitted again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lt_bench.bench.workers import ATTEMPTS, Death
from lt_bench.core.documents import parse_yaml
from lt_bench.core.errors import UserError

U = TypeVar("U")
R = TypeVar("R")

POLL = 2.0
"""Seconds between looks at the files that finished jobs leave."""

TIMEOUT = 240
"""Minutes of a job where ``--slurm-options`` say none; submitit's own 5 are too few for a large head."""


@dataclass(frozen=True)
class Jobs:
    """Settings of the submitted jobs.

    Attributes:
        partition: partition of the cluster.
        folder: directory of scripts and logs.
        at_once: maximal number of jobs that run at a time; None for no limit.
        accelerator: accelerator of each job; with ``gpu`` a job requests a GPU.
        more: parameters of submitit, NAME=VALUE.
    """

    partition: str
    folder: Path
    at_once: int | None = None
    accelerator: str = "auto"
    more: Sequence[str] = ()


def submitted(do: Callable[[U], R], units: Sequence[U], how: Jobs) -> Iterator[tuple[U, R | Death]]:
    """Yield each unit with the result of ``do``, in the order in which jobs end; ``Death`` for a unit whose job died ``ATTEMPTS`` times. Closing the iterator early cancels the jobs.

    Raises:
        UserError: no submitit, no SLURM here, a parameter that submitit does not know, or SLURM refuses the jobs.
    """
    submitit, executor = _import(), _executor(how)
    left = list(units)
    for attempt in range(ATTEMPTS):
        if not left:
            return
        try:
            jobs = executor.map_array(do, left)
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError) as error:
            raise UserError(f"SLURM refuses the jobs: {' '.join(str(error).split())}") from None
        unit_of, left = dict(zip(jobs, left, strict=True)), []
        try:
            for job in submitit.helpers.as_completed(jobs, poll_frequency=POLL):
                if job.exception() is None:
                    yield unit_of[job], job.result()
                elif attempt + 1 < ATTEMPTS:
                    left.append(unit_of[job])
                else:
                    yield unit_of[job], Death(f"{job.state}, see {job.paths.stderr}")
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel(check=False)


def parameters(how: Jobs) -> dict[str, Any]:
    """Parameters of submitit's executor.

    Raises:
        UserError: an entry of ``more`` is not NAME=VALUE.
    """
    told: dict[str, Any] = {
        "name": "lt-bench", "timeout_min": TIMEOUT, "slurm_partition": how.partition, "slurm_array_parallelism": how.at_once
    }  # fmt: skip
    if how.accelerator == "gpu":
        told["gpus_per_node"] = 1
    for word in how.more:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--slurm-options: {word!r} is not NAME=VALUE, e.g. timeout_min=60,cpus_per_task=8,slurm_account=lab")
        try:
            told[name] = parse_yaml(value)
        except ValueError as error:
            raise UserError(f"--slurm-options: {word!r}: {error}") from None
    own = told.get("slurm_setup") or []
    # A job is started as `python -m`, with the folder that it starts in first on its path.
    told["slurm_setup"] = ["export PYTHONSAFEPATH=1", *([own] if isinstance(own, str) else own)]
    return told


def _executor(how: Jobs) -> Any:
    told = parameters(how)
    try:
        executor = _import().AutoExecutor(folder=how.folder, cluster="slurm")
        executor.update_parameters(**told)
    except (RuntimeError, NameError, AssertionError, ValueError) as error:
        raise UserError(f"SLURM cannot be used here: {' '.join(str(error).split())}") from None
    return executor


def _import() -> Any:
    try:
        import submitit
        import submitit.helpers
    except ImportError:
        raise UserError("--slurm needs the package submitit; `pip install 'lt-bench[slurm]'` installs it") from None
    return submitit
