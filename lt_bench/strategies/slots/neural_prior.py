"""The log prior that a linear layer learns from features, taken off at inference."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.lbfgs import Solution, minimise, moments
from lt_bench.strategies._lib.remembered import remembered
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.inference import AtInference

ITERATIONS = 200


class NeuralPrior(AtInference):
    """``z_c + (p_c - mean p) h + a_c - mean a``: p, a minimise the mean of ``log(1 + exp(p_y h + a_y))`` over training samples plus decay / 2 (||p||^2 + ||a||^2).

    The one-way logistic loss pushes the output of the true class down, further for frequent classes, so that the output estimates minus the log prior. Yavari and
    Moallem, 2026 (masoudya/neural-prior-estimator ``classification/train.py``), whose modules, trained beside the network, all have this one minimum here.
    """

    slot = "at_inference"
    name = "neural_prior"
    changes_rows = True
    needs_train = True
    decay: float = hyper(1e-3, low=1e-9, high=1e3, help="weight decay of the layer")

    def prepare(self, class_counts: Tensor) -> None:
        """Forget the layer of an earlier fit."""
        self.learned: Solution | None = None

    def learn_train(self, weight: Tensor, bias: Tensor, train: FeatureSource) -> None:
        """The layer; the fitted head is not looked at."""
        K, decay = len(weight), float(self.decay)
        losses = partial(one_way_losses, decay=decay)
        self.learned = remembered(
            train, ("neural_prior", K, decay), lambda: minimise(losses, train, moments(train, K), K, decay, ITERATIONS)
        )

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The layer added to the head."""
        if self.learned is None:
            return weight, bias
        rows, offsets = self.learned.weight, self.learned.bias
        return weight + (rows - rows.mean(0)).to(weight), bias + (offsets - offsets.mean()).to(bias)


def one_way_losses(rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, decay: float) -> Tensor:
    """``log(1 + exp(p_y h + a_y))`` (B,), and the decay of the bias, which that of the weight does not reach."""
    return F.softplus((rows * weight[labels]).sum(1) + bias[labels]) + decay / 2 * bias.square().sum()
