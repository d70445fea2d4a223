import json
from importlib.resources import files

import pytest
import torch
from torch import nn

from lt_bench.backbones.registry import TORCHVISION, backbone_names, backbone_spec, build_backbone
from lt_bench.core.errors import UserError

# Parameters with 10 classes: He et al. 2016, table 6, round to 0.27, 0.46, 0.66, 0.85 million; ResNet-34 is torchvision's less the larger stem and classifier.
PARAMETERS = {"resnet20": 269722, "resnet32": 464154, "resnet44": 658586, "resnet56": 853018, "resnet34": 21282122, "resnet10s2": 4903242}
SMALL_TORCHVISION = {  # smallest image that the network takes
    "resnet18": 32, "mobilenet_v3_small": 32, "shufflenet_v2_x0_5": 32, "mnasnet0_5": 32, "regnet_y_400mf": 32, "efficientnet_b0": 32, "densenet121": 32,
    "googlenet": 32, "swin_t": 32, "convnext_tiny": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_shapes_and_size(name):
    network = build_backbone(name, 10).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = network.features(images)
        assert features.shape == (2, backbone_spec(name).dim) == (2, network.dim)
        assert torch.equal(network(images), network.fc(features))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet", "swin_t"])
def test_features_are_what_the_last_layer_of_torchvision_sees(name):
    from torchvision.models import get_model

    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    original = get_model(name, weights=None, **options).eval()
    wrapped = build_backbone(TORCHVISION + name, 1000).eval()
    from lt_bench.backbones.loading import fill

    weight, _ = fill(wrapped, original.state_dict(), "original")
    assert weight.shape == (1000, wrapped.dim)
    size = SMALL_TORCHVISION[name]
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert torch.allclose(wrapped(images), original(images), atol=1e-6)
        assert wrapped.features(images).shape == (2, backbone_spec(TORCHVISION + name).dim)


def test_the_table_of_torchvision_is_complete_and_right():
    from torchvision import models

    table = json.loads(files("lt_bench.backbones").joinpath("torchvision.json").read_text())
    assert set(table) == {name for name in models.list_models(module=models) if not name.startswith("squeezenet")}
    for name, (_, size, words) in table.items():
        preset = models.get_model_weights(name).DEFAULT.transforms()
        assert size == preset.crop_size[0]
        assert words.startswith(f"resize {preset.resize_size[0]}")
        assert ("bicubic" in words) == (preset.interpolation.value == "bicubic")
        assert words.endswith(f"mean {' '.join(map(str, preset.mean))}, std {' '.join(map(str, preset.std))}")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in backbone_names() if name.startswith(TORCHVISION)])
def test_every_torchvision_dimension(name, monkeypatch):
    for init in ("trunc_normal_", "normal_", "kaiming_normal_", "xavier_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, init, lambda tensor, *_, **__: tensor)
    assert build_backbone(name, 2).dim == backbone_spec(name).dim


def test_option_a_shortcut_pads_with_zeros():
    network = build_backbone("resnet20", 10).eval()
    block = network.layer2[0]
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 8, 8)
    with torch.inference_mode():
        out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_keys_are_the_published_ones():
    keys = set(build_backbone("resnet34", 100).state_dict())
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.0.weight",
        "layer4.2.bn2.bias",
        "fc.bias",
    } <= keys
    assert build_backbone("resnet34", 100).conv1.weight.shape == (64, 3, 3, 3)
    assert "layer3.4.bn2.weight" in build_backbone("resnet32", 100).state_dict()


def test_resnet34_starts_like_plain_layers():
    torch.manual_seed(0)
    weight = build_backbone("resnet34", 10).layer4[1].conv1.weight
    assert float(weight.detach().abs().max()) <= (512 * 9) ** -0.5 + 1e-6


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean resnet34"):
        backbone_spec("resnet_34")
    for name, meant in (
        ("resnet50", "torchvision.resnet50"),
        ("ResNet-18", "torchvision.resnet18"),
        ("vitb16", "torchvision.vit_b_16"),
        ("resnt34", "resnet34"),
    ):
        with pytest.raises(UserError, match=rf"did you mean {meant}\?"):
            backbone_spec(name)
    with pytest.raises(UserError, match=r"timm is not installed|timm cannot make it"):
        build_backbone("timm.no_such_model", 2)
