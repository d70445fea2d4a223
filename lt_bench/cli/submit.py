"""``lt-bench submit``."""

from __future__ import annotations

from lt_bench.bench.options import SubmitOptions
from lt_bench.bench.submission import shown, submit
from lt_bench.cli.output import Output
from lt_bench.core.commands import word
from lt_bench.core.names import counted


def submit_verb(options: SubmitOptions, output: Output) -> None:
    """Make the folder, and say what is in it and what comes next."""
    statement = submit(options)
    facts = shown(statement)
    names = ", ".join(facts["sources"]) or "none, the strategy is the suite's"
    output.say(f"{options.out}: {counted(facts['records'], 'record')} of {statement.strategy}, source {names}, tunings {facts['tunings']}")
    output.say(f"next: lt-bench validate {word(options.out)}, then a pull request with it in benchmarks/submissions/ (CONTRIBUTING.md)")
    output.data({"folder": options.out, "statement": statement.to_json(), **facts})
