"""Neural prior estimation."""

from __future__ import annotations

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.neural_prior import NeuralPrior


class NPE(Strategy):
    """NPE-LA: the stage-1 classifier adjusted by a log prior that is learned from the features, not counted; nothing is fitted by batches, no seed.

    ``z_c + (p_c - mean p) h + a_c - mean a``, where ``p, a = argmin mean_i log(1 + exp(p_y h_i + a_y)) + decay / 2 (||p||^2 + ||a||^2)``: the one-way logistic loss.

    In the code (``classification/train.py``) one or more such layers are trained by SGD beside the network, which their loss also shapes; their mean is added at
    inference. On frozen features the loss of a layer is convex and touches nothing else, so that all of them have one minimum, which L-BFGS finds. The decays are those
    of its configurations: 1e-3 for CIFAR-100-LT, 2e-4 for CIFAR-10-LT, 5e-4 for ImageNet-LT; they are of SGD that ends early, hence inferred.
    """

    name = "npe"
    family = "logit adjustment"
    paper = "Yavari and Moallem, Neural Prior Estimation: Learning Class Priors from Latent Representations, 2026; code masoudya/neural-prior-estimator b2e3335"
    trains = "a learned log prior"
    fitting = "none"
    settings = {"cifar10_lt": {"decay": 2e-4}, "imagenet_lt": {"decay": 5e-4}}

    decay: float = hyper(1e-3, low=1e-9, high=1e3, grid=(1e-5, 1e-4, 5e-4, 1e-3, 1e-2), help="weight decay of the learned prior")

    at_inference = NeuralPrior("decay")
