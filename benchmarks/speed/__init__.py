"""Costs of lt-bench: every figure beside its floor or its peer, measured in the same run. ``python -m benchmarks.speed``."""
