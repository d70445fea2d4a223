"""From run records to tables, intervals, rank groups, plots and pages; free of torch.

The package is a function, too: ``lt_bench.leaderboard(records).frame``. A function beside it in ``lt_bench`` would hide it, or be hidden by it, whichever is imported
last.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lt_bench.leaderboard.leaderboard import Leaderboard


class _CallableModule(types.ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Leaderboard:
        """Call ``lt_bench.leaderboard.leaderboard.leaderboard``."""
        from lt_bench.leaderboard.leaderboard import leaderboard

        return leaderboard(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
