"""Packages that a plain install leaves out, each behind an extra of pip."""

from __future__ import annotations

import importlib.util

from lt_bench.core.errors import UserError


def require_extra(package: str, extra: str, what: str) -> None:
    """Refuse what needs a package that is not installed.

    Args:
        package: that is imported.
        extra: of lt-bench that brings it.
        what: needs it, the beginning of the message.

    Raises:
        UserError: the package is not there.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs the package {package}; `pip install 'lt-bench[{extra}]'` installs it")
