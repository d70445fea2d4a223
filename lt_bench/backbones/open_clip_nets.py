"""Image towers of open_clip: ``open_clip.ViT-B-32`` with a weights file or one of the library's tags."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lt_bench.backbones.checkpoints import read_checkpoint
from lt_bench.backbones.encoders import Encoder, Prompt, TowerBackbone, library, one_line, text_head, tower_backbone, words_of
from lt_bench.backbones.registry import HUB, OPEN_CLIP
from lt_bench.core.errors import UserError

_FIELDS = ("mean", "std", "interpolation", "resize_mode")


def build(name: str, num_classes: int) -> TowerBackbone:
    """A tower with fresh weights."""
    model = _create(name, None)
    return tower_backbone(model.visual, _size(name, model), num_classes, compared=True)


def load(name: str, weights: Path | str | None, num_classes: int, prompt: Prompt | None) -> Encoder:
    """A tower with its weights, a file or a tag; and the head of its text tower.

    Raises:
        UserError: no such model, file or tag; the tag cannot be fetched; the weights do not fit.
    """
    tags = [tag for model, tag in library(name, "open_clip", "open_clip").list_pretrained() if model == _short(name)]
    given = "" if weights is None else str(weights).removeprefix(f"{HUB}:")
    if Path(given).is_file():
        model = _create(name, None)
        _read(model, Path(given), name)
        agreed = [_settings(name, tag) for tag in tags]
        settings = agreed[0] if agreed and all(one == agreed[0] for one in agreed) else {}
    elif given in tags:
        model, settings = _create(name, given), _settings(name, given)
    else:
        raise UserError(
            f"{name}: --weights is a file, or one of the library's {', '.join(tags) or '(it has none)'}; {given or 'none'} is neither"
        )
    model.eval()
    head = None
    if prompt is not None:
        with torch.inference_mode():
            texts = model.encode_text(_tokens(name, prompt)).clone()
        head = text_head(texts, model.logit_scale.detach().exp(), getattr(model, "logit_bias", None))
    network = tower_backbone(model.visual, _size(name, model), num_classes, compared=True)
    return Encoder(network, _words(name, {**model.visual.preprocess_cfg, **settings}, _size(name, model)), head)


def _short(name: str) -> str:
    return name.removeprefix(OPEN_CLIP)


def _create(name: str, tag: str | None) -> Any:
    open_clip = library(name, "open_clip", "open_clip")
    if _short(name) not in open_clip.list_models():
        raise UserError(f"{name}: open_clip has no such model; open_clip.list_models() names them")
    try:
        with _quiet():
            return open_clip.create_model(_short(name), pretrained=tag, precision="fp32", device="cpu")
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise UserError(f"{name}: open_clip cannot make it or fetch its weights ({one_line(error)}); name a file with --weights") from None


def _read(model: Any, path: Path, name: str) -> None:
    """Weights of a file into a model, by the library's own rules for names; the file is read as safely as any other first."""
    read_checkpoint(path)
    try:
        library(name, "open_clip.factory", "open_clip").load_checkpoint(model, str(path), weights_only=True)
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not weights of {name} ({one_line(error)})") from None


def _tokens(name: str, prompt: Prompt) -> torch.Tensor:
    try:
        with _quiet():
            return library(name, "open_clip", "open_clip").get_tokenizer(_short(name))(prompt.sentences)
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"{name}: its tokenizer cannot be had ({one_line(error)}); --stage1-head fit fits a head instead") from None


def _settings(name: str, tag: str) -> dict[str, Any]:
    """The settings of the preparation of images for a tag's weights."""
    given = library(name, "open_clip", "open_clip").get_pretrained_cfg(_short(name), tag) or {}
    return {field: given[field] for field in _FIELDS if given.get(field) is not None}


def _words(name: str, settings: dict[str, Any], size: int) -> str:
    how = "" if settings["interpolation"] == "bilinear" else f" {settings['interpolation']}"
    mode = settings.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise UserError(f"{name}: the transform with resize mode {mode!r} is not supported; shortest and squash are")
    resize = f"resize {size}{' squash' if mode == 'squash' else ''}{how}"
    return words_of(resize, f"centre crop {size}" if mode == "shortest" else "", settings["mean"], settings["std"])


def _size(name: str, model: Any) -> int:
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise UserError(f"{name}: inputs of {height} x {width} pixels are not supported; square ones are")
    return int(height)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings within the block, such as the library's remarks on fresh weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
