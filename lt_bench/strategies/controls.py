"""Controls: heads that cannot know what a metric is said to measure, to be read beside those that might."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureSplit
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.lbfgs import Moments, minimise, moments
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.convex_la import Convex
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.ncm import NCM
from lt_bench.strategies.slots.inference import RandomScale

NEVER = 100.0
"""Distance by which the bias of a class without validation images lies below all others, so that the class is never predicted."""


class RandomScales(Strategy):
    """The stage-1 head with a random scale for each class: ``z_ic = s_c (w_c h_i + b_c)``, ``log s_c ~ N(0, sigma^2)``.

    It knows less than the stage-1 head. RSD divides a class's spread by its LoMa, so the scale cancels: a figure that this head shares with good ones is not what
    makes them good.
    """

    name = "random_scales"
    family = "control"
    paper = "a control of ours, no paper"
    trains = "nothing"
    fitting = "none"

    sigma: float = hyper(0.5, low=0, high=5, grid=(0.25, 0.5, 1.0), help="standard deviation of the logarithm of a class's scale")
    draw: int = hyper(0, low=0, high=1_000_000, help="of the random numbers")

    at_inference = RandomScale("sigma", "draw")


class RandomHead(Strategy):
    """A head that nobody trained: torch's default initialisation of a linear layer.

    ``z_i = W h_i + b``, W and b uniform in +-1/sqrt(D).
    """

    name = "random_head"
    family = "control"
    paper = "a control of ours, no paper"
    initial_head = "random"
    trains = "nothing"
    fitting = "none"


class OneImage(NCM):
    """Nearest image: ``ncm`` whose class mean is that of one training image of each class, so that every class knows equally much.

    ``z_ic = -||f_i - f_c||^2`` with f_c the feature of that image, and f as in ``ncm``.
    """

    name = "ncm_one_image"
    family = "control"
    paper = "a control of ours, no paper; the classifier is that of Kang et al., ICLR 2020"
    official = ()

    draw: int = hyper(0, low=0, high=1_000_000, help="of the random numbers that choose the images")

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """The means of ``ncm``, those of the classes exchanged for one image each."""
        super().solve(train)
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.draw))
        labels, features = train.labels.cpu()[order], train.view("plain")
        first = {int(label): int(row) for label, row in zip(labels.flip(0), order.flip(0), strict=True)}
        classes, rows = (torch.tensor(one, device=self.means.device) for one in (list(first), list(first.values())))
        self.means[classes] = self._centred(features[rows.to(features.device)].to(self.means))


class ValidationProbe(Convex):
    """The linear probe on the validation images alone, which others only choose hyper-parameters on: what their labels are worth as training data.

    ``l_i = CE(W h_i + b, y_i)`` over the classes that have validation images; the others are never predicted. The training images are not looked at. The ridge was chosen by
    cross-validation on the validation images of the shipped features.
    """

    name = "val_probe"
    family = "control"
    paper = "a control of ours, no paper"
    selected_on_val = True

    ridge = 1e-2
    iterations = 300
    trains_on_held_out = True

    @torch.no_grad()
    def solve(self, train: FeatureSource) -> None:
        """The optimum on the validation images of classes with training rows.

        Raises:
            UserError: there are none that the backbone has not seen.
        """
        if self.held_out is None:
            raise UserError(
                f"{self.name}: it trains on validation images that the backbone has not seen, and there are none here; take a cache that has them"
            )
        known = self.held_out.labels >= 0
        features, (classes, labels) = self.held_out.view("plain")[known], self.held_out.labels[known].unique(return_inverse=True)
        rows = FeatureSplit("val", ("plain",), (features,), labels, torch.arange(len(labels)))
        K, of_features = len(classes), moments(rows, len(classes))
        solution = minimise(partial(self.sample_losses, of_features=of_features), rows, of_features, K, self.ridge, self.iterations)
        self.weight.zero_()[classes] = solution.weight.to(self.weight)
        self.bias.fill_(float(solution.bias.min()) - NEVER)[classes] = solution.bias.to(self.bias)
        self.solved = solution.report

    def sample_losses(self, rows: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, of_features: Moments) -> Tensor:
        """Cross-entropy."""
        return smoothed_cross_entropy(rows @ weight.T + bias, labels, 0.0)
