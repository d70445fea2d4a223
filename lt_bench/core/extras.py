"""Optional packages, each installed by an extra of pip."""

from __future__ import annotations

import importlib.util

from lt_bench.core.errors import UserError


def require_extra(package: str, extra: str, what: str) -> None:
    """Check that an optional package is installed.

    Args:
        package: name of the package, as it is imported.
        extra: extra of lt-bench that installs the package.
        what: user of the package, the beginning of the message.

    Raises:
        UserError: the package is not there.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs the package {package}; `pip install 'lt-bench[{extra}]'` installs it")
