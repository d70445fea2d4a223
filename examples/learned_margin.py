"""Own parameters and an epoch statistic: margins that are learned, pulled towards the errors of the epoch before."""

import torch
from torch.nn.functional import one_hot

import lt_bench as lt


class LearnedMargin(lt.Strategy):
    """``l_i = CE(T(z_i), y)``, ``T(z)_y = z_y - m_y``, plus ``pull sum_c (m_c - error_c)^2``; m is trained, error is the share of wrong answers last epoch."""

    name = "learned_margin"
    pull: float = lt.hyper(1.0, low=0, high=100, grid=(0.1, 1.0, 10.0), help="strength of the pull towards the errors")

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.margin = torch.nn.Parameter(torch.zeros(facts.num_classes))
        self.wrong, self.error = (torch.nn.Buffer(torch.zeros(facts.num_classes)) for _ in range(2))

    def transform(self, logits, labels):
        return logits - one_hot(labels, logits.shape[-1]) * self.margin[labels].unsqueeze(-1)

    def regulariser(self):
        return self.pull * (self.margin - self.error).square().sum()

    def observe(self, logits, batch):
        self.wrong.index_add_(0, batch.labels, (logits.argmax(1) != batch.labels).to(self.wrong))

    def statistics(self):
        return [self.wrong]  # added up across processes

    def end_epoch(self, epoch):
        self.error.copy_(self.wrong / self.class_counts.clamp_min(1))
        self.wrong.zero_()
