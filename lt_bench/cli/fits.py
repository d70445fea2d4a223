"""The verbs that fit heads: ``run``, ``tune``, ``bench``, ``verify``, ``check``."""

from __future__ import annotations

from lt_bench.bench.options import BenchOptions, CheckOptions, RunOptions, TuneOptions, VerifyOptions
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError


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
    """The contract suite, printed check by check."""
    from lt_bench.bench.contract.check import check_strategy
    from lt_bench.strategies.registry import find

    if not options.strategy:
        raise UserError("check needs a strategy: a name, or the dotted path of your own, e.g. my_pkg.my_module.MyHead")
    findings = check_strategy(find(options.strategy))
    for finding in findings:
        output.say(f"  {'ok    ' if finding.problem is None else 'FAILED'}  {finding.asks}")
        if finding.problem is not None:
            output.say(f"          {finding.problem}")
    output.data([vars(finding) for finding in findings])
    failed = sum(finding.problem is not None for finding in findings)
    if failed:
        raise UserError(
            f"{options.strategy}: {failed} of {len(findings)} checks failed, see above; the contract is lt_bench/strategies/contract.py"
        )
    output.say(f"{options.strategy} keeps the contract: {len(findings)} checks")
