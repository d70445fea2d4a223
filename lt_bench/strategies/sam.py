"""Sharpness-aware minimisation of a head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.strategies.contract import Batch, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import LogPrior


class SAM(Strategy):
    """Sharpness-aware minimisation: the gradient of the logit-adjusted loss is taken where a step uphill has led.

    ``theta <- theta - lr grad L(theta + rho g / ||g||)``, g = grad L(theta), theta = (W, b); ``L = mean CE(T(z_i), y)``, ``T(z)_c = z_c + tau log pi_c``; tau 0 is plain
    cross-entropy. Weight decay and momentum are those of SGD, and see the gradient up there (as in cool-xuan/Imbalanced_SAM ``imbsam.py`` SAM).

    Published for whole networks, rho 0.05; of a head alone recipe and grid are inferred. It trains in its own way, which is fitted head by head.
    """

    name = "sam"
    family = "optimisation"
    paper = (
        "Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021; loss of Menon et al., ICLR 2021"
    )
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5)}

    rho: float = hyper(0.05, low=0, high=100, grid=(0.05, 0.2, 1.0), help="length of the step uphill")
    tau: float = hyper(1.0, low=0, high=10, help="strength of the prior in the loss")

    transform = LogPrior("tau")

    def sharp_weights(self, labels: Tensor) -> Tensor:
        """How much the loss of each sample (B,) counts uphill; one of 0 is minimised as usual."""
        return torch.ones_like(labels, dtype=self.weight.dtype)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss uphill; ``on_before_optimizer_step`` leads back."""
        self._batch, trained = Batch(*batch), (self.weight, self.bias)
        uphill, size = self.sharp_weights(self._batch.labels), len(self._batch.labels)
        logits = self.logits(self._batch.features)
        losses, self._logits = self.loss(logits, self._batch), logits.detach()
        plain = losses[uphill == 0].sum() / size
        slopes = torch.autograd.grad((losses * uphill).sum() / size, trained, retain_graph=True)
        self._plain = torch.autograd.grad(plain, trained)
        length = torch.stack([slope.norm() for slope in slopes]).norm() + 1e-16
        self._step = [slope * (self.rho / length) for slope in slopes]
        with torch.no_grad():
            for parameter, step in zip(trained, self._step, strict=True):
                parameter += step
        return (self.loss(self.logits(self._batch.features), self._batch) * uphill).sum() / size + plain.detach()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Back to where the step begins, with the gradient of what is minimised as usual."""
        with torch.no_grad():
            for parameter, step, slope in zip((self.weight, self.bias), self._step, self._plain, strict=True):
                parameter -= step
                assert parameter.grad is not None
                parameter.grad += slope
        super().on_before_optimizer_step(optimizer)


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

    def sharp_weights(self, labels: Tensor) -> Tensor:
        """2 for samples of rare classes, 0 for others."""
        return 2 * (self.class_counts[labels] < self.eta).to(self.weight.dtype)
