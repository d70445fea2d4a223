"""The checks of ``lt-bench check``, which every strategy has to pass."""
