"""Strategies on small, seeded problems, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Batch, Facts, Strategy
from lt_bench.strategies.registry import find

COUNTS = (60, 41, 17, 17, 9, 4, 1)


@dataclass(frozen=True)
class Sample:
    """B samples: z (B, K), y (B,), h (B, D), and n (K,) of the training set, as numpy arrays."""

    z: np.ndarray
    y: np.ndarray
    h: np.ndarray
    n: np.ndarray

    @property
    def tensors(self) -> tuple[torch.Tensor, Batch]:
        """Logits, and the batch that they are of."""
        return torch.from_numpy(self.z), Batch(torch.from_numpy(self.h), torch.from_numpy(self.y), torch.arange(len(self.y)))


@pytest.fixture(params=[0.1, 3.0, 40.0], ids=lambda scale: f"scale{scale:g}")
def batch(request) -> Sample:
    rng = np.random.default_rng(7)
    K, B, D = len(COUNTS), 23, 5
    y = np.append(rng.integers(0, K - 2, B - 2), [K - 2, 0])  # the smallest class is absent
    return Sample(rng.normal(0, request.param, (B, K)), y, np.abs(rng.normal(0, 1, (B, D))), np.array(COUNTS, float))


@pytest.fixture
def make() -> Callable[..., Strategy]:
    """Make a strategy of one head by name in float64."""

    def of_name(name: str, counts=COUNTS, dim: int = 5, **hyperparameters) -> Strategy:
        generator = torch.Generator().manual_seed(11)
        head = Head(torch.randn(len(counts), dim, generator=generator), torch.randn(len(counts), generator=generator))
        facts = Facts(dim, tuple(counts), head)
        return find(name).load()(facts, **hyperparameters).double()

    return of_name


@pytest.fixture
def train() -> FeatureSplit:
    """The training features of ``COUNTS``, two views."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    centres = torch.randn(len(COUNTS), 5, generator=generator)
    features = (centres[labels.repeat(2)] + 0.7 * torch.randn(2 * len(labels), 5, generator=generator)).relu()
    return FeatureSplit("train", ("plain", "aug1"), (features,), labels, torch.arange(len(labels)))
