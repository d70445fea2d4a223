"""Predictions of an export for a file of features."""

import numpy as np
import pytest
from photos import write_photos

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.deploy import inputs
from lt_bench.deploy.files import publish
from tests.deploy.test_files import FEATURES, described, staged


def test_files_that_are_not_classified_are_counted(tmp_path, capsys, monkeypatch):
    root = write_photos(tmp_path / "images", {"a": 2})
    for name in ("list.csv", "a/phone.heic"):
        (root / name).write_text("x")
    monkeypatch.setattr(inputs, "EXTENSIONS", inputs.EXTENSIONS - inputs.HEIF)
    assert [path.name for path in inputs.image_paths(root)] == ["0.png", "1.png"]
    said = capsys.readouterr().err
    assert "2 files are no images by their names and not classified: a/phone.heic, list.csv; HEIC images are read where" in said
    assert "lt-bench[heif]" in said
    np.savez(tmp_path / "x.npz", features=FEATURES.numpy())
    with pytest.raises(UserError, match="takes images, not arrays of features"):
        inputs.image_paths(tmp_path / "x.npz")


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
