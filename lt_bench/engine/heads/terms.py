"""The terms of a step that autograd differentiates, beside gradients that are written down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Terms:
    """Terms of a sum to differentiate: tensors with the known gradient of the sum, from which autograd goes on, and gradients that are final."""

    def __init__(self) -> None:
        self._outputs: list[Tensor] = []
        self._weights: list[Tensor | None] = []
        self._known: dict[Tensor, Tensor] = {}

    def add(self, output: Tensor, weight: Tensor | None = None) -> None:
        """Add a tensor with the gradient ``weight`` of the sum, or a scalar term; ignored where it requires no gradient."""
        if output.requires_grad:
            self._outputs.append(output)
            self._weights.append(weight)

    def known(self, tensor: Tensor, gradient: Tensor) -> None:
        """State the gradient of the sum for ``tensor``: final for a leaf; from a computed tensor, autograd goes on."""
        if tensor.grad_fn is None:
            self._known[tensor] = gradient
        else:
            self.add(tensor, gradient)

    def slope(self, objective: Tensor, losses: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The gradient of ``objective`` for ``losses``; gradients for ``others`` are stored as final."""
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
    """The sum of two gradients, either of which may be None; None for two."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
