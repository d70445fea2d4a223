import pytest
import torch

from lt_bench.backbones.registry import backbone_names, backbone_spec, build_backbone
from lt_bench.errors import UserError

# Parameters with 10 classes: He et al. 2016, table 6, round to 0.27, 0.46, 0.66, 0.85 million; ResNet-34 is torchvision's less the larger stem and classifier.
PARAMETERS = {"resnet20": 269722, "resnet32": 464154, "resnet44": 658586, "resnet56": 853018, "resnet34": 21282122, "resnet10s2": 4903242}


@pytest.mark.parametrize("name", backbone_names())
def test_shapes_and_size(name):
    network = build_backbone(name, 10).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = network.features(images)
        assert features.shape == (2, backbone_spec(name).dim)
        assert torch.equal(network(images), network.fc(features))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


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
