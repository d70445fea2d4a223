"""torchvision's ResNets with a stem for small images: a 3x3 convolution and no max-pool."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from lt_bench.backbones.base import Backbone


class SmallResNet(Backbone):
    """A ResNet of basic blocks for 32x32 images, D = 512; keys of the state dict as torchvision's: ``conv1, bn1, layer1..4, fc``.

    Args:
        num_classes: K.
        layers: blocks in each of the four stages.
        stride: of the stem.
        plain_init: convolutions start as PyTorch's own layers do, as in the official LOS code, instead of torchvision's He initialisation.
    """

    dim = 512

    def __init__(self, num_classes: int, layers: tuple[int, int, int, int], stride: int, plain_init: bool) -> None:
        super().__init__()
        network = ResNet(BasicBlock, list(layers), num_classes=num_classes)
        self.conv1 = nn.Conv2d(3, 64, 3, stride, 1, bias=False)
        if not plain_init:
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.relu = network.bn1, network.relu
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layer1, network.layer2, network.layer3, network.layer4
        self.avgpool, self.fc = network.avgpool, network.fc
        if plain_init:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, 512)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)


def build(name: str, num_classes: int) -> SmallResNet:
    """``resnet34`` of the official LOS and weight-balancing code for CIFAR; ``resnet10s2``, one block a stage and a stem of stride 2."""
    if name == "resnet34":
        return SmallResNet(num_classes, (3, 4, 6, 3), stride=1, plain_init=True)
    return SmallResNet(num_classes, (1, 1, 1, 1), stride=2, plain_init=False)
