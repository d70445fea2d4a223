"""timm's models as backbones."""

import numpy as np
import pytest
import torch
from lightning_utilities.core.imports import lazy_import
from PIL import Image

from lt_bench.backbones.loading import load_backbone, transform_of
from lt_bench.backbones.timm_nets import config_words
from lt_bench.backbones.transform import read_transform
from lt_bench.backbones.weights import save_weights
from lt_bench.core.errors import UserError

timm = lazy_import("timm")  # by the worker that has these tests, at their turn


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


FIELDS = ("input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std")


def configurations():
    """Every distinct way in which timm's registered weights prepare an image."""
    configs = [config.to_dict() for config in timm.models._registry._model_pretrained_cfgs.values()]
    distinct = {tuple(config.get(field) for field in FIELDS) for config in configs}
    return [dict(zip(FIELDS, one, strict=True)) for one in sorted(distinct, key=str)]


def test_every_transform_is_timms_own():
    """On a wide and on a high picture, to the pixel; statistics are compared by themselves, so that steps of equal pixels are made once."""
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8))
    pictures, seen, refused, compared = (wide, wide.transpose(Image.Transpose.ROTATE_90)), set(), 0, 0
    for config in configurations():
        if config["input_size"][1] != config["input_size"][2]:
            with pytest.raises(
                UserError, match=r"timm.sapiens: inputs of \d+ x \d+ pixels are not supported; choose a model with square ones"
            ):
                config_words(config | {"architecture": "sapiens"})
            refused += 1
            continue
        ours = read_transform(config_words(config))
        assert (ours.mean, ours.std) == (tuple(config["mean"]), tuple(config["std"]))
        steps = (
            config["input_size"],
            config["crop_pct"],
            config["crop_mode"],
            config["interpolation"],
            ours.mean if ours.fit == "border" else None,
        )
        if steps in seen or config["input_size"][1] > 400:  # large ones differ in nothing but size
            continue
        seen.add(steps)
        theirs = timm.data.transforms_factory.create_transform(
            **{**config, "input_size": config["input_size"]}, is_training=False, normalize=False
        )
        for picture in pictures:
            assert np.array_equal(np.asarray(ours.pixels(picture)), np.asarray(theirs(picture))), config
        compared += 1
    assert compared > 50
    assert {fit for _, _, fit, _, _ in seen} == {"center", "squash", "border"}
    assert refused >= 1
