"""The one exception that a user is meant to see."""

from __future__ import annotations

import traceback

FAILURES_OF_CODE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Exceptions that a faulty strategy, or one that runs out of memory, may raise."""


class UserError(Exception):
    """Something the user can mend: one line that says what was wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


def unreadable(path: object, error: OSError) -> UserError:
    """The error of a file or folder of the user's that the system does not let us read: it may be whole, so that no copy is asked for."""
    return UserError(f"{path}: cannot be read ({error.strerror or error}); allow reading it, or move it elsewhere")


def printable(text: str) -> str:
    """Text in one line without control characters, which would steer the terminal: they are written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == " " else one.encode("unicode_escape").decode() for one in " ".join(text.split("\n")))


def described(error: BaseException) -> str:
    """An exception in one line: a user's or the system's as it is, another by its type and by file and line of where it was raised."""
    message = " ".join(str(error).split())
    if isinstance(error, UserError | OSError):
        return message
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {at.filename}:{at.lineno} ({at.name}): {message}"
