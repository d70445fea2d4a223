"""lt-bench: classifier re-training for long-tailed recognition, compared honestly on the same frozen features.

``import lt_bench as lt`` costs milliseconds; what is used is imported when it is used:

    cache = lt.open_cache("cifar100_lt-if100-resnet10s2")
    runs = lt.fit("los", cache, seeds=range(5)) + lt.fit("crt", cache, seeds=range(5))
    lt.leaderboard(runs).frame
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lt_bench.core.version import __version__

if TYPE_CHECKING:
    from lt_bench.api.cache import Cache, open_cache
    from lt_bench.api.functions import choose, evaluate, fit, tune
    from lt_bench.api.outcomes import Choice, Run, Runs, Tuning
    from lt_bench.core.errors import UserError
    from lt_bench.deploy.classifier import Classifier, load_classifier
    from lt_bench.features.cache import Head
    from lt_bench.features.samplers import Sampler
    from lt_bench.leaderboard.leaderboard import leaderboard
    from lt_bench.strategies.composition import compose
    from lt_bench.strategies.contract import Strategy
    from lt_bench.strategies.facts import Facts
    from lt_bench.strategies.hyper import hyper
    from lt_bench.strategies.official import Official
    from lt_bench.strategies.recipe import Recipe

_MODULES = {
    **dict.fromkeys(("Cache", "open_cache"), "api.cache"),
    **dict.fromkeys(("Choice", "Run", "Runs", "Tuning"), "api.outcomes"),
    **dict.fromkeys(("choose", "evaluate", "fit", "tune"), "api.functions"),
    "Classifier": "deploy.classifier",
    "Facts": "strategies.facts",
    "Head": "features.cache",
    "Official": "strategies.official",
    "Recipe": "strategies.recipe",
    "Sampler": "features.samplers",
    "Strategy": "strategies.contract",
    "UserError": "core.errors",
    "compose": "strategies.composition",
    "hyper": "strategies.hyper",
    "load_classifier": "deploy.classifier",
}

__all__ = [
    "Cache",
    "Choice",
    "Classifier",
    "Facts",
    "Head",
    "Official",
    "Recipe",
    "Run",
    "Runs",
    "Sampler",
    "Strategy",
    "Tuning",
    "UserError",
    "__version__",
    "choose",
    "compose",
    "evaluate",
    "fit",
    "hyper",
    "leaderboard",
    "load_classifier",
    "open_cache",
    "tune",
]


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "leaderboard":  # the package, which is a function
        return importlib.import_module(f"{__name__}.leaderboard")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
