"""Two measurements of one run, metric by metric. Free of torch."""

from __future__ import annotations

import math

from lt_bench.results.record import RunRecord

TOLERANCE = 1e-5
"""Largest difference (``compare``) of a run that repeats: what sums of float32 in another order make, beside other heads or alone."""


def compare(before: RunRecord, after: RunRecord) -> dict[str, float]:
    """Difference of every metric of ``before`` by ``view/name``, relative to values above 1 and else absolute; infinite for a metric that is NaN in one record only."""
    differences = {}
    for view, metrics in before.metrics.items():
        for name, value in metrics.items():
            other = after.metrics.get(view, {}).get(name, math.nan)
            both_missing = math.isnan(value) and math.isnan(other)
            difference = 0.0 if both_missing else abs(value - other) / max(1.0, abs(value))
            differences[f"{view}/{name}"] = math.inf if math.isnan(difference) else difference
    return differences
