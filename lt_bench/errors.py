"""The one exception that a user is meant to see."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: one line that says what was wrong, where, and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """
