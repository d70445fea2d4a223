"""Predictions of an export for a file of features."""

import numpy as np
import pytest

from lt_bench.cli.main import main
from lt_bench.deploy.files import publish
from tests.deploy.test_files import FEATURES, described, staged


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named_and_nothing_is_written(value, tmp_path, capsys):
    publish(tmp_path / "export", staged(tmp_path / "new"), described())
    features = FEATURES.numpy().copy()
    features[[1, 3], 2] = value
    np.savez(tmp_path / "x.npz", features=features)
    words = ["predict", str(tmp_path / "export"), str(tmp_path / "x.npz"), "--out", str(tmp_path / "out.csv")]
    assert main(words) == 2
    assert capsys.readouterr().err.rstrip().endswith("NaN or infinity in 2 rows, the first is row 1; mend or leave out these rows")
    assert not (tmp_path / "out.csv").exists()
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    assert main(words) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6
