import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from layouts import LAYOUTS, K, network, paco, plain, ride, under
from torch import nn

from lt_bench.backbones import imported
from lt_bench.backbones.checkpoints import Dropped, read_checkpoint, tensors_at
from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.maps import key_map_names, read_key_map
from lt_bench.backbones.order import argsort_introsort
from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_spec

COUNTS = (5, 30, 20, 20, 8, 40, 1)


@pytest.fixture
def small_maps(monkeypatch):
    """Lets a map try a small encoder first, in place of the large ones of the official code."""

    def use(name):
        real = imported.read_import

        def read(key_map, *arguments):
            return real(dataclasses.replace(key_map, encoder=(name, *key_map.encoder)), *arguments)

        monkeypatch.setattr("lt_bench.backbones.loading.read_import", read)

    return use


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_import_gives_the_logits_of_the_official_code(layout, small_maps, tmp_path, monkeypatch):
    name, builder, encoder, dataset = LAYOUTS[layout]
    content, official = builder()
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    monkeypatch.setattr(sys.modules["layouts"], "ProCoLoss", None)  # as where the official code is not installed
    if encoder:
        small_maps(encoder)
    loaded = load_backbone(name, tmp_path / "checkpoint.pth.tar", K, dataset, COUNTS)
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        expected, features = official(images), loaded.network.features(images)
        assert torch.allclose(loaded.network(images), expected, atol=2e-4, rtol=1e-4)
        weight, bias = loaded.head
        assert torch.allclose(features @ weight.T + bias, expected, atol=2e-4, rtol=1e-4)
    assert features.shape[1] == loaded.network.dim
    assert not any("not used" in note for note in loaded.notes)
    again = loaded.recipe.build(K)
    again.load_state_dict(loaded.network.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(images), loaded.network(images))


def test_every_map_has_a_layout_here():
    assert set(key_map_names()) - {name for name, *_ in LAYOUTS.values()} == {"los", "open"}


def test_one_expert(tmp_path):
    content, _ = ride()
    torch.save(content, tmp_path / "c.pth")
    whole, second = (load_backbone(name, tmp_path / "c.pth", K, "cifar100_lt", COUNTS) for name in ("ride", "ride@1"))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(second.network.features(images), whole.network.features(images)[:, 48:96], atol=1e-6)
    assert torch.allclose(second.head[0], whole.head[0][:, 48:96] * 3)
    assert whole.weights_hash != second.weights_hash
    with pytest.raises(UserError, match="expert 3 is asked for and there are 3"):
        load_backbone("ride@3", tmp_path / "c.pth", K)
    with pytest.raises(UserError, match="the number of an expert"):
        load_backbone("ride@last", tmp_path / "c.pth", K)


def test_mislas_labels_are_put_back(small_maps, tmp_path):
    small_maps("resnet20")
    net = network()
    order = np.argsort([-count for count in COUNTS], kind="stable")  # up to 16 classes numpy's own unstable sort is stable
    class_map = np.empty(K, dtype=int)
    class_map[order] = np.arange(K)
    images = torch.randn(4, 3, 32, 32)
    content = {
        "state_dict_model": plain(net),
        "state_dict_classifier": {"fc.weight": net.fc.weight.detach()[order], "fc.bias": net.fc.bias.detach()[order]},
    }
    torch.save(content, tmp_path / "m.pth")
    loaded = load_backbone("mislas", tmp_path / "m.pth", K, "places_lt", COUNTS)
    with torch.inference_mode():
        assert torch.allclose(loaded.network(images), net(images), atol=1e-5)
    relabelled = net(images).detach()[:, order]  # as MiSLAS' own evaluation: target class_map[c] for class c
    assert torch.equal(relabelled[:, class_map].argmax(1), loaded.network(images).argmax(1))
    with pytest.raises(UserError, match="a classifier of 7 classes and a data set of 3"):
        load_backbone("mislas", tmp_path / "m.pth", K, "places_lt", (3, 2, 1))


def test_the_order_of_old_numpy():
    """SHA-256 of ``np.argsort(-counts)`` with numpy 1.26.4, its AVX-512 sorting switched off: what every numpy before 1.25 did."""
    import hashlib

    golden = {"imagenet_lt": "a42d6fcdfa42ceac", "places_lt": "cdf25af70076178e", "inat2018": "368a61d05704412a"}
    for name, digest in golden.items():
        counts = dataset_spec(name).train_counts()
        order = argsort_introsort([-count for count in counts])
        assert hashlib.sha256(np.array(order, dtype="<i4").tobytes()).hexdigest()[:16] == digest
        assert (np.diff(np.array(counts)[order]) <= 0).all()
        assert sorted(order) == list(range(len(counts)))


def test_los_pickles_its_whole_module(tmp_path, monkeypatch):
    """The official stage 1 saves the module itself; its tensors are read without its class."""
    net = network("resnet34")
    foreign = types.ModuleType("models_of_los")

    class ResNetForCifar(nn.Module):
        def __setstate__(self, state):
            raise AssertionError("code of the file ran")

    ResNetForCifar.__module__, ResNetForCifar.__qualname__ = "models_of_los", "ResNetForCifar"
    foreign.ResNetForCifar = ResNetForCifar
    monkeypatch.setitem(sys.modules, "models_of_los", foreign)
    module = ResNetForCifar()
    for name, child in net.named_children():
        module.add_module(name, child)
    torch.save(module, tmp_path / "best_model_stage1.pth")
    monkeypatch.delitem(sys.modules, "models_of_los")
    loaded = load_backbone("los", tmp_path / "best_model_stage1.pth", K, "cifar100_lt", COUNTS)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(loaded.network(images), net(images), atol=1e-5)


class Trap:
    """Would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_does_not_run(legacy, tmp_path):
    content = {"state_dict": {"a": torch.ones(2)}, "criterion": Trap(str(tmp_path / "ran")), "many": np.float64(3), "set": {1}}
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(tmp_path / "c.pth")
    assert torch.equal(tensors_at(found, "state_dict")["a"], torch.ones(2))
    assert isinstance(found["criterion"], Dropped)
    assert not (tmp_path / "ran").exists()


class Shell:
    def __reduce__(self):
        import os

        return (os.system, ("true",))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_what_torch_blocks_stays_blocked(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}, "x": Shell()}, tmp_path / "c.pth")
    with pytest.raises(UserError, match="not read for safety"):
        read_checkpoint(tmp_path / "c.pth")
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "program.pt")
    with pytest.raises(UserError, match="a TorchScript archive"):
        read_checkpoint(tmp_path / "program.pt")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match="damaged or not a weights file"):
        read_checkpoint(tmp_path / "text.pth")


def test_a_file_of_another_layout_is_refused(small_maps, tmp_path):
    small_maps("resnet20")
    content, _ = paco()
    wrong = dict(content["state_dict"])
    wrong["module.encoder_q.layer3.2.conv2.weight"] = torch.randn(3, 3)
    torch.save({"state_dict": wrong}, tmp_path / "wrong.pth")
    with pytest.raises(
        UserError, match=r"not laid out as paco's .* nearest miss: layer3\.2\.conv2\.weight is \(3, 3\), expected \(64, 64, 3, 3\)"
    ):
        load_backbone("paco", tmp_path / "wrong.pth", K)
    torch.save(content, tmp_path / "paco.pth")
    with pytest.raises(UserError, match=r"no state dict at state_dict_best\.feat_model; it has epoch, arch"):
        load_backbone("decoupling", tmp_path / "paco.pth", K)
    with pytest.raises(UserError, match="Neither code nor weights were released"):
        load_backbone("open", tmp_path / "paco.pth", K)
    surplus = content["state_dict"] | {"module.adapter.weight": torch.ones(1)}
    torch.save({"state_dict": surplus}, tmp_path / "surplus.pth")
    assert any("not used: adapter" in note for note in load_backbone("paco", tmp_path / "surplus.pth", K).notes)


def test_a_map_of_ones_own(tmp_path):
    net = network()
    state = under("trunk.", plain(net)) | {"top.w": net.fc.weight.T.contiguous(), "ema.x": torch.ones(1)}
    torch.save({"nets": {"student": state}}, tmp_path / "mine.pth")
    document = {
        "state": {"": "nets.student"}, "encoder": ["resnet20"], "keys": [["trunk.", ""]], "ignore": ["ema."],
        "heads": [{"weight": "top.w", "transposed": True, "scale": 10}],
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    loaded = load_backbone(str(tmp_path / "mine.yaml"), tmp_path / "mine.pth", K)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = 10 * nn.functional.normalize(net.features(images), dim=1) @ nn.functional.normalize(net.fc.weight, dim=1).T
        assert torch.allclose(loaded.network(images), expected, atol=1e-4)
    for change, message in (
        ({"headz": []}, "unknown field headz"),
        ({"keys": []}, "needs `encoder`"),
        ({"heads": [{"wait": "x"}]}, "wait"),
        ({"encoder": ["resnet21"]}, "no backbone is called 'resnet21'"),
    ):
        (tmp_path / "bad.yaml").write_text(yaml.safe_dump(document | change))
        with pytest.raises(UserError, match=message):
            load_backbone(str(tmp_path / "bad.yaml"), tmp_path / "mine.pth", K)
    with pytest.raises(UserError, match="cannot be read"):
        load_backbone(str(tmp_path / "none.yaml"), tmp_path / "mine.pth", K)


def test_another_number_of_classes_leaves_a_backbone_without_head(tmp_path):
    net = network()
    torch.save({"state_dict": under("module.", net.state_dict())}, tmp_path / "w.pth")
    torch.save(plain(net), tmp_path / "headless.pth")
    images = torch.randn(2, 3, 32, 32)
    for file, classes in (("w.pth", 4), ("headless.pth", K)):
        loaded = load_backbone("resnet20", tmp_path / file, classes)
        assert loaded.head is None
        assert f"no classifier for the {classes} classes" in loaded.notes[0]
        with torch.inference_mode():
            assert torch.equal(loaded.network.features(images), net.features(images))
    assert load_backbone("resnet20", tmp_path / "w.pth", K).notes == ()


def test_the_hub_out_of_reach(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refused(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setattr("torch.hub.urlopen", refused)
    with pytest.raises(UserError, match=r"the hub's weights cannot be fetched \(no network\)"):
        load_backbone("torchvision.resnet18", "hub", 3)
    with pytest.raises(UserError, match="no weights called V9"):
        load_backbone("torchvision.resnet18", "hub:V9", 3)
    with pytest.raises(UserError, match="no pretrained weights are published"):
        load_backbone("resnet20", "hub", 3)


def test_pretrained_weights_and_ones_own_files_of_them(tmp_path):
    """torchvision's own state dict, and what this suite saves of the wrapped network, are both read."""
    from torchvision.models import mobilenet_v3_small

    from lt_bench.backbones.weights import save_weights

    original = mobilenet_v3_small(num_classes=5).eval()
    torch.save(original.state_dict(), tmp_path / "theirs.pth")
    first = load_backbone("torchvision.mobilenet_v3_small", tmp_path / "theirs.pth", 5)
    save_weights(first.network, tmp_path / "ours.safetensors")
    second = load_backbone("torchvision.mobilenet_v3_small", tmp_path / "ours.safetensors", 5)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(second.network(images), original(images), atol=1e-6)
    assert second.head is not None


def test_real_encoders_of_the_maps_fit_their_libraries():
    for name in ("torchvision.resnext50_32x4d", "variant.resnext50_32x4d_thin", "variant.resnet32_thin"):
        shapes = imported.encoder_shapes(name)
        assert shapes["conv1.weight"][1] == 3
    thin = imported.encoder_shapes("variant.resnext50_32x4d_thin")
    assert thin["layer3.0.conv2.weight"] == (384, 12, 3, 3)
    assert thin["layer4.2.conv3.weight"] == (1536, 768, 1, 1)
    for encoder in {encoder for name in key_map_names() for encoder in read_key_map(name).encoder}:
        assert imported.encoder_shapes(encoder)
