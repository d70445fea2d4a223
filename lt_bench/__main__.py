"""The command line as a process: ``lt-bench``, and ``python -m lt_bench`` for launchers such as torchrun that start modules."""

import sys

from lt_bench.cli.main import main
from lt_bench.core.exiting import exit_at_once


def start() -> None:
    """Do what the arguments say, and end the process with its exit code."""
    with exit_at_once():
        sys.exit(main())


if __name__ == "__main__":
    start()
