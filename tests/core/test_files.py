"""Files appear whole or not at all, with the permissions that the umask leaves, for the owner alone or for a group."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import NotWrittenError, UserError, message_of
from lt_bench.core.files import replacing, require_file_place, require_place, write_atomic, write_text
from lt_bench.core.tensors import save_tensors


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_the_umask_decides(umask, mode, tmp_path, make_cache):
    before = os.umask(umask)
    try:
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
        cache = make_cache(tmp_path / "cache")
    finally:
        os.umask(before)
    files = [tmp_path / "w.safetensors", *cache.iterdir()]
    assert {file.stat().st_mode & 0o777 for file in files} == {mode}
    assert len(files) > 2
    assert [file for file in files if file.suffix == ".mode"] == []


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = write_text(tmp_path / "folder" / "file", "old")
    with pytest.raises(KeyError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("file", "old")]


def test_tensors_that_cannot_be_written_are_an_error_of_the_system(tmp_path, monkeypatch):
    """safetensors has an error of its own for a full disk, which no verb would say in one line."""
    with pytest.raises(OSError, match="No such file or directory"):
        save_tensors({"a": torch.zeros(2)}, tmp_path / "nowhere" / "a.safetensors")

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("lt_bench.core.tensors.save_file", full)
    with pytest.raises(UserError, match=r"cannot write the weights .*No space left"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_has_its_own_name_and_advice(tmp_path, close):
    (tmp_path / "closed").mkdir()
    close(tmp_path / "closed", 0o555)
    path = tmp_path / "closed" / "new" / "file"
    with pytest.raises(OSError, match="cannot be written") as caught:
        write_text(path, "text")
    assert (
        str(caught.value) == message_of(caught.value) == f"{path}: cannot be written (Permission denied); allow it, or choose another place"
    )

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"file: cannot be written \(No space left on device\); free some space, or choose another place"):
        write_atomic(tmp_path / "file", full)
    with pytest.raises(FileNotFoundError) as caught:  # of what is read meanwhile
        write_atomic(tmp_path / "file", lambda file: file.write((tmp_path / "source").read_bytes()))
    assert caught.value.filename == str(tmp_path / "source")
    assert [one.name for one in tmp_path.iterdir()] == ["closed"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "; free some space, or choose another place"),
        (errno.EDQUOT, "; free some space, or choose another place"),
        (errno.EACCES, "; allow it, or choose another place"),
        (errno.EPERM, "; allow it, or choose another place"),
        (errno.EROFS, "; choose another place"),
        *((one, "") for one in (errno.ENOENT, errno.ENOTDIR, errno.EMFILE, errno.EIO)),
    ],
)
def test_advice_is_of_the_number(number, advice):
    """A missing file that is to be read, too many open files and a failing disk are not mended by another place."""
    reason = os.strerror(number)
    assert message_of(OSError(number, reason, "x")) == f"x: {reason}{advice}"
    assert message_of(OSError(number, reason)) == f"[Errno {number}] {reason}{advice}"
    written = "; choose another place" if number in (errno.ENOENT, errno.ENOTDIR) else advice
    assert message_of(NotWrittenError(number, reason, "x")) == f"x: cannot be written ({reason}){written}"


def test_a_device_is_written_to_and_stays_a_device():
    write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    require_file_place(Path("/dev/null"), "")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    """``--out >(gzip > x)`` is a pipe under /dev/fd."""
    os.mkfifo(tmp_path / "named")
    (tmp_path / "link").symlink_to("named")
    for path in (tmp_path / "named", tmp_path / "link"):
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        require_file_place(path, "")
        write_text(path, "text")
        assert os.read(reader, 9) == b"text"
        os.close(reader)
    assert (tmp_path / "named").is_fifo()
    reader, writer = os.pipe()
    write_text(Path(f"/dev/fd/{writer}"), "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    os.close(writer)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "named"]


def test_an_open_file_is_written_to_under_the_name_of_its_number(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        write_text(Path(f"/dev/fd/{file.fileno()}"), "text")
        assert Path(f"/dev/fd/{file.fileno()}").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def test_an_error_of_a_descriptor_is_one_of_writing(tmp_path):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error", 3)

    with pytest.raises(NotWrittenError, match=r"file: cannot be written \(Input/output error\)$"):
        write_atomic(tmp_path / "file", fail)


def test_a_place_is_refused_before_anything_is_made(tmp_path, close):
    require_place(tmp_path / "a" / "b", "")
    require_file_place(tmp_path / "a" / "b.csv", "")
    with pytest.raises(UserError, match=r"a folder, and a file is to be written; do this"):
        require_file_place(tmp_path, "do this")
    with pytest.raises(UserError, match=r"^/proc/lb: files cannot be written there \(No such file or directory\); do this$"):
        require_place(Path("/proc/lb"), "do this")
    (tmp_path / "there").mkdir()
    close(tmp_path, 0o555)
    require_place(tmp_path / "there", "")
    with pytest.raises(UserError, match=r"/there: a cache cannot be written there \(Permission denied\); do this$"):
        require_place(tmp_path / "there", "do this", "a cache", beside=True)
    for refuse in (require_place, require_file_place):
        with pytest.raises(UserError, match=r"/a: .*cannot be written .*\(Permission denied\); do this$"):
            refuse(tmp_path / "a", "do this")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
