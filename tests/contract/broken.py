"""Strategies that each break the contract in one way."""

import torch
from torch import nn

from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies.contract import Strategy


class Sound(Strategy):
    """``l_i = CE(z_i, y)``."""

    name = "sound"
    family = "test"
    paper = "none"


class Averages(Sound):
    """``l = mean CE``: reduces itself."""

    def loss(self, logits, labels, features=None):
        return super().loss(logits, labels, features).mean()


class WrongGradient(Sound):
    """``l_i = CE``, with half its gradient cut."""

    def loss(self, logits, labels, features=None):
        losses = super().loss(logits, labels, features)
        return losses / 2 + losses.detach() / 2


class NaiveSoftmax(Sound):
    """``l_i = -log(exp z_y / sum exp z)``: overflows."""

    def kernel(self, logits, labels):
        p = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return -p.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1).log()


class MeansTheBatch(Sound):
    """``l_i = CE`` over the batch's mean, which an empty share does not have."""

    def kernel(self, logits, labels):
        return super().kernel(logits - logits.amax(-2, keepdim=True), labels)


class ZeroOverZero(Sound):
    """``l_i = w_y CE`` with w from 0 at the largest class to 1: 0 / 0 for equal counts."""

    def transform(self, logits, labels):
        return logits * (1 + (self.class_counts.max() - self.class_counts) / (self.class_counts.max() - self.class_counts.min())).to(logits)


class SharedAcrossHeads(Sound):
    """``l_i = CE`` + (sum over heads)^2: heads see each other."""

    def regulariser(self):
        return self.weight.sum().square().expand(self.heads)


class Forgets(Sound):
    """``l_i = CE / (1 + steps)``: a count that no checkpoint holds."""

    def __init__(self, facts, **recipe):
        super().__init__(facts, **recipe)
        self.count = nn.Buffer(torch.zeros(()), persistent=False)

    def transform(self, logits, labels):
        return logits / (1 + self.count)

    def end_epoch(self, epoch):
        self.count += 1


class HidesInInputs(Sound):
    """``z_i = W (a h_i) + b`` with a trained where nothing trained belongs."""

    def __init__(self, facts, **recipe):
        super().__init__(facts, **recipe)
        self.length = nn.Parameter(torch.ones(self.heads, 1, 1))

    def inputs(self, features):
        return features * self.length


class NoShift(Sound):
    """``T(z) = 2 z``, marked as a shift."""

    @shift
    def transform(self, logits, labels):
        return 2 * logits


class StillTrainable(Sound):
    """``l_i = CE``; hands out its own parameters."""

    def inference_head(self, head=0):
        module = nn.Linear(self.facts.dim, self.facts.num_classes)
        module.weight = nn.Parameter(self.weight[head])
        return module


class TakesAnotherHome(Sound):
    """Trains on squared features, and exports a head that does not square them."""

    def inputs(self, features):
        return features.square()


class NothingTrainable(Sound):
    """``l_i = CE``, with everything frozen."""

    def __init__(self, facts, **recipe):
        super().__init__(facts, **recipe)
        self.requires_grad_(False)


class DeadParameter(Sound):
    """``l_i = CE``, and a parameter that it does not depend on."""

    def __init__(self, facts, **recipe):
        super().__init__(facts, **recipe)
        self.extra = nn.Parameter(torch.ones(self.heads, 1))


class BadGrid(Sound):
    """``l_i = CE``; its grid names no hyper-parameter."""

    grid = {"temperature": (1.0,)}  # noqa: RUF012


class Crashes(Sound):
    """``l_i = CE``; a plain mistake."""

    def kernel(self, logits, labels):
        return logits.no_such_method()
