"""TorchMetrics without the packages that it imports on the side, which would be half of the start of a command. Free of torch."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

ON_THE_SIDE = ("matplotlib", "scipy", "torchvision", "transformers")
"""Packages of metrics for sound, images, text and plots, of which none is used here."""
_imports_alone = False


def import_torchmetrics_alone() -> None:
    """Let the first import of TorchMetrics in this process take ``ON_THE_SIDE`` for not installed; nothing is imported yet.

    Lightning imports TorchMetrics. Only for lt-bench's own processes, such as commands and their workers: a program that imports the package may want those metrics.
    """
    global _imports_alone
    if "torchmetrics" not in sys.modules and not imports_torchmetrics_alone():
        sys.meta_path.insert(0, _Finder())
        _imports_alone = True


def import_torchmetrics_whole() -> None:
    """Undo `import_torchmetrics_alone` before user code is imported, which may use any metric; no effect once TorchMetrics is imported."""
    global _imports_alone
    if "torchmetrics" not in sys.modules:
        sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _Finder)]
        _imports_alone = False


def imports_torchmetrics_alone() -> bool:
    """Whether this process imports, or has imported, TorchMetrics without ``ON_THE_SIDE``."""
    return _imports_alone


class _Finder:
    """Finder for the first import of TorchMetrics: the usual module, executed without ``ON_THE_SIDE``."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torchmetrics":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _execute(execute, module)  # pyright: ignore[reportAttributeAccessIssue]
        return spec


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    from unittest import mock  # imports asyncio, which the help of a command does not need

    from lightning_utilities.core import imports

    class Cache(imports.RequirementCache):
        def __bool__(self) -> bool:
            return not (self.requirement or "").startswith(ON_THE_SIDE) and super().__bool__()

    available = imports.package_available
    with (
        mock.patch.object(imports, "RequirementCache", Cache),
        mock.patch.object(imports, "package_available", lambda name: name not in ON_THE_SIDE and available(name)),
    ):
        execute(module)
