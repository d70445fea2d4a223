"""The end of a process: its exit code, what it said and its exit handlers are those of any Python program; only what comes after them is left out."""

import subprocess
import sys

import pytest

BLOCK = """
import atexit, sys
from lt_bench.core.exiting import exit_at_once
class Late:
    def __del__(self):
        print("taken apart")
late = Late()
with exit_at_once():
    atexit.register(print, "handler")
    sys.stdout.write("said ")
    {end}
"""


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("pass", 0, ""),
        ("sys.exit(130)", 130, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('why')", 1, "why\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_a_process_ends_with_its_code_after_its_handlers_and_before_it_is_taken_apart(end, code, error):
    done = subprocess.run([sys.executable, "-c", BLOCK.format(end=end)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "said handler\n")
    assert error in done.stderr
