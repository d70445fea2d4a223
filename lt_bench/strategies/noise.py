"""Random numbers of a fit that do not depend on how heads are stacked or processes share a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_bench.core.seeds import derive_seed


class Draws:
    """Noise for a strategy's loss, one stream per batch order (repetition).

    Each stream is seeded by its repetition and the epoch; numbers are drawn for the global batch and every process keeps its own columns, so 1 and 2 processes,
    and a stack and its single heads, see the same noise.

    Args:
        repetitions: one per batch order S.
    """

    def __init__(self, repetitions: tuple[int, ...] = (0,)) -> None:
        self._repetitions = repetitions
        self._generators: list[torch.Generator] = []
        self._epoch_chunk: tuple[int, int] = (0, 0)
        self._total, self._rank, self._world = 0, 0, 1

    def seed(self, repetitions: tuple[int, ...]) -> None:
        """Draw for these repetitions from now on."""
        self._repetitions, self._generators = repetitions, []

    def start(self, epoch: int, chunk: int) -> None:
        """Begin the streams of one chunk of an epoch."""
        self._epoch_chunk = (epoch, chunk)
        self._generators = []

    def share(self, total: int, rank: int, world: int) -> None:
        """The next draws are for a global batch of ``total`` samples, of which this process has columns rank, rank + world, ..."""
        self._total, self._rank, self._world = total, rank, world

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of ``like`` (..., B, *)."""
        return self._draw(torch.rand, like)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of ``like`` (..., B, *)."""
        return self._draw(torch.randn, like)

    def row(self, width: int, device: torch.device) -> Tensor:
        """Uniform numbers (S, width) that all samples of a batch share, on every process."""
        return torch.stack([torch.rand(width, generator=generator, device=device) for generator in self._streams(device)])

    def _draw(self, function, like: Tensor) -> Tensor:
        stacked = like if like.dim() > 2 else like.unsqueeze(0)
        H, B, K = stacked.shape
        total = self._total or B
        generators = self._streams(like.device)
        S = len(generators)
        drawn = torch.empty(S, total, K, device=like.device, dtype=torch.float32)
        for place, generator in zip(drawn, generators, strict=True):
            function(total, K, generator=generator, out=place)
        mine = drawn[:, self._rank :: self._world].unsqueeze(1)
        return mine.expand(S, H // S, *mine.shape[2:]).reshape(like.shape).to(like.dtype).contiguous()  # may be changed in place

    def _streams(self, device: torch.device) -> list[torch.Generator]:
        if not self._generators:
            self._generators = [
                torch.Generator(device).manual_seed(derive_seed("noise", repetition, *self._epoch_chunk))
                for repetition in self._repetitions
            ]
        return self._generators
