"""lt-bench: classifier re-training for long-tailed recognition, compared honestly on the same frozen features."""

from lt_bench.core.version import __version__

__all__ = ["__version__"]
