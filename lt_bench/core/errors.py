"""The one exception that a user is meant to see, and errors of the system in its words."""

from __future__ import annotations

import errno
import os
import traceback

FAILURES_OF_CODE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Exceptions that a faulty strategy, or one that runs out of memory, may raise."""


class UserError(Exception):
    """Something the user can mend: one line that says what was wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


class NotWrittenError(OSError):
    """A file that cannot be written, under its own name where the system names the temporary file that would take its place."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written ({self.strerror}){_advice(self)}"


def message_of(error: OSError) -> str:
    """An error of the system in one line that ends with advice where its number has one."""
    if isinstance(error, NotWrittenError):
        return str(error)
    said = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return f"{said}{_advice(error)}"


def _advice(error: OSError) -> str:
    """Advice, after a semicolon; empty where another place would not help, or may not."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "; free some space, or choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "; allow it, or choose another place"
    no_place = isinstance(error, NotWrittenError) and error.errno in (errno.ENOTDIR, errno.ENOENT)
    return "; choose another place" if no_place or error.errno == errno.EROFS else ""


def unreadable(path: object, error: OSError) -> UserError:
    """The error of a file or folder of the user's that the system does not let us read, or cannot: it may be whole, so that no copy is asked for."""
    reason = os.strerror(error.errno) if error.errno else error  # libraries have texts of their own
    advice = "allow reading it, or move it elsewhere" if isinstance(error, PermissionError) else "see that the disk is there and whole"
    return UserError(f"{path}: cannot be read ({reason}); {advice}")


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
