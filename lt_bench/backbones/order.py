"""The class order of checkpoints that were trained on labels sorted by ``numpy.argsort``."""

from __future__ import annotations

from collections.abc import Sequence

_SMALL = 15  # the largest distance of two ends that is left to insertion


def argsort_introsort(values: Sequence[int]) -> list[int]:
    """The permutation that ``numpy.argsort(values)`` gave until version 1.24: an unstable quicksort whose order of equal values is part of the result.

    Newer versions order equal values by what the processor can do, so that the order of an old checkpoint must be found by the old algorithm: median of three,
    partitions of at most 16 elements by insertion, the larger partition later.

    Args:
        values: (K,) whole numbers.
    """
    v, order = list(values), list(range(len(values)))
    stack: list[tuple[int, int]] = []
    low, high = 0, len(order) - 1
    while True:
        while high - low > _SMALL:
            cut = _partition(v, order, low, high)
            if cut - low < high - cut:
                stack.append((cut + 1, high))
                high = cut - 1
            else:
                stack.append((low, cut - 1))
                low = cut + 1
        for i in range(low + 1, high + 1):
            moved, j = order[i], i
            while j > low and v[moved] < v[order[j - 1]]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = moved
        if not stack:
            return order
        low, high = stack.pop()


def _partition(v: list[int], order: list[int], low: int, high: int) -> int:
    def swap(a: int, b: int) -> None:
        order[a], order[b] = order[b], order[a]

    middle = low + (high - low) // 2
    for a, b in ((middle, low), (high, middle), (middle, low)):
        if v[order[a]] < v[order[b]]:
            swap(a, b)
    pivot = v[order[middle]]
    i, j = low, high - 1
    swap(middle, j)
    while True:
        i += 1
        while v[order[i]] < pivot:
            i += 1
        j -= 1
        while pivot < v[order[j]]:
            j -= 1
        if i >= j:
            break
        swap(i, j)
    swap(i, high - 1)
    return i
