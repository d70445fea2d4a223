import json
import zipfile

import numpy as np
import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.core.seals import SEAL, archive_holds, digest_of, read_json_object, seal_archive, seal_of, sealed


def test_a_seal_is_of_the_content_and_not_of_its_order_or_of_itself():
    first = sealed({"b": [1.5, None], "a": {"ü": "x"}})
    assert list(first) == ["b", "a", SEAL]
    assert first[SEAL] == seal_of({"a": {"ü": "x"}, "b": [1.5, None]}) == seal_of(first)
    assert seal_of(json.loads(json.dumps(first))) == first[SEAL]
    for changed in ({"a": {"ü": "y"}}, {"b": [1.5]}, {"b": [1.5, 0]}, {"c": 1}):
        assert seal_of(first | changed) != first[SEAL]


def test_the_digest_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff{}", b"[]", b"null", b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "cut", "bytes", "list", "null", "deep", "deeper"],
)
def test_what_is_no_object_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json: damaged \(.*\); make it again") as error:
        read_json_object(tmp_path / "x.json", "make it again")
    assert "\n" not in str(error.value)


def test_a_sealed_archive_is_read_as_before_and_every_flip_is_seen(tmp_path):
    path, generator = tmp_path / "x.ckpt", np.random.default_rng(0)
    torch.save({"a": torch.arange(100.0), "b": "text"}, path)
    plain = path.read_bytes()
    assert archive_holds(path) is None
    seal_archive(path)
    content = path.read_bytes()
    assert len(content) == len(plain) + 80
    assert archive_holds(path) is True
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(100.0))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with pytest.raises(ValueError, match="with a comment"):
        seal_archive(path)
    for position in generator.choice(len(content), 200, replace=False):
        path.write_bytes(content[:position] + bytes([content[position] ^ int(generator.integers(1, 256))]) + content[position + 1 :])
        seen = archive_holds(path)
        assert seen is (None if len(plain) <= position < len(plain) + 16 else False)  # of the mark alone: nothing that is read changed
    for cut in (1, 40, 80, 100, len(content) - 1):
        path.write_bytes(content[:-cut])
        assert not archive_holds(path)
