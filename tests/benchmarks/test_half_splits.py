"""Halves of validation: what is chosen on one is measured on the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import half_splits as module
from lt_bench.features.locate import known_caches


def test_halves_hold_half_of_every_class_and_repeat() -> None:
    labels = np.repeat([0, 1, 3], [20, 7, 1])
    sizes = np.array([np.bincount(labels[module.half_of(labels, seed)], minlength=4) for seed in range(40)])
    assert np.array_equal(module.half_of(labels, 5), module.half_of(labels, 5))
    assert (sizes[:, 0] == 10).all()
    assert set(sizes[:, 1]) == {3, 4}
    assert set(sizes[:, 3]) == {0, 1}


def test_macro_accuracy_is_over_the_classes_that_are_there() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    correct = np.array([[1.0, 0.0, 0.5, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(module.macro(correct, labels, np.array([True, True, True, True, False])), [0.75, 0.5])


def test_the_point_is_chosen_on_one_half_and_measured_on_the_other() -> None:
    labels = np.repeat([0, 1], 6)
    first = module.half_of(labels, 0)
    correct = np.stack([first, ~first, np.full(12, 0.4)]).astype(float)  # two points that remember a half, one that is as good on both
    one, other = module.choices("any", [{"a": 0}, {"a": 1}, {"a": 2}], correct, labels, halves=1)
    assert (one.point, one.chosen_at, one.measured) == ({"a": 0}, 1.0, 0.0)
    assert (other.point, other.chosen_at, other.measured) == ({"a": 1}, 1.0, 0.0)


def test_rows_are_differences_on_the_same_halves() -> None:
    def made(name: str, values: list[float]) -> list:
        return [module.Choice(name, number // 2, number % 2, {"tau": number // 3}, 1.0, value) for number, value in enumerate(values)]

    base, row = module.rows_of({"base": made("base", [0.1, 0.3, 0.4, 0.4]), "own": made("own", [0.2, 0.3, 0.2, 0.6])}, "base")
    assert base[:5] == ("base", "30.00", "", "", "")
    assert row == ("own", "32.50", "+2.50", "+0.00 to +5.00", "1 of 2", '`{"tau": 0}` (3 of 4)')


def test_the_command_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path, manifest), *_ = known_caches()
    monkeypatch.setattr(
        "sys.argv", ["half_splits.py", "--cache", str(path), "--strategies", "tau_norm", "--halves", "2", "--out", str(tmp_path / "o")]
    )
    module.main()
    assert f"`{manifest.key}`" in (tmp_path / "o.md").read_text()
    rows = (tmp_path / "o.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["logit_adjustment"] * 4 + ["tau_norm"] * 4
