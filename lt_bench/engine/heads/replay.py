"""Steps captured once on a GPU and replayed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Capture = Callable[[Callable[[int], None]], Callable[[int], None]]
"""Makes a captured step of a step that takes the batch size."""


class Replay:
    """A captured step that reads its batch from a place that stays.

    Args:
        capture: makes it.
        step: takes the batch, rows (S, B).
        like: rows (S, *), as the batches will be.
        batch_size: the largest B.
    """

    def __init__(self, capture: Capture, step: Callable[[Tensor], None], like: Tensor, batch_size: int) -> None:
        place = like.new_zeros(like.shape[0], batch_size)
        self._place, self._step = place, capture(lambda size: step(place[:, :size]))

    def __call__(self, index: Tensor) -> None:
        """One step on the batch ``index`` (S, B)."""
        self._place[:, : index.shape[1]] = index
        self._step(index.shape[1])
