"""Whether an imported checkpoint is what its owners say: its own classifier on the extracted features must give the stated accuracy."""

from __future__ import annotations

import torch

from lt_bench.backbones.loading import Loaded
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache

LARGEST_MISS = 1.0  # percentage points
CHUNK = 8192


def stage1_accuracy(cache: FeatureCache) -> float | None:
    """Accuracy in per cent of the cache's stage-1 head on the plain test view; None where there is no head."""
    head = cache.head()
    if head is None:
        return None
    test = cache.split("test", views=["plain"])
    features = test.view("plain")
    correct = torch.zeros((), dtype=torch.int64)
    for rows in torch.arange(len(test)).split(CHUNK):
        logits = torch.addmm(head.bias, features[rows].float(), head.weight.T)
        correct += (logits.argmax(1) == test.labels[rows]).sum()
    return 100 * float(correct) / len(test)


def self_test(cache: FeatureCache, loaded: Loaded) -> str | None:
    """One line that says what the imported head gives and by how much that misses the stated accuracy; None where there is no head.

    Raises:
        UserError: it misses by more than a percentage point.
    """
    accuracy = stage1_accuracy(cache)
    if accuracy is None:
        return None
    measured = f"{cache.manifest.name}: the imported head gives {accuracy:.2f} % on the plain test view"
    stated = loaded.stated
    if stated is None:
        return f"{measured}; the owners state no figure for {loaded.recipe.encoder} here, compare it with yours"
    miss = accuracy - stated.accuracy
    told = f"{measured}, stated are {stated.accuracy:.2f} % ({stated.source}): a difference of {miss:+.2f} points"
    if abs(miss) > LARGEST_MISS:
        raise UserError(
            f"{told}, more than {LARGEST_MISS:g}; the weights, the images or their preparation are others than stated. "
            f"The cache is kept: if the checkpoint is a run of your own, go on with --cache {word(cache.path)}"
        )
    return told
