"""Strategies that each break the contract in one way."""

import torch
from torch import nn

from lt_bench.strategies._lib.cross_entropy import shift
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper


class Sound(Strategy):
    """``l_i = CE(z_i, y)``."""

    name = "sound"
    family = "test"
    paper = "none"
    stackable = True


class Averages(Sound):
    """``l = mean CE``: reduces itself."""

    name = "averages"

    def loss(self, logits, batch):
        return super().loss(logits, batch).mean()


class WrongGradient(Sound):
    """``l_i = CE``, with half its gradient cut."""

    name = "wrong_gradient"

    def loss(self, logits, batch):
        losses = super().loss(logits, batch)
        return losses / 2 + losses.detach() / 2


class NaiveSoftmax(Sound):
    """``l_i = -log(exp z_y / sum exp z)``: overflows."""

    name = "naive_softmax"

    def kernel(self, logits, labels):
        p = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return -p.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1).log()


class MeansTheBatch(Sound):
    """``l_i = CE`` over the batch's mean, which an empty share does not have."""

    name = "means_the_batch"

    def kernel(self, logits, labels):
        return super().kernel(logits - logits.amax(-2, keepdim=True), labels)


class ZeroOverZero(Sound):
    """``l_i = w_y CE`` with w from 0 at the largest class to 1: 0 / 0 for equal counts."""

    name = "zero_over_zero"

    def transform(self, logits, labels):
        return logits * (1 + (self.class_counts.max() - self.class_counts) / (self.class_counts.max() - self.class_counts.min())).to(logits)


class SharedAcrossHeads(Sound):
    """``l_i = CE`` + (sum over heads)^2: heads see each other."""

    name = "shared_across_heads"

    def regulariser(self):
        square = self.weight.sum().square()
        return square if self.heads is None else square.expand(self.heads)


class TakesANumber(Sound):
    """``T(z) = m z``, with m taken for a number where a stack has one for each head (trials B5)."""

    name = "takes_a_number"
    m: float = hyper(1.0, low=0.0, high=10.0, help="a factor")

    def transform(self, logits, labels):
        return logits * float(self.m)


class Forgets(Sound):
    """``l_i = CE / (1 + steps)``: a count that no checkpoint holds."""

    name = "forgets"

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.count = nn.Buffer(torch.zeros(()), persistent=False)

    def transform(self, logits, labels):
        return logits / (1 + self.count)

    def end_epoch(self, epoch):
        self.count += 1


class NoShift(Sound):
    """``T(z) = 2 z``, marked as a shift."""

    name = "no_shift"

    @shift
    def transform(self, logits, labels):
        return 2 * logits


class StillTrainable(Sound):
    """``l_i = CE``; hands out its own parameters."""

    name = "still_trainable"

    def inference_head(self):
        module = nn.Linear(self.facts.dim, self.facts.num_classes)
        module.weight = nn.Parameter(self.weight)
        return module


class TakesAnotherHome(Sound):
    """Logits times a learned scale, which the inference head lacks (trials B2): at the start the two are the same."""

    name = "takes_another_home"

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.scale = nn.Parameter(torch.ones(*self.leading, 1, 1))

    def logits(self, features):
        return super().logits(features) * self.scale


class NothingTrainable(Sound):
    """``l_i = CE``, with everything frozen."""

    name = "nothing_trainable"

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.requires_grad_(False)


class DeadParameter(Sound):
    """``l_i = CE``, and a parameter that it does not depend on."""

    name = "dead_parameter"

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.extra = nn.Parameter(torch.ones(*self.leading, 1))


class BadGrid(Sound):
    """``l_i = CE``; its grid names no hyper-parameter."""

    name = "bad_grid"
    grid = {"temperature": (1.0,)}  # noqa: RUF012


class Crashes(Sound):
    """``l_i = CE``; a plain mistake."""

    name = "crashes"

    def kernel(self, logits, labels):
        return logits.no_such_method()
