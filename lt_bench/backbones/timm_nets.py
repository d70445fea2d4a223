"""timm's models, where timm is installed (the extra ``timm``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from lt_bench.backbones.base import Wrapped
from lt_bench.backbones.registry import TIMM
from lt_bench.core.errors import UserError


def build(name: str, num_classes: int) -> Wrapped:
    """A timm model by ``timm.NAME``, with fresh weights; its features are timm's own pooled ones.

    Raises:
        UserError: timm is not installed, has no such model, or the model has no pooled features.
    """
    network = _create(name, pretrained=False)
    dim = int(getattr(network, "head_hidden_size", None) or network.num_features)
    key = _config(network).get("classifier") or "fc"
    if not isinstance(key, str):
        raise UserError(f"{name}: several classifiers on one network ({', '.join(key)}), which is not supported; choose its plain variant")
    return Wrapped(network, dim, num_classes, key)


def hub_state(name: str, version: str) -> dict:
    """The state dict of a pretrained model, classifier included; ``version`` is one of timm's tags (``DEFAULT`` for the model's first).

    Raises:
        OSError: it cannot be fetched.
    """
    tagged = name if version == "DEFAULT" else f"{name}.{version}"
    return dict(_create(tagged, pretrained=True, num_classes=None).state_dict())


def transform_words(network: Wrapped) -> str:
    """Image transform of a timm model's pretrained weights, in the words of a manifest."""
    return config_words(_config(network.network))


def config_words(config: Mapping[str, Any]) -> str:
    """The evaluation transform that timm's ``create_transform`` makes of a configuration, in the words of a manifest.

    Raises:
        UserError: an input that is not square, or an interpolation of another kind.
    """
    _, height, size = (int(side) for side in config["input_size"])
    interpolation = config.get("interpolation") or "bilinear"
    name = TIMM + config["architecture"] if config.get("architecture") else "timm's transform"
    if height != size:  # one side is the size of inputs everywhere: --image-size, crops, exports
        raise UserError(f"{name}: inputs of {height} x {size} pixels are not supported; choose a model with square ones")
    if interpolation not in ("bilinear", "bicubic", "lanczos"):
        raise UserError(f"{name}: {interpolation} interpolation is not supported; bilinear, bicubic and lanczos are")
    fit = {"squash": " squash", "border": " border"}.get(config.get("crop_mode") or "", "")
    how = fit + ("" if interpolation == "bilinear" else f" {interpolation}")
    resize = int(size / float(config.get("crop_pct") or 0.875))  # rounded down, as timm does
    mean, std = (" ".join(str(float(value)) for value in config[name]) for name in ("mean", "std"))
    return f"resize {resize}{how}, centre crop {size}; mean {mean}, std {std}"


def _create(name: str, pretrained: bool, num_classes: int | None = 0) -> Any:
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError:
        raise UserError(f"{name}: timm is not installed; `pip install 'lt-bench[timm]'` installs it") from None
    short = name.removeprefix(TIMM)
    options = {} if num_classes is None else {"num_classes": num_classes}
    try:
        return timm.create_model(short, pretrained=pretrained, **options)
    except RuntimeError as error:
        raise UserError(f"{name}: timm cannot make it ({str(error).splitlines()[0]}); timm.list_models() names its models") from None


def _config(network: nn.Module) -> dict[str, Any]:
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", {})
    return dict(config)
