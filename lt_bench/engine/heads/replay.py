"""Steps captured once on a GPU and replayed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Capture = Callable[[Callable[[int], None]], Callable[[int], None]]
"""Captures a step, a function of the batch size, and returns the captured one."""


class Replay:
    """A captured step that reads its batch from a fixed tensor, into which every call copies its rows.

    Args:
        capture: captures the step.
        step: takes the batch, rows (S, B).
        like: rows (S, *) of the batches' type, on their device.
        batch_size: the largest B.
    """

    def __init__(self, capture: Capture, step: Callable[[Tensor], None], like: Tensor, batch_size: int) -> None:
        place = like.new_zeros(like.shape[0], batch_size)
        self._place, self._step = place, capture(lambda size: step(place[:, :size]))

    def __call__(self, index: Tensor) -> None:
        """One step on the batch ``index`` (S, B)."""
        self._place[:, : index.shape[1]] = index
        self._step(index.shape[1])
