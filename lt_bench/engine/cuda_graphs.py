"""A training step captured once as a CUDA graph and replayed: at batch 64 a small network otherwise waits for its launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

WARMUP_STEPS = 3


class GraphedStep:
    """Calls a step that depends on nothing but its batch size: the first few times eagerly, then from a graph.

    The step must read and write device tensors in place only: no synchronisation, no new storage that outlives it. The eager steps are steps like any
    other; they run on the stream of the capture, which sets up libraries, optimizer state and, where the network is compiled, its kernels.

    Args:
        step: takes the batch size.
    """

    def __init__(self, step: Callable[[int], None]) -> None:
        self._step = step
        self._stream = torch.cuda.Stream()
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._eager: Counter[int] = Counter()

    def __call__(self, batch: int) -> None:
        """Do one step."""
        if batch not in self._graphs:
            if self._eager[batch] < WARMUP_STEPS:
                self._eager[batch] += 1
                self._run_aside(batch)
                return
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._step(batch)
            self._graphs[batch] = graph
        self._graphs[batch].replay()

    def _run_aside(self, batch: int) -> None:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._step(batch)
        current.wait_stream(self._stream)
