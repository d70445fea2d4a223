"""Content of files as hashes."""

from pathlib import Path

from lt_bench.core.content import bytes_hash, file_hashes


def test_a_file_is_read_again_only_where_it_changed(tmp_path, monkeypatch):
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    read, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), real(path))[1])
    for _ in range(3):
        assert file_hashes([first, second]).tolist() == [bytes_hash(b"one"), bytes_hash(b"two")]
    assert sorted(read) == [first, second]
    first.write_bytes(b"more")
    assert file_hashes([first, second]).tolist() == [bytes_hash(b"more"), bytes_hash(b"two")]
    assert sorted(read) == [first, first, second]
