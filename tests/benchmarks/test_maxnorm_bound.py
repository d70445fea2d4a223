import sys

import pytest

from benchmarks import maxnorm_bound
from lt_bench.features.cache import open_cache


def test_rows_are_shortened_to_the_radius_of_their_threshold(small_cache, tmp_path, monkeypatch):
    out = tmp_path / "bound.md"
    monkeypatch.setattr(sys, "argv", ["maxnorm_bound.py", "--caches", str(small_cache), "--out", str(out)])
    maxnorm_bound.main()
    lines = [line for line in out.read_text().splitlines() if line.startswith("| 0") or line.startswith("| 1 ")]
    rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    norms = open_cache(small_cache).head().weight.float().norm(dim=1)
    assert list(rows) == ["0", "0.1", "0.3", "0.6", "1"]
    for threshold, cells in rows.items():
        radius = float(norms.min() + float(threshold) * (norms.max() - norms.min()))
        assert float(cells[1]) == pytest.approx(radius, abs=0.006)
        assert int(cells[2]) == int((norms > radius * (1 + 1e-6)).sum())
    joint = out.read_text().partition("`joint` ")[2].partition(".\n")[0]
    assert rows["1"][3] == joint  # a bound that reaches no row leaves the head as it is
    assert rows["0"][3] != joint
