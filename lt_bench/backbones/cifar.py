"""CIFAR ResNets of depth 6n + 2 (He et al. 2016, section 4.2), with option A shortcuts: subsampling and zero channels, no parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.new_channels:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.new_channels // 2, self.new_channels // 2))
        return F.relu(out + x)


class CifarResNet(Backbone):
    """ResNet of 6n + 2 layers for 32x32 images, D = 64 unless ``widths`` say otherwise.

    Keys of the state dict: ``conv1, bn1, layer{1,2,3}.{i}.{conv1,bn1,conv2,bn2}, fc``. Weights start from He's normal initialisation, the classifier's too,
    as in the code behind LDAM-DRW and most CIFAR-LT results.

    Args:
        num_classes: K.
        blocks: n blocks in each of the three stages.
        widths: channels of the stages; the last is D.
    """

    def __init__(self, num_classes: int, blocks: int, widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        super().__init__()
        first, second, self.dim = widths
        self.conv1 = nn.Conv2d(3, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        stages = [(first, first, 1), (first, second, 2), (second, self.dim, 2)]
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(_Block(inputs, outputs, stride), *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))
            for inputs, outputs, stride in stages
        )
        self.fc = nn.Linear(self.dim, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D)."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


def build(name: str, num_classes: int) -> CifarResNet:
    """``resnet20``, ``resnet32``, ``resnet44`` or ``resnet56``."""
    return CifarResNet(num_classes, (int(name.removeprefix("resnet")) - 2) // 6)
