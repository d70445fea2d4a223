"""Sharpness-aware minimisation of a head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.core.processes import current
from lt_bench.strategies.contract import Batch, Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import LogPrior


class SAM(Strategy):
    """Sharpness-aware minimisation: the gradient of the logit-adjusted loss is taken where a step uphill has led.

    ``theta <- theta - lr grad L(theta + rho g / ||g||)``, g = grad L(theta), theta = (W, b); ``L = mean CE(T(z_i), y)``, ``T(z)_c = z_c + tau log pi_c``; tau 0 is plain
    cross-entropy. Weight decay and momentum are those of SGD, and see the gradient up there (as in cool-xuan/Imbalanced_SAM ``imbsam.py`` SAM).

    Published for whole networks, rho 0.05; of a head alone recipe and grid are inferred.
    """

    name = "sam"
    family = "optimisation"
    paper = (
        "Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021; loss of Menon et al., ICLR 2021"
    )
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5)}
    stackable = True

    rho: float = hyper(0.05, low=0, high=100, grid=(0.05, 0.2, 1.0), help="length of the step uphill")
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior in the loss")

    transform = LogPrior("tau")

    def sharp(self, labels: Tensor) -> Tensor | None:
        """Samples (B,) whose loss is minimised uphill, 1 or 0; None for all."""
        return None

    def before_update(self, logits: Tensor, batch: Batch) -> None:
        """Exchange the gradient of the sharp samples for the one uphill; the parameters are where they were afterwards."""
        trained, mask = (self.weight, self.bias), self.sharp(batch.labels)
        before = [self._gradient_of(parameter) for parameter in trained] if mask is None else self._slopes(batch, mask)
        length = (before[0].square().sum((-2, -1)) + before[1].square().sum(-1)).sqrt().unsqueeze(-1) + 1e-16
        step = self.rho / length
        start = [parameter.clone() for parameter in trained]
        self.weight.add_(step.unsqueeze(-1) * before[0])
        self.bias.add_(step * before[1])
        uphill = self._slopes(batch, mask)
        for parameter, where, one, other in zip(trained, start, before, uphill, strict=True):
            parameter.copy_(where)
            self._gradient_of(parameter).add_(other - one)

    def _slopes(self, batch: Batch, mask: Tensor | None) -> list[Tensor]:
        """Gradients of the whole batch's loss, of the samples of a mask alone, for weight and bias."""
        processes = current()
        with torch.enable_grad():
            losses = self.loss(self.logits(batch.features), batch)
            share = (losses if mask is None else losses * mask).sum()
            slopes = torch.autograd.grad(share, (self.weight, self.bias))
        size = processes.all_reduce(torch.tensor(float(batch.labels.shape[-1]), device=losses.device))
        return [processes.all_reduce(slope) / size for slope in slopes]

    @staticmethod
    def _gradient_of(parameter: Tensor) -> Tensor:
        assert parameter.grad is not None
        return parameter.grad


class ImbSAM(SAM):
    """ImbSAM: sharpness-aware for rare classes only.

    ``theta <- theta - lr (grad L_frequent(theta) + grad L_rare(theta + rho g / ||g||))``, g = grad L_rare(theta): L_rare is twice the sum of the losses of samples of
    classes with fewer than ``eta`` training images, over the batch size, L_frequent that of the others. ``L``'s kernel and prior are those of ``sam``.

    The factor 2 is that of the code (cool-xuan/Imbalanced_SAM c65f41e ``utils/trainval.py``), as are eta 20 and rho 0.05. It trains a whole network there, with
    plain cross-entropy; of a head alone it is inferred.
    """

    name = "imbsam"
    paper = "Zhou et al., ImbSAM: A Closer Look at Sharpness-Aware Minimization in Class-Imbalanced Recognition, ICCV 2023; code cool-xuan/Imbalanced_SAM"

    eta: int = hyper(20, low=1, high=1_000_000, grid=(20, 100), help="training images from which on a class is not rare")

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        self.class_weight = torch.where(self.class_counts < self.eta, 2.0, 1.0).double()

    def sharp(self, labels: Tensor) -> Tensor:
        """Samples of rare classes."""
        return (self.class_counts[labels] < self.eta).to(self.weight.dtype)
