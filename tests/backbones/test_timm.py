"""timm's models as backbones."""

import pytest
import timm
import torch

from lt_bench.backbones.loading import load_backbone, transform_of
from lt_bench.backbones.transform import read_transform
from lt_bench.backbones.weights import save_weights


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "mobilenetv3_small_050"])
def test_timms_own_weights_give_timms_own_logits(name, tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    loaded = load_backbone(f"timm.{name}", tmp_path / "theirs.pth", 5)
    transform = read_transform(transform_of(f"timm.{name}"))
    images = torch.randn(2, 3, transform.crop, transform.crop)
    with torch.inference_mode():
        features = loaded.network.features(images)
        assert torch.allclose(loaded.network(images), theirs(images), atol=1e-5)
        assert torch.allclose(features, theirs.forward_head(theirs.forward_features(images), pre_logits=True), atol=1e-5)
    assert features.shape == (2, loaded.network.dim)
    assert loaded.head is not None
    save_weights(loaded.network, tmp_path / "ours.safetensors")
    again = load_backbone(f"timm.{name}", tmp_path / "ours.safetensors", 5)
    with torch.inference_mode():
        assert torch.equal(again.network(images), loaded.network(images))
    assert load_backbone(f"timm.{name}", tmp_path / "theirs.pth", 3).head is None
