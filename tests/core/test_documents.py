import io
import zipfile

import numpy as np
import pytest

from lt_bench.core import arrays
from lt_bench.core.arrays import read_npy, read_npz
from lt_bench.core.documents import parse_json, parse_yaml

ALIASES = "\n".join(["a0: &a0 [1, 1]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deeply"), ('{"a":' * 50_000, "nested too deeply"), ('{"a": 1, "a": 2}', "'a' stands twice"), ("NaN", "NaN is no JSON"),
        ("1e999", "beyond the range"), ("1" * 5000, "digits"), ("", "Expecting value"), (b"\xff\xfe{", "codec"),
    ],
)  # fmt: skip
def test_json_without_one_meaning_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: " + "[" * 20_000, "nested too deeply"), ("- " * 30_000, "nested too deeply"), ("? " * 3000, "nested too deeply"), ("a: 1\na: 2", "'a' stands twice"),
        ("a: &a [*a]", "contains itself"), (ALIASES, "more than 1,000,000 values"), ("!!python/object/apply:os.system [ls]", "could not determine"),
        ("a: 2001-99-99", "month"), ("a: !!timestamp zz", "does not fit its tag"), ("a: [1", "did not find"),
    ],
)  # fmt: skip
def test_yaml_without_one_meaning_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse_yaml(text)


def test_what_has_a_meaning_is_read():
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    assert parse_yaml("a: &x [1, 2.5]\nb: *x\n") == {"a": [1, 2.5], "b": [1, 2.5]}
    assert parse_yaml("# nothing\n") is None


ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(3), np.zeros((0, 4)), np.arange(3).astype(">i4"),
    np.arange(3, dtype=np.longdouble), np.array(["a", "bc"]), np.array([True, False]),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_are_those_of_numpy(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", a=array)
    for read in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz")["a"]):
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read, array)
    assert read_npz(tmp_path / "a.npz", ("b",), optional=True) == {}
    with pytest.raises(ValueError, match="no array 'b'; it has a"):
        read_npz(tmp_path / "a.npz", ("b",))


def header(text: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode()


BAD_ARRAYS = {
    "more than the file has": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n"), "the file has"),
    "a huge header": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 20_000 + ")}\n"), "Header"),
    "nested": (header("{'descr': " + "[" * 9000 + "}\n"), "not a NumPy array|parse header|nested"),
    "objects": (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + b"x" * 8, "Python objects"),
    "negative": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n") + b"x" * 8, "shape"),
    "empty": (b"", "not a NumPy array|EOF|expected"),
    "two arrays": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n") + b"x" * 8, "more after its array"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_that_are_none_are_refused(kind, tmp_path):
    content, why = BAD_ARRAYS[kind]
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=why):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=why):
        read_npz(tmp_path / "a.npz")


def test_a_bomb_is_refused_by_the_size_that_it_declares(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("{'descr': '|u1', 'fortran_order': False, 'shape': (134217728,)}\n") + bytes(1 << 27))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 18
    monkeypatch.setattr(arrays, "free_memory", lambda: 1 << 20)
    with pytest.raises(ValueError, match=r"134,\d+,\d+ bytes of memory, and 1,048,576 are free"):
        read_npz(tmp_path / "bomb.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("a.npy", array.getvalue())
    with pytest.raises(ValueError, match="a name twice"):
        read_npz(tmp_path / "a.npz")
