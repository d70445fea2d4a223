"""Networks of published checkpoints that no library provides: thinner last stages (RIDE), other depths and widths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.cifar import CifarResNet

_RESNETS: dict[str, dict[str, Any]] = {
    "variant.resnet10": {"block": BasicBlock, "layers": [1, 1, 1, 1]},
    "variant.resnext101_32x4d": {"layers": [3, 4, 23, 3], "groups": 32, "width_per_group": 4},
    "variant.resnext152_32x4d": {"layers": [3, 8, 36, 3], "groups": 32, "width_per_group": 4},
    "variant.resnet152_block": {"layers": [3, 8, 36, 4]},
    "variant.resnet50_thin": {"layers": [3, 4, 6, 3], "planes": (192, 384)},
    "variant.resnext50_32x4d_thin": {"layers": [3, 4, 6, 3], "groups": 32, "width_per_group": 4, "planes": (192, 384)},
}
VARIANTS = (*_RESNETS, "variant.resnet32_thin")


class LargeResNet(Backbone):
    """torchvision's ResNet with any number of blocks, and with other widths of the last two stages; keys of the state dict as torchvision's.

    Args:
        num_classes: K.
        layers: blocks in each of the four stages.
        planes: base widths of the third and fourth stage.
        block: kind of block.
        options: of torchvision's ResNet.
    """

    def __init__(
        self, num_classes: int, layers: list[int], planes: tuple[int, int] = (256, 512), block: type = Bottleneck, **options: Any
    ) -> None:
        super().__init__()
        network = ResNet(block, layers, num_classes=1, **options)
        if planes != (256, 512):
            network.inplanes = 128 * block.expansion
            network.layer3 = network._make_layer(block, planes[0], layers[2], stride=2)
            network.layer4 = network._make_layer(block, planes[1], layers[3], stride=2)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layer1, network.layer2, network.layer3, network.layer4
        self.dim = planes[1] * block.expansion
        self.fc = nn.Linear(self.dim, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)


def build(name: str, num_classes: int) -> Backbone:
    """A variant by its name."""
    if name == "variant.resnet32_thin":
        return CifarResNet(num_classes, 5, (16, 24, 48))
    return LargeResNet(num_classes, **_RESNETS[name])
