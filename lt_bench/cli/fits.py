"""The verbs that fit heads: ``run``, ``tune``, ``bench``, ``verify``, ``check``."""

from __future__ import annotations

from lt_bench.bench.options import BenchOptions, CheckOptions, RunOptions, TuneOptions, VerifyOptions
from lt_bench.cli.output import Output


def run_verb(options: RunOptions, output: Output) -> None:
    """Fit and record."""
    from lt_bench.bench.run import run

    run(options)


def tune_verb(options: TuneOptions, output: Output) -> None:
    """Choose hyper-parameters, by several processes where that pays."""
    from lt_bench.bench.tuning.tune import tune

    tune(options, auto_workers=True)


def bench_verb(options: BenchOptions, output: Output) -> None:
    """Run a suite, by several processes where that pays."""
    from lt_bench.bench.suite.run import bench

    bench(options, auto_workers=True)


def verify_verb(options: VerifyOptions, output: Output) -> None:
    """Run a record again and compare."""
    from lt_bench.bench.verify import verify

    verify(options)


def check_verb(options: CheckOptions, output: Output) -> None:
    """The contract suite."""
    from lt_bench.bench.contract.check import check

    check(options)
