import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.loading import fill
from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights, weights_hash
from lt_bench.core.errors import UserError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_backbone("resnet20", 10).eval()


def test_round_trip_and_hash(network, tmp_path):
    digest = save_weights(network, tmp_path / "w.safetensors")
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    images = torch.randn(2, 3, 32, 32)
    for file in ("w.safetensors", "w.pt"):
        state = read_state(tmp_path / file)
        other = build_backbone("resnet20", 10).eval()
        fill(other, state, file)
        assert torch.equal(other(images), network(images))
        assert weights_hash(state) == digest
    state["fc.bias"] = state["fc.bias"] + 1
    assert weights_hash(state) != digest


def test_half_keeps_small_variances(network, tmp_path):
    network.bn1.running_var.fill_(1e-9)
    save_weights(network, tmp_path / "w.safetensors", half=True)
    state = read_state(tmp_path / "w.safetensors")
    assert state["conv1.weight"].dtype == torch.float16
    assert torch.equal(state["bn1.running_var"], network.bn1.running_var)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_wrong_weights_are_named(network, tmp_path):
    state = network.state_dict()
    with pytest.raises(UserError, match=r"f: has no layer1\.3\.conv1"):
        fill(build_backbone("resnet32", 10), state, "f")
    with pytest.raises(UserError, match=r"conv1\.weight has shape \(16, 1, 3, 3\), the backbone \(16, 3, 3, 3\)"):
        fill(network, {**state, "conv1.weight": torch.zeros(16, 1, 3, 3)}, "f")
    assert fill(build_backbone("resnet20", 7), state, "f") is None
    with pytest.raises(UserError, match="extra is unknown"):
        fill(network, {**state, "extra": torch.zeros(1)}, "f")


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_files_that_are_no_weights(tmp_path, capsys):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="not a state dict"):
        read_state(tmp_path / "evil.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([1, 2], protocol=2))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    save_file({"a": torch.zeros(3)}, tmp_path / "ok.safetensors")
    whole = (tmp_path / "ok.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[:-4])
    for name in ("plain.pkl", "cut.safetensors", "short.safetensors"):
        with pytest.raises(UserError, match=name):
            read_state(tmp_path / name)
    with pytest.raises(UserError, match="no such weights file"):
        read_state(tmp_path / "absent.pt")
    assert "ran" not in capsys.readouterr().out


def test_flipped_bytes_of_weights_never_give_other_weights(network, tmp_path):
    path, generator = tmp_path / "w.safetensors", np.random.default_rng(0)
    save_weights(network, path)
    content, before, refused = path.read_bytes(), read_state(path), 0
    header = int.from_bytes(content[:8], "little")
    for position in [*generator.integers(8 + header, len(content), 10), *generator.integers(0, 8 + header, 40)]:
        path.write_bytes(content[:position] + bytes([content[position] ^ int(generator.integers(1, 256))]) + content[position + 1 :])
        try:
            after = read_state(path)
        except UserError:
            refused += 1
            continue
        assert after.keys() == before.keys()  # where it is read, nothing that counts has changed: a space, or the name of the seal
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert position < 8 + header
    assert refused >= 40
