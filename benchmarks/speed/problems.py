"""Problems of the sizes people have: real class counts, synthetic features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import lt_bench
from lt_bench.data.profiles import profile_counts
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Facts

DISTINCT = 4096


@dataclass(frozen=True)
class Size:
    """A data set as a head sees it: name, class counts, feature dimension D, batch size B, and how many steps a measurement takes (CPU, CUDA)."""

    name: str
    counts: tuple[int, ...]
    dim: int
    batch: int
    cpu_steps: int
    cuda_steps: int

    @property
    def label(self) -> str:
        """For the table."""
        return f"{self.name}, {sum(self.counts):,} x {self.dim}, K {len(self.counts):,}, batch {self.batch}"

    def steps(self, device: str) -> int:
        """Number of steps of a measurement on a device."""
        return self.cpu_steps if device == "cpu" else self.cuda_steps

    def facts(self) -> Facts:
        """Facts of the problem, with a random stage-1 head."""
        K = len(self.counts)
        weight = torch.randn(K, self.dim, generator=torch.Generator().manual_seed(1)) / self.dim**0.5
        return Facts(self.dim, self.counts, Head(weight, torch.zeros(K)))

    def split(self, device: str, rows: int | None = None) -> FeatureSplit:
        """Training features in float16, all or the first ``rows`` after shuffling."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(len(self.counts)).repeat_interleave(torch.tensor(self.counts))
        labels = labels[torch.randperm(len(labels), generator=generator)][:rows]
        distinct = torch.randn(min(DISTINCT, len(labels)), self.dim, generator=generator).relu().half().to(device)
        features = torch.empty(len(labels), self.dim, dtype=torch.float16, device=device)
        for part in features.split(len(distinct)):  # drawing a billion numbers would take longer than the measurement
            part.copy_(distinct[: len(part)])
        return FeatureSplit("train", ("plain",), (features,), labels.to(device), torch.arange(len(labels)))


def shipped_counts(name: str) -> tuple[int, ...]:
    """Training images per class of a large data set."""
    path = Path(lt_bench.__file__).parent / "data" / "class_counts" / f"{name}.json"
    return tuple(json.loads(path.read_text(encoding="utf-8")))


def cifar100_lt() -> Size:
    """512 features of a ResNet-34."""
    return Size("CIFAR-100-LT", profile_counts("exponential", 500, 100, 100), 512, 64, 169, 169)


def imagenet_lt() -> Size:
    """2,048 features of a ResNet-50."""
    return Size("ImageNet-LT", shipped_counts("imagenet_lt"), 2048, 512, 12, 226)


def inat2018() -> Size:
    """2,048 features of a ResNet-50."""
    return Size("iNaturalist 2018", shipped_counts("inat2018"), 2048, 512, 3, 60)


def step(features: Tensor, weight: Tensor, logits: Tensor, gradient: Tensor) -> None:
    """A step's two products, laid out as the fits have them, which is the fastest way on the CPU."""
    torch.bmm(weight, features.transpose(1, 2), out=logits)
    torch.bmm(logits, features, out=gradient)


def products(heads: int, batch: int, dim: int, classes: int, device: str, shared: bool = False) -> tuple[Tensor, ...]:
    """Operands of a step's two products: features (H, B, D), weights (H, K, D), places for logits (H, K, B) and for the gradient."""
    features = torch.randn(1 if shared else heads, batch, dim, device=device)
    weight = torch.randn(features.shape[0], heads // features.shape[0] * classes, dim, device=device)
    return features, weight, torch.empty(features.shape[0], weight.shape[1], batch, device=device), torch.empty_like(weight)
