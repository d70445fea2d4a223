"""Which backbones there are. Free of torch until one is built."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lt_bench.errors import UserError

if TYPE_CHECKING:
    from lt_bench.backbones.base import Backbone


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone by name.

    Attributes:
        name: as on the command line.
        dim: feature dimension D.
        input_size: height and width of its images, pixels.
        summary: one line for ``lt-bench list backbones``.
        builder: ``module:function`` that makes it from the number of classes.
    """

    name: str
    dim: int
    input_size: int
    summary: str
    builder: str


_SPECS = (
    *(
        BackboneSpec(
            f"resnet{depth}",
            64,
            32,
            f"CIFAR ResNet-{depth}, three stages of 16, 32, 64 channels, option A shortcuts",
            f"cifar:resnet{depth}",
        )
        for depth in (20, 32, 44, 56)
    ),
    BackboneSpec("resnet34", 512, 32, "ResNet-34 for small images: 3x3 stem, no max-pool (LOS, weight balancing)", "small:resnet34"),
    BackboneSpec(
        "resnet10s2", 512, 32, "ResNet-10 for small images: 3x3 stem of stride 2, no max-pool; quick on a processor", "small:resnet10s2"
    ),
)
_BY_NAME = {spec.name: spec for spec in _SPECS}


def backbone_names() -> tuple[str, ...]:
    """Names of all backbones."""
    return tuple(_BY_NAME)


def backbone_spec(name: str) -> BackboneSpec:
    """The spec of a backbone.

    Raises:
        UserError: no such backbone; names the nearest.
    """
    wanted = name.lower().replace("-", "_")
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    near = difflib.get_close_matches(wanted, _BY_NAME, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_BY_NAME)}"
    raise UserError(f"no backbone is called {name!r}; {hint}")


def build_backbone(name: str, num_classes: int) -> Backbone:
    """A backbone with fresh weights and a linear classifier for ``num_classes`` classes; random numbers come from torch's global generator."""
    module, function = backbone_spec(name).builder.split(":")
    builder: Callable[[int], Backbone] = getattr(importlib.import_module(f"lt_bench.backbones.{module}"), function)
    return builder(num_classes)
