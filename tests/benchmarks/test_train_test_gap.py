import csv
import sys

import pytest

from benchmarks import train_test_gap

OPTIONS = ("--dataset", "embeddings", "--cache", "small")


@pytest.mark.slow
def test_gaps_are_those_of_the_records(cli, small_cache, tmp_path, monkeypatch):
    results, out = tmp_path / "results", tmp_path / "gap"
    for name in ("joint", "ncm"):
        assert cli("run", "--strategy", name, *OPTIONS, "--results", str(results)).code == 0
    given = ["--results", str(results), "--out", str(out), "--strategies", "ncm,joint"]
    monkeypatch.setattr(sys, "argv", ["train_test_gap.py", *given])
    train_test_gap.main()
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert [int(row["train_images"]) for row in rows] == [60, 41, 25, 13, 5, 1]
    for row in rows:
        for name in ("ncm", "joint"):
            train, test, gap = (float(row[f"{name} {what}"]) for what in ("train", "test", "gap"))
            assert gap == pytest.approx(train - test, abs=1e-4)
            assert test * 7 == pytest.approx(round(test * 7), abs=1e-3)  # seven test images a class
    text = out.with_suffix(".md").read_text()
    few = 100 * sum(float(row["joint gap"]) for row in rows[3:]) / 3
    assert f"| {few:.1f} | " in next(line for line in text.splitlines() if line.startswith("| joint |"))
    assert out.with_suffix(".svg").exists() or out.with_suffix(".png").exists()


def test_two_boards_are_refused(cli, small_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["train_test_gap.py", "--results", str(tmp_path), "--out", str(tmp_path / "gap"), "--mode", "end-to-end"]
    )
    assert cli("run", "--strategy", "joint", *OPTIONS, "--results", str(tmp_path)).code == 0
    with pytest.raises(SystemExit, match="0 boards of protocol clean and mode end-to-end, expected one"):
        train_test_gap.main()
