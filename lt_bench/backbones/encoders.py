"""Encoders of open_clip and Hugging Face's transformers as frozen backbones (the extras of these names): DINOv2, CLIP, SigLIP and others."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.backbones.base import Wrapped
from lt_bench.core.errors import UserError

PROMPT = "a photo of a {}."


@dataclass(frozen=True)
class Prompt:
    """Sentences about classes: K names, and a template with ``{}`` where the name stands; underscores of a name become spaces."""

    class_names: tuple[str, ...]
    template: str = PROMPT

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise UserError(f"--prompt {self.template!r}: has no {{}}, where the name of a class is to stand")

    @property
    def sentences(self) -> list[str]:
        """The prompts (K) of the classes."""
        return [self.template.replace("{}", name.replace("_", " ")) for name in self.class_names]


@dataclass(frozen=True)
class Encoder:
    """An encoder with its weights.

    Attributes:
        network: in eval mode.
        transform: how the library prepares an image, in the words of a manifest.
        head: logits of the text tower for the classes, weight (K, D) and bias (K,), where it has one and was asked.
        config: what the network is rebuilt from, where its name does not say.
    """

    network: TowerBackbone
    transform: str
    head: tuple[Tensor, Tensor] | None = None
    config: str = ""


class TowerBackbone(Wrapped):
    """An image tower as a backbone.

    Args:
        network: from images to features (B, D).
        dim: D.
        num_classes: K.
        compared: whether the features are compared with those of a text tower, by the cosine. They are then scaled to length sqrt(D), so that dimensions have
            the size that the recipes' learning rates are made for.
    """

    def __init__(self, network: nn.Module, dim: int, num_classes: int, compared: bool) -> None:
        super().__init__(network, dim, num_classes, "fc")
        self.compared = compared

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D)."""
        features = self.network(images)
        return F.normalize(features, dim=1) * math.sqrt(self.dim) if self.compared else features


def tower_backbone(network: nn.Module, size: int, num_classes: int, compared: bool) -> TowerBackbone:
    """A tower as a backbone in eval mode; its output on one image of ``size`` pixels tells D."""
    with torch.inference_mode():
        dim = network.eval()(torch.zeros(1, 3, size, size)).shape[1]
    return TowerBackbone(network, dim, num_classes, compared).eval()


def text_head(texts: Tensor, scale: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) that give the logits of the towers on features of length sqrt(D): scale times the cosine with the texts (K, D), plus bias."""
    weight = F.normalize(texts.float(), dim=1) * scale.float() / math.sqrt(texts.shape[1])
    return weight.contiguous(), torch.zeros(len(texts)) if bias is None else bias.detach().float().reshape(1).repeat(len(texts))


def library(name: str, package: str, extra: str) -> ModuleType:
    """The library of a backbone.

    Raises:
        UserError: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise UserError(f"{name}: {package} is not installed; `pip install 'lt-bench[{extra}]'` installs it") from None


def words_of(resize: str, crop: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """A transform in the words of a manifest."""
    statistics = [" ".join(str(float(value)) for value in values) for values in (mean, std)]
    return f"{', '.join(filter(None, [resize, crop])) or 'as it is'}; mean {statistics[0]}, std {statistics[1]}"


def one_line(error: BaseException) -> str:
    """The first words of a library's message."""
    return " ".join(str(error).split())[:200]
