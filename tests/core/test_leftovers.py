"""A killed process leaves a temporary file; the next one removes it, and touches no running process's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lt_bench.core import leftovers
from lt_bench.core.files import replacing, write_text
from lt_bench.core.leftovers import remove_leftovers, temporary_beside, temporary_directory

WRITER = """
import sys, time
from pathlib import Path
from lt_bench.core.files import replacing
from lt_bench.core.leftovers import temporary_beside, temporary_directory
with replacing(Path(sys.argv[1]) / "file") as temporary:
    temporary.write_text("half")
    temporary_beside(Path(sys.argv[1]) / "folder").mkdir()
    kept = temporary_directory()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def afresh(monkeypatch):
    """Folders count as not searched yet, as in a new process."""

    def forget():
        monkeypatch.setattr(leftovers, "_SEARCHED", set())

    forget()
    return forget


def test_what_a_killed_process_leaves_is_removed_and_a_running_ones_is_not(tmp_path, afresh, monkeypatch):
    (tmp_path / "system").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(tmp_path / "system")}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        written = {path.name for path in tmp_path.iterdir()}
        assert len(written) == 3
        write_text(tmp_path / "other", "whole")
        temporary_directory().cleanup()
        assert {path.name for path in tmp_path.iterdir()} == written | {"other"}
        assert len(list((tmp_path / "system").iterdir())) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert {path.name for path in tmp_path.iterdir()} == written | {"other"}
        afresh()
        write_text(tmp_path / "other", "again")
        temporary_directory().cleanup()
        assert {path.name for path in tmp_path.iterdir()} == {"other", "system"}
        assert list((tmp_path / "system").iterdir()) == []
    finally:
        writer.kill()


def test_names_of_others_stay(tmp_path, afresh):
    mine = temporary_beside(tmp_path / "file")
    other_machine = tmp_path / mine.name.replace(leftovers._machine(), "0" * 12)
    reused_number = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{os.getpid()}-1")
    strangers = [tmp_path / name for name in (".file.partial", "file.partial", ".data.1234abcd.partial", f"{mine.name}x")]
    for path in (mine, other_machine, reused_number, *strangers):
        path.write_text("x")
    afresh()
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, other_machine, *strangers}
    old = time.time() - 2 * leftovers.FORGOTTEN
    os.utime(other_machine, (old, old))
    afresh()
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, *strangers}


def test_two_machines_of_one_name_leave_each_others_files(tmp_path, afresh, monkeypatch):
    """Only the boot tells them apart; no process of theirs can be seen."""
    of_another = tmp_path / temporary_beside(tmp_path / "file").name.replace(f"-{os.getpid()}-", "-1-7")
    of_another.write_text("half")
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: "another" if path.name == "boot_id" else read_text(path, **how))
    leftovers._machine.cache_clear()
    try:
        afresh()
        remove_leftovers(tmp_path)
        assert of_another.exists()
        old = time.time() - 2 * leftovers.FORGOTTEN
        os.utime(of_another, (old, old))
        afresh()
        remove_leftovers(tmp_path)
        assert not of_another.exists()
    finally:
        leftovers._machine.cache_clear()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path, afresh):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "image").write_text("x")
    link = tmp_path / temporary_beside(tmp_path / "file").name.replace(f"-{os.getpid()}-", "-1-7")
    link.symlink_to(tmp_path / "data")
    afresh()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "image").exists()


def test_a_folder_that_is_not_there_has_none(tmp_path, afresh):
    remove_leftovers(tmp_path / "nowhere")
    with replacing(tmp_path / "made" / "file") as temporary:
        temporary.write_text("x")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["file"]
