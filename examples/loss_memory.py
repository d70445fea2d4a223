"""A memory of every sample's loss, and a sampler of one's own that draws hard samples more often."""

import torch

import lt_bench as lt


class HardFirst(lt.Sampler):
    def order(self, epoch):
        return torch.multinomial(epoch.sample_weight.float(), len(epoch.labels), replacement=True, generator=epoch.generator)


class LossMemory(lt.Strategy):
    """``l_i = CE(z_i, y)`` on samples drawn in proportion to ``(smoothed loss of the sample)^power``."""

    name = "loss_memory"
    sampler = HardFirst
    power: float = lt.hyper(0.5, low=0, high=4, grid=(0.25, 0.5, 1.0), help="how much more often hard samples are drawn")

    def __init__(self, facts, **hyperparameters):
        super().__init__(facts, **hyperparameters)
        self.memory = torch.nn.Buffer(torch.ones(facts.num_samples))

    def observe(self, logits, batch):
        self.memory[batch.rows] = 0.9 * self.memory[batch.rows] + 0.1 * self.loss(logits, batch).to(self.memory)

    def sample_weights(self):
        return self.memory.clamp_min(1e-3) ** self.power
