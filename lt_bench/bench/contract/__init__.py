"""What every strategy has to keep: the checks of ``lt-bench check``."""
