"""Every torchvision classifier that ends in a linear layer; SqueezeNets end in a convolution and are left out."""

from __future__ import annotations

from torch import nn
from torchvision.models import get_model, get_model_weights

from lt_bench.backbones.base import Wrapped
from lt_bench.backbones.registry import TORCHVISION

_PLAIN: dict[str, bool] = {"aux_logits": False, "init_weights": False}
_OPTIONS: dict[str, dict[str, bool]] = {"googlenet": _PLAIN, "inception_v3": _PLAIN}
_UNUSED: dict[str, tuple[str, ...]] = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def build(name: str, num_classes: int) -> Wrapped:
    """A torchvision network by its name in the registry, with fresh weights."""
    short = name.removeprefix(TORCHVISION)
    network = get_model(short, weights=None, **_OPTIONS.get(short, {}))
    key, linear = [(key, module) for key, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, own = key.rpartition(".")
    setattr(network.get_submodule(parent), own, nn.Identity())
    return Wrapped(network, linear.in_features, num_classes, key, _UNUSED.get(short, ()))


def hub_state(name: str, version: str) -> dict:
    """The state dict of published weights, ``DEFAULT`` or one of torchvision's names for them; downloaded if not in torch's cache.

    Raises:
        KeyError: no such weights.
        OSError: they cannot be fetched.
    """
    return dict(get_model_weights(name.removeprefix(TORCHVISION))[version].get_state_dict(progress=False, check_hash=True))
