"""The suite's version, said here once."""

__version__ = "0.2.0.dev0"
