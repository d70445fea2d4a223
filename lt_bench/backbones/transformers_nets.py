"""Vision encoders of Hugging Face's transformers: ``transformers.PATH_OR_NAME``; code of a repository is never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.backbones.encoders import Encoder, Prompt, TowerBackbone, library, one_line, text_head, tower_backbone, words_of
from lt_bench.backbones.registry import TRANSFORMERS
from lt_bench.core.errors import UserError

_INTERPOLATIONS = {1: " lanczos", 2: "", 3: " bicubic"}  # Pillow's numbers


class _Tower(nn.Module):
    """Pooled features (B, D) of images: projected ones where there is a text tower, else the pooled output, or the class token."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.vision = getattr(model, "vision_model", model)
        self.projection = getattr(model, "visual_projection", None) or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D)."""
        output = self.vision(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        return self.projection(output.last_hidden_state[:, 0] if pooled is None else pooled)


def build(name: str, num_classes: int, config: str = "") -> TowerBackbone:
    """A tower with fresh weights, of a configuration as JSON or of the one that the name leads to."""
    library(name, "transformers", "transformers")
    from transformers import AutoConfig, AutoModel

    fields = json.loads(config) if config else None
    settings = _config(name, _short(name)) if fields is None else AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = AutoModel.from_config(settings)
    if (fields or {}).get(_NO_POOLER):
        model.pooler = None
    return _tower(model, settings, num_classes)


_NO_POOLER = "lt_bench_class_token"


def load(name: str, weights: Path | str | None, num_classes: int, prompt: Prompt | None) -> Encoder:
    """An encoder with its weights, those of its name or of another directory; and the head of its text tower.

    Raises:
        UserError: they cannot be had, or are not those of an image encoder.
    """
    library(name, "transformers", "transformers")
    from transformers import AutoModel
    from transformers.utils import logging

    source = _short(name) if weights is None else str(weights)
    settings = _config(name, source)
    logging.disable_progress_bar()
    try:
        model, told = AutoModel.from_pretrained(
            source, config=settings, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"{name}: its weights cannot be had from {source} ({one_line(error)})") from None
    fields = settings.to_dict()
    missing = sorted(key for key in told["missing_keys"] if "position_ids" not in key)
    if missing and all(key.startswith("pooler.") for key in missing):  # a pooler with fresh weights says nothing
        model.pooler, missing, fields[_NO_POOLER] = None, [], True
    if missing:
        raise UserError(f"{source}: has no {missing[0]}; the weights are of another model")
    model.eval()
    head = None
    if prompt is not None and hasattr(model, "text_model"):
        head = _text_head(name, source, model, prompt)
    return Encoder(_tower(model, settings, num_classes), _transform(name, source), head, json.dumps(fields, sort_keys=True, default=str))


def _short(name: str) -> str:
    return name.removeprefix(TRANSFORMERS)


def _config(name: str, source: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{name}: no model at {source} ({one_line(error)}); give a folder that save_pretrained wrote, or a name on the hub"
        ) from None


def _tower(model: nn.Module, settings: Any, num_classes: int) -> TowerBackbone:
    vision = getattr(settings, "vision_config", settings)
    size = vision.image_size
    return tower_backbone(
        _Tower(model), int(size if isinstance(size, int) else size[0]), num_classes, compared=hasattr(model, "text_model")
    )


def _text_head(name: str, source: str, model: Any, prompt: Prompt) -> tuple[Tensor, Tensor]:
    from transformers import AutoTokenizer

    fixed = str(model.config.model_type).startswith("siglip")  # trained with texts of one length
    length = int(model.config.text_config.max_position_embeddings)
    try:
        tokens = AutoTokenizer.from_pretrained(source, trust_remote_code=False)(
            prompt.sentences, padding="max_length" if fixed else True, truncation=True, max_length=length, return_tensors="pt"
        )
        with torch.inference_mode():
            texts = model.get_text_features(
                **{key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens and not (fixed and key == "attention_mask")}
            )
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise UserError(f"{name}: its tokenizer cannot be had ({one_line(error)}); --stage1-head fit fits a head instead") from None
    texts = texts if isinstance(texts, Tensor) else texts.pooler_output
    return text_head(texts.clone(), model.logit_scale.detach().exp(), getattr(model, "logit_bias", None))


def _transform(name: str, source: str) -> str:
    """The preparation of the model's image processor, in the words of a manifest.

    Raises:
        UserError: it has steps that are not supported.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{name}: its image processor cannot be had ({one_line(error)})") from None
    steps = processor.to_dict()
    size, crop = dict(steps.get("size") or {}), dict(steps.get("crop_size") or {})
    resize, cut = "", ""
    if steps.get("do_resize"):
        how = _INTERPOLATIONS.get(int(steps.get("resample", 2)))
        square = size.get("height") == size.get("width") and size.get("height")
        side = size.get("shortest_edge") if set(filter(size.get, size)) == {"shortest_edge"} else square
        if not side or how is None:
            raise UserError(f"{name}: its image processor resizes to {size}, which is not supported")
        resize = f"resize {side}{' squash' if square else ''}{how}"
    if steps.get("do_center_crop"):
        if crop.get("height") != crop.get("width"):
            raise UserError(f"{name}: its image processor crops to {crop}, which is not supported; squares are")
        cut = f"centre crop {crop['height']} rounded down"
    if steps.get("do_pad") or abs(float(steps.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise UserError(f"{name}: its image processor pads or scales in a way that is not supported")
    normalised = steps.get("do_normalize")
    mean, std = (steps["image_mean"], steps["image_std"]) if normalised else ((0.0,) * 3, (1.0,) * 3)
    return words_of(resize, cut, mean, std)
