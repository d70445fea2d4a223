"""Units of work as a job array of SLURM, through submitit (an extra); one whose job dies is submitted again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import yaml

from lt_bench.bench.options import BenchOptions
from lt_bench.bench.workers import ATTEMPTS, Death
from lt_bench.core.errors import UserError

U = TypeVar("U")
R = TypeVar("R")

POLL = 2.0
"""Seconds between looks at the files that finished jobs leave."""

TIMEOUT = 240
"""Minutes of a job where ``--slurm-options`` say none; submitit's own 5 are too few for a large head."""


def submitted(do: Callable[[U], R], units: Sequence[U], options: BenchOptions) -> Iterator[tuple[U, R | Death]]:
    """What ``do`` returned for each unit, in the order in which the jobs end; ``Death`` for one whose job died ``ATTEMPTS`` times. Leaving early cancels the jobs.

    Raises:
        UserError: no submitit, no SLURM here, a parameter that submitit does not know, or SLURM refuses the jobs.
    """
    submitit, executor = _import(), _executor(options)
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


def parameters(options: BenchOptions) -> dict[str, Any]:
    """What the executor is told: the partition, how many jobs at a time, a GPU where ``--accelerator gpu`` is said, and ``--slurm-options``.

    Raises:
        UserError: one that is not NAME=VALUE.
    """
    parameters: dict[str, Any] = {
        "name": "lt-bench", "timeout_min": TIMEOUT, "slurm_partition": options.slurm, "slurm_array_parallelism": options.workers
    }  # fmt: skip
    if options.accelerator == "gpu":
        parameters["gpus_per_node"] = 1
    for word in options.slurm_options:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--slurm-options: {word!r} is not NAME=VALUE, e.g. timeout_min=60,cpus_per_task=8,slurm_account=lab")
        parameters[name] = yaml.safe_load(value)
    return parameters


def _executor(options: BenchOptions) -> Any:
    told = parameters(options)
    try:
        executor = _import().AutoExecutor(folder=options.results / "slurm", cluster="slurm")
        executor.update_parameters(**told)
    except (RuntimeError, NameError, AssertionError, ValueError) as error:
        raise UserError(f"SLURM cannot be used here: {' '.join(str(error).split())}") from None
    return executor


def _import() -> Any:
    try:
        import submitit
        import submitit.helpers
    except ImportError:
        raise UserError("--slurm needs submitit: pip install 'lt-bench[slurm]'") from None
    return submitit
