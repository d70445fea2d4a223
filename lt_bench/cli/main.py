"""The entry point: runs the verb of a command, and turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext

from lt_bench.cli.request import Request, read_request
from lt_bench.cli.verbs import BEGINS, VERBS
from lt_bench.core.activity import shown
from lt_bench.core.errors import UserError, message_of, printable
from lt_bench.core.launchers import is_first_process

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
LEAST_MEMORY = 256 << 20
"""Bytes of address space without which the linear algebra under numpy ends the process, or waits for ever."""
NO_MEMORY = ("can't allocate memory", "can't start new thread", "annot allocate memory", "failed to map segment", "out of memory")
"""Parts of the messages of torch, of threads and of the loader of libraries where memory is exhausted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for errors that the user can mend, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return _failed(f"interrupted; {VERBS[words[0]].interrupted if words and words[0] in VERBS else BEGINS}", words, EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich ends the process where the reader of a table left
            return _reader_left()
        raise
    except UserError as error:
        return _failed(str(error), words)
    except RecursionError:
        return _failed("something in the input is nested too deeply", words)
    except MemoryError as error:
        return _failed(_memory(error), words)
    except (RuntimeError, ImportError) as error:
        if not any(sign in str(error) for sign in NO_MEMORY):
            raise
        return _failed(_memory(error), words)
    except OSError as error:  # a full disk, a place that cannot be read or written
        return _failed(message_of(error), words)


def _memory(error: BaseException) -> str:
    lines = str(error).splitlines()  # numpy says a page of advice about its installation around the line of the loader
    line = next((line for line in lines if any(sign in line for sign in NO_MEMORY)), str(error))
    reason = " ".join(line.split()).removeprefix("Original error was: ")[:200]
    return f"not enough memory{f' ({reason})' if reason else ''}; free some, raise the limit (ulimit -v), or use smaller inputs or fewer --workers"


def _failed(message: str, words: Sequence[str], code: int = EXIT_USER_ERROR) -> int:
    if "--traceback" in words:
        traceback.print_exc()
    else:
        print(f"lt-bench: {printable(message)}", file=sys.stderr)  # noqa: T201
    return code


def _reader_left() -> int:
    """Drop further output where the reader has left, as in ``lt-bench leaderboard | head -1``; returns the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        return _overview(words)
    name, rest = words[0], words[1:]
    if name not in VERBS:
        from lt_bench.core.names import suggestion

        raise UserError(f"unknown verb {name!r}{suggestion(name, VERBS)}; `lt-bench --help` lists them")
    request = read_request(name, rest)
    if request is None:
        return 0
    from lt_bench.cli.output import Output

    verb, output, start = VERBS[name], Output(request.json, request.quiet), time.perf_counter()
    if request.verbose:
        _say_request(request)
    _check_address_space()
    with output.in_force():
        if verb.preflight:
            from lt_bench.cli import preflight

            getattr(preflight, verb.preflight)(request.options)
        with nullcontext() if request.quiet or not is_first_process() else shown(sys.stderr):
            verb.function()(request.options, output)
    if request.verbose:
        print(f"lt-bench: {name} took {time.perf_counter() - start:.1f} s", file=sys.stderr)  # noqa: T201
    return 0


def _check_address_space() -> None:
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEMORY:
        raise MemoryError(f"the limit is {limit >> 20} MiB, the least {LEAST_MEMORY >> 20} MiB")


def _overview(words: list[str]) -> int:
    """``lt-bench``, ``lt-bench --help`` and ``lt-bench --version``."""
    from jsonargparse import ArgumentError

    from lt_bench.cli.parser import root_parser

    root = root_parser({})
    try:
        root.parse_args(words or ["--help"])
    except ArgumentError as error:
        raise UserError(f"{' '.join(str(error).split())}; `lt-bench --help` lists what there is") from None
    except SystemExit:
        return 0
    return 0


def _say_request(request: Request) -> None:
    from lt_bench.cli.environment import variable

    variables = [name for name in os.environ if name.startswith(variable(request.verb, ""))]
    for line in (
        f"options {request.options}",
        f"read from {', '.join([*request.sources, *variables, 'the command line'])}",
    ):
        print(f"lt-bench: {line}", file=sys.stderr)  # noqa: T201
