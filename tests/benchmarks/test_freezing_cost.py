"""Differences between the protocols of freezing, from a table whose differences are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import freezing_cost


def test_steps_are_differences_between_protocols():
    shift = {"clean": 0.0, "images-eval": 1.0, "images-train": 3.0}
    noise = np.array([-0.1, 0.0, 0.1])
    lines = [
        {"strategy": "los", "protocol": protocol, **dict.fromkeys(freezing_cost.GROUPS, 40 + by + one)}
        for protocol, by in shift.items()
        for one in noise
    ]
    rows = [line.split("|")[2:4] for line in freezing_cost.report(pd.DataFrame(lines)).splitlines() if line.startswith("| `los`")]
    found = {step.strip(): cell.split(" ± ") for step, cell in rows}
    assert [float(found[step][0]) for step in freezing_cost.STEPS] == pytest.approx([1, 2, 3])
    half = 2.776 * np.sqrt(2 * noise.var(ddof=1) / 3)  # t of four degrees of freedom
    assert [float(found[step][1]) for step in freezing_cost.STEPS] == pytest.approx([half] * 3, abs=0.006)
