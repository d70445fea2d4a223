"""lt-bench: classifier re-training for long-tailed recognition, compared honestly on the same frozen features."""

__version__ = "0.1.0"
