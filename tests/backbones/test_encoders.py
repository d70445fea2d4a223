"""Encoders of open_clip and transformers, on tiny configurations with random weights that the tests make: nothing is downloaded."""

import json

import numpy as np
import pytest
import torch
from lightning_utilities.core.imports import lazy_import
from PIL import Image

from lt_bench.backbones.encoders import Prompt
from lt_bench.backbones.loading import load_backbone
from lt_bench.backbones.transform import Prepared, read_transform
from lt_bench.core.errors import UserError

open_clip, transformers = lazy_import("open_clip"), lazy_import("transformers")  # by the worker that has these tests, at their turn

NAMES = ("sea_urchin", "cat", "tin can")
SIZES = ((50, 40), (33, 71), (64, 35), (37, 44), (32, 32), (47, 35), (120, 33))
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 514, "max_position_embeddings": 24,
    "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513,
}  # fmt: skip


def pictures():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC) for size in SIZES]


def write_tokenizer(folder):
    """CLIP's tokenizer over single bytes, without merges."""
    byte = [chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256))]
    byte += [chr(256 + n) for n in range(256 - len(byte))]
    tokens = [*byte, *(f"{one}</w>" for one in byte), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders as save_pretrained writes them, by kind."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    made = {
        "dinov2": (transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), transformers.BitImageProcessor(
            size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, resample=3)),
        "clip": (transformers.CLIPModel(transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)), transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})),
        "siglip": (transformers.SiglipModel(transformers.SiglipConfig(vision_config=VISION, text_config=TEXT)), transformers.SiglipImageProcessor(
            size={"height": 32, "width": 32})),
        "vit": (transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False), transformers.ViTImageProcessor(
            size={"height": 32, "width": 32})),
    }  # fmt: skip
    for kind, (model, processor) in made.items():
        model.eval().save_pretrained(root / kind)
        processor.save_pretrained(root / kind)
    write_tokenizer(root / "clip")
    return root


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A tiny model among open_clip's, its weights file, and the model itself."""
    folder = tmp_path_factory.mktemp("open_clip")
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    (folder / "lt-tiny.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / "lt-tiny.json")
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("lt-tiny", pretrained=None)
    torch.save(model.state_dict(), folder / "w.pt")
    return folder / "w.pt", model.eval(), preprocess


def inputs_of(transform):
    return Prepared(transform.mean, transform.std)(transform.batch(pictures()))


@pytest.mark.parametrize("kind", ["dinov2", "clip", "siglip", "vit"])
def test_images_are_prepared_as_the_processor_does(models, kind):
    """On non-square pictures: Pillow's backend to the pixel; the default one, whose resize rounds elsewhere, to two levels."""
    transform = read_transform(load_backbone(f"transformers.{models / kind}", None, 3).transform)
    ours = inputs_of(transform)
    exact, usual = (transformers.AutoImageProcessor.from_pretrained(models / kind, backend=backend) for backend in ("pil", "torchvision"))
    level = 2.5 / 255 / min(transform.std)
    for i, picture in enumerate(pictures()):
        assert torch.allclose(ours[i], exact(picture, return_tensors="pt")["pixel_values"][0], atol=1e-5)
        assert torch.allclose(ours[i], usual(picture, return_tensors="pt")["pixel_values"][0], atol=level)


def test_features_of_dinov2_are_its_class_token(models):
    loaded, theirs = load_backbone(f"transformers.{models / 'dinov2'}", None, 3), transformers.AutoModel.from_pretrained(models / "dinov2")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(loaded.network.features(images), theirs(images).last_hidden_state[:, 0], atol=1e-5)
        larger = loaded.network.features(torch.randn(1, 3, 48, 48))  # its positions are interpolated
    assert larger.shape == (1, 32)
    assert loaded.head is None


def test_a_pooler_that_the_weights_lack_is_not_used(models):
    loaded = load_backbone(f"transformers.{models / 'vit'}", None, 3)
    theirs, images = transformers.ViTModel.from_pretrained(models / "vit", add_pooling_layer=False), torch.randn(2, 3, 32, 32)
    again = loaded.recipe.build(1)
    again.load_state_dict({key: value for key, value in loaded.network.state_dict().items() if not key.startswith("fc.")}, strict=False)
    with torch.inference_mode():
        expected = theirs(images).last_hidden_state[:, 0]
        assert torch.allclose(loaded.network.features(images), expected, atol=1e-5)
        assert torch.allclose(again.eval().features(images), expected, atol=1e-5)


def test_the_head_of_clips_text_tower_has_clips_logits(models):
    prompt = Prompt(NAMES, "a picture of a {}.")
    loaded, model = (
        load_backbone(f"transformers.{models / 'clip'}", None, 3, prompt=prompt),
        transformers.AutoModel.from_pretrained(models / "clip"),
    )
    tokens = transformers.AutoTokenizer.from_pretrained(models / "clip")(["a picture of a sea urchin.", "a picture of a cat.", "a picture of a tin can."], padding=True, truncation=True, max_length=24, return_tensors="pt")  # fmt: skip
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        expected = model(pixel_values=images, **tokens).logits_per_image
        actual = loaded.network(images)
    assert torch.allclose(actual, expected, atol=1e-4)
    assert actual.std() > 0.01
    assert loaded.stage1.endswith("; head: text tower, 'a picture of a {}.'")
    features = loaded.network.features(images)
    assert torch.allclose(features.norm(dim=1), torch.full((4,), 4.0))


def test_open_clip_gives_open_clips_features_logits_and_pixels(tiny_clip):
    weights, model, preprocess = tiny_clip
    loaded = load_backbone("open_clip.lt-tiny", weights, 3, prompt=Prompt(NAMES))
    ours = inputs_of(read_transform(loaded.transform))
    theirs = torch.stack([preprocess(picture) for picture in pictures()])
    assert torch.allclose(ours, theirs, atol=1e-5)
    tokens = open_clip.get_tokenizer("lt-tiny")([f"a photo of a {name}." for name in ("sea urchin", "cat", "tin can")])
    with torch.inference_mode():
        image, text = model.encode_image(ours, normalize=True), model.encode_text(tokens, normalize=True)
        assert torch.allclose(loaded.network.features(ours), image * 4, atol=1e-5)
        assert torch.allclose(loaded.network(ours), model.logit_scale.exp() * image @ text.T, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("open_clip.ViT-Z-99", "laion", "open_clip.ViT-Z-99: --weights is a file, or one of the library's .*laion is neither"),
        ("open_clip.ViT-B-32", "laion9b", "--weights is a file, or one of the library's .*openai.*; laion9b is neither"),
        ("transformers./no/such/folder", None, "transformers./no/such/folder: no model at /no/such/folder"),
    ],
)
def test_what_is_not_there_is_one_line(name, weights, message):
    with pytest.raises(UserError, match=message) as error:
        load_backbone(name, weights, 3)
    assert "\n" not in str(error.value)


def test_weights_of_another_model_and_a_prompt_without_a_place_are_refused(tiny_clip, models, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: not weights of open_clip.lt-tiny"):
        load_backbone("open_clip.lt-tiny", tmp_path / "other.pt", 3)
    with pytest.raises(UserError, match=r"has no \{\}, where the name of a class is to stand"):
        Prompt(NAMES, "a photo")
    with pytest.raises(UserError, match=r"its tokenizer cannot be had .*--stage1-head fit fits a head instead"):
        load_backbone(f"transformers.{models / 'siglip'}", None, 3, prompt=Prompt(NAMES))
