"""The terms of a step that autograd differentiates, beside gradients that are written down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Terms:
    """A sum of which the gradient is asked for: tensors with the gradient that is known for each, and gradients that need no more work."""

    def __init__(self) -> None:
        self._outputs: list[Tensor] = []
        self._weights: list[Tensor | None] = []
        self._known: dict[Tensor, Tensor] = {}

    def add(self, output: Tensor, weight: Tensor | None = None) -> None:
        """``output`` counts with ``weight``, or is itself a term."""
        if output.requires_grad:
            self._outputs.append(output)
            self._weights.append(weight)

    def known(self, tensor: Tensor, gradient: Tensor) -> None:
        """``tensor`` has this gradient: the answer where it is asked for, the start of a way back where it was computed."""
        if tensor.grad_fn is None:
            self._known[tensor] = gradient
        else:
            self.add(tensor, gradient)

    def slope(self, objective: Tensor, losses: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The gradient of ``objective`` for ``losses``; those for ``others`` are kept."""
        slope, *rest = torch.autograd.grad(objective, (losses, *others), allow_unused=True)
        self._known |= {other: gradient for other, gradient in zip(others, rest, strict=True) if gradient is not None}
        return torch.zeros_like(losses) if slope is None else slope

    def gradients(self, tensors: Sequence[Tensor]) -> list[Tensor | None]:
        """The gradient with respect to each of ``tensors``, None where nothing depends on it."""
        gradients: Sequence[Tensor | None] = [None] * len(tensors)
        if self._outputs:
            asked = [number for number, tensor in enumerate(tensors) if tensor.requires_grad]
            some = torch.autograd.grad(self._outputs, [tensors[number] for number in asked], self._weights, allow_unused=True)
            gradients = list(gradients)
            for number, gradient in zip(asked, some, strict=True):
                gradients[number] = gradient
        return [total(gradient, self._known.get(tensor)) for tensor, gradient in zip(tensors, gradients, strict=True)]


def total(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The sum of two gradients, of which any may be none."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
