"""The folders and commands behind the figures of the guide to own data."""

from __future__ import annotations

import subprocess

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from benchmarks import guide


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "tables").mkdir()
    for name, count in (("train", 9), ("val", 4)):
        rows = [{"image": {"bytes": f"{name} {row}".encode(), "path": ""}, "label": row % 2} for row in range(count)]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"classes": "ant,bee"})
        parquet.write_table(table, tmp_path / "tables" / f"{name}.parquet")
    return tmp_path / "tables"


def test_every_image_is_in_one_folder_of_its_class(tables, tmp_path):
    for out in ("one", "two"):
        guide.make_folders(tables, tmp_path / out, 5)
    files = {folder: {str(path.relative_to(tmp_path / "one" / folder)): path.read_text() for path in (tmp_path / "one" / folder).rglob("*.jpg")} for folder in ("photos", "later")}  # fmt: skip
    assert len(files["later"]) == 5
    both = files["later"] | files["photos"]
    assert both == {
        f"{('ant', 'bee')[row % 2]}/{name}-{row:05d}.jpg": f"{name} {row}"
        for name, count in (("train", 9), ("val", 4))
        for row in range(count)
    }
    assert {path.name for path in (tmp_path / "two" / "later").rglob("*.jpg")} == {name.split("/")[1] for name in files["later"]}


def test_the_commands_are_the_guides(tmp_path, monkeypatch):
    lines = []

    def call(words, *, cwd, **_):
        lines.append(words[3:])
        if words[3] == "run":
            record = cwd / "results" / "folder" / "los-0123.json"
            record.parent.mkdir(parents=True)
            record.write_text("{}")
        return subprocess.CompletedProcess(words, 0, stdout="said\n")

    monkeypatch.setattr(guide.subprocess, "run", call)
    (tmp_path / "later" / "ant").mkdir(parents=True)
    (tmp_path / "later" / "ant" / "1.jpg").touch()
    said = list(guide.run_all(tmp_path))
    assert [words[0] for words in lines] == ["data", "extract", "choose", "run", "report", "export", "evaluate", "update"]
    assert all(text.endswith("said\n\n") for text in said)
    assert lines[5] == ["export", "--record", "results/folder/los-0123.json", "--out", "EXPORT"]
    assert (tmp_path / "photos" / "ant" / "1.jpg").exists()


def test_a_command_that_fails_ends_the_guide(tmp_path, monkeypatch):
    monkeypatch.setattr(guide.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 2, stdout="no such place\n"))
    with pytest.raises(SystemExit, match="lt-bench data check folder --data-dir photos` ended with code 2"):
        list(guide.run_all(tmp_path))


def test_a_folder_of_an_earlier_call_is_refused(tables, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "guide.log").touch()
    monkeypatch.setattr("sys.argv", ["guide.py", str(tables), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="2"):
        guide.main()
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["guide.log"]
