"""The command line as a process: ``lt-bench``, and ``python -m lt_bench`` for launchers such as torchrun that start modules."""

import os
import sys

if __name__ == "__main__" and sys.path[0] == os.getcwd():  # noqa: PTH109 - nothing that is not loaded yet may be imported here
    del sys.path[0]  # `python -m` puts the current folder first, where a csv.py of the user's would be taken for Python's

from lt_bench.cli.main import main
from lt_bench.core.exiting import exit_at_once
from lt_bench.core.lean_import import import_torchmetrics_alone


def start() -> None:
    """Do what the arguments say, and end the process with its exit code."""
    import_torchmetrics_alone()
    with exit_at_once():
        sys.exit(main())


if __name__ == "__main__":
    start()
