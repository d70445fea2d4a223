"""Linear discriminants of random Fourier features beside those of the features, on validation: does a kernel bring something to ``lda``?

    python -m benchmarks.ours.random_features CACHE

``phi(f) = sqrt(2 / M) cos(A f / sigma + b)`` of f = h / ||h||, A normal and b uniform, stands for a Gaussian kernel of width sigma (Rahimi and Recht, 2007). Macro
accuracy of the best shrinkage of each width, and the test set is not looked at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureSplit, open_cache
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.registry import find

WIDTHS, SHRINKAGES, FEATURES, SEEDS = (0.25, 0.5, 1.0, 2.0), (0.003, 0.01, 0.03, 0.1, 0.3), 2048, (0, 1)


def fourier(dim: int, sigma: float, seed: int) -> Callable[[Tensor], Tensor]:
    """phi, from features (N, D) to (N, M)."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(dim, FEATURES, generator=generator) / sigma
    phases = 2 * math.pi * torch.rand(FEATURES, generator=generator)
    return lambda features: math.sqrt(2 / FEATURES) * torch.cos(F.normalize(features.float(), dim=1) @ directions + phases)


def macro(split: FeatureSplit, val: FeatureSplit, counts: tuple[int, ...], shrinkage: float) -> float:
    """Macro accuracy, in per cent, on validation of ``lda`` on the plain view of a split."""
    entry = find("lda")
    dim = split.blocks[0].shape[1]
    chosen = entry.resolve("cifar100_lt", None, {"shrinkage": shrinkage, "features": "l2n"})
    fitted = fit_heads([[HeadJob(entry, chosen, 0)]], Facts(dim, counts, None), split, Hardware("cpu"))[0]
    with torch.inference_mode():
        right = fitted.module()(val.view("plain").float()).argmax(1) == val.labels
    return 100 * torch.stack([right[val.labels == c].float().mean() for c in val.labels.unique()]).mean().item()


def plain(split: FeatureSplit, mapped: Callable[[Tensor], Tensor]) -> FeatureSplit:
    """The plain view of a split, mapped."""
    return replace(split, views=("plain",), blocks=(mapped(split.view("plain")),))


def main(path: Path) -> None:
    """A line for the features as they are, and one for each width."""
    cache = open_cache(path)
    train, val = cache.split("train"), cache.split("val")
    counts, dim = cache.manifest.dataset.train_counts, cache.manifest.backbone.dim
    maps = {"features": [lambda features: features.float()]}
    maps |= {f"{FEATURES} random features, sigma {sigma}": [fourier(dim, sigma, seed) for seed in SEEDS] for sigma in WIDTHS}
    for title, ways in maps.items():
        splits = [(plain(train, way), plain(val, way)) for way in ways]
        means = [sum(macro(*pair, counts, shrinkage) for pair in splits) / len(splits) for shrinkage in SHRINKAGES]
        sys.stdout.write(f"{title}: {max(means):.2f} at shrinkage {SHRINKAGES[means.index(max(means))]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
