"""A folder that cannot be listed is an error with its name, whoever lists it."""

import errno
import os
import re

import pytest

from lt_bench.core.errors import UserError
from lt_bench.core.folders import files_below, listed, matching
from lt_bench.data.readers.class_folders import no_images

SAYS = r"cannot be read \(Permission denied\); allow reading it"


@pytest.fixture
def closed(tmp_path, close):
    """A folder with a file and a subfolder ``b`` that cannot be listed."""
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    close(tmp_path / "b")
    return tmp_path


def test_a_closed_folder_is_named(closed):
    for listing in (lambda: listed(closed / "b"), lambda: matching(closed / "b", "*.png"), lambda: list(files_below(closed))):
        with pytest.raises(UserError, match=f"{re.escape(str(closed / 'b'))}: {SAYS}"):
            listing()
    assert [path.name for path in listed(closed)] == ["a", "b"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ELOOP, errno.ESTALE])
def test_a_disk_that_fails_is_not_a_matter_of_permission(number, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(os, "listdir", failing)
    monkeypatch.setattr(os, "scandir", failing)
    says = f"{tmp_path}: cannot be read ({os.strerror(number)}); see that the disk is there and whole"
    for listing in (lambda: listed(tmp_path), lambda: list(files_below(tmp_path)), lambda: no_images(tmp_path)):
        with pytest.raises(UserError, match=f"^{re.escape(says)}$"):
            listing()


def test_what_is_there_and_what_is_not(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("one.png", ".hidden", "deep/er/two.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deep" / "gone").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in matching(tmp_path, "[!.]*")] == ["deep", "one.png"]
    assert {path.name for path in files_below(tmp_path, links=True)} == {"one.png", ".hidden", "two.png", "gone"}
    assert listed(tmp_path / "nowhere") == listed(tmp_path / "one.png") == list(files_below(tmp_path / "nowhere")) == []
