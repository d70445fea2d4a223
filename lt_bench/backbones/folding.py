"""Convolutions with the BatchNorm after them folded in: the same function in eval mode, faster on a processor, where BatchNorm is a pass over memory of its own."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lt_bench.backbones.base import Backbone

TOLERANCE = 1e-4
"""Largest difference of a feature, relative to the largest feature, up to which the folded network is the same."""


class _Follower(nn.Module):
    """The second half of timm's BatchNorm layers: dropout of blocks, and an activation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.drop, self.act = (getattr(norm, name, None) or nn.Identity() for name in ("drop", "act"))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(x))


def folded(network: Backbone, size: int) -> Backbone:
    """A copy of a network in eval mode for inference alone, with every BatchNorm folded whose input is the output of a convolution; the network itself where its features differ.

    Args:
        network: on the CPU.
        size: height and width of an input, pixels.
    """
    example = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    quick = copy.deepcopy(network)
    names = {module: name for name, module in quick.named_modules()}
    with torch.inference_mode():
        expected = quick.features(example)
    for conv, norm in _pairs(quick, example):
        _put(quick, names[conv], fuse_conv_bn_eval(conv, norm))
        _put(quick, names[norm], _Follower(norm))
    with torch.inference_mode():
        difference = (quick.features(example) - expected).abs().max()
    return quick if bool(difference <= TOLERANCE * expected.abs().max()) else network


def _pairs(network: Backbone, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Pairs of a convolution and the BatchNorm on its output, both used only once."""
    convolutions: dict[int, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # kept alive, so that Python gives no id twice
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs.append(output)
            convolutions[id(output)] = module

    def before(module: nn.Module, inputs: tuple) -> None:
        if isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in convolutions:
            pairs.append((convolutions[id(inputs[0])], module))

    hooks = [
        hook for module in network.modules() for hook in (module.register_forward_hook(after), module.register_forward_pre_hook(before))
    ]
    with torch.inference_mode():
        network.features(example)
    for hook in hooks:
        hook.remove()
    uses = [module for pair in pairs for module in pair]
    return [(conv, norm) for conv, norm in pairs if uses.count(conv) == uses.count(norm) == 1]


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
