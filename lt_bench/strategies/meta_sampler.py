"""BALMS: balanced softmax with a learned sampler."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.meta_sampler import Drawn, adam_direction, alignment, mean_residual, split_members
from lt_bench.strategies._lib.tensors import stacked_linear
from lt_bench.strategies.balanced_softmax import BalancedSoftmax
from lt_bench.strategies.contract import Batch, Facts, Recipe
from lt_bench.strategies.hyper import hyper


class MetaSampler(BalancedSoftmax):
    """Balanced softmax on batches whose class rates are learned so that one step on them lowers cross-entropy on a class-balanced batch.

    ``l_i = CE(z_i + log n, y)``; the batch has no place in the formula: sample i of it is of class c with probability r_c n_c / sum r n, r = sigmoid(v). Each
    step draws a batch, takes W' = (1 - lr lambda) W - lr grad mean_i s_i l_i with s_i = 1, and moves v by Adam along the gradient of plain cross-entropy under W'
    on a balanced batch of training samples, through s_i (straight-through Gumbel-softmax); then the head is trained on the drawn batch as usual. v starts where
    r_c is proportional to pi_c^-init_power, scaled by 1 / (min + max). With frozen features there is no second way back: d outer / d s_i = -lr <grad_i, grad outer(W')>.

    Official code (jiawei-ren/BalancedMetaSoftmax-Classification ``data/MetaSampler.py``, ``run_networks.py`` meta_forward) and differences, all inferred: there the
    Gumbel-softmax runs over all N samples, here over classes with log (r n), the same law for the draw at a cost of K instead of N; the inner step there carries the
    optimizer's momentum, here it is plain. On ImageNet-LT and Places-LT the official balanced batch is drawn from the validation split, whose labels are thereby
    trained on; here it never is: it comes from the training split, as on CIFAR there. ``held_out`` keeps what that split gives there, a balanced batch of images the
    head is not trained on; it is ours, and made no difference on the shipped features (validation 41.2 against 41.4). Official init_power: 0.3 on Places-LT, 0 on CIFAR.
    """

    name = "meta_sampler"
    revision = 2
    family = "re-sampling"
    paper = "Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020; code jiawei-ren/BalancedMetaSoftmax-Classification"
    initial_head = "random"
    trains = "weight, bias and a sampling rate per class"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=512, iterations=2000, schedule_offset=1)
    official = ()
    settings = {
        "imagenet_lt": {"lr": 0.5, "epochs": 20, "meta_lr": 1e-3, "init_power": 0.1, "meta_batch_size": 1024},
        "places_lt": {"lr": 0.02, "batch_size": 256, "epochs": 10, "meta_lr": 1e-3, "init_power": 0.3},
    }
    grid = {"lr": (0.01, 0.1, 0.4), "weight_decay": (5e-4, 5e-3), "init_power": (0.0, 0.3)}

    meta_lr: float = hyper(0.01, low=0, high=10, help="learning rate of Adam on v")
    init_power: float = hyper(0.3, low=0, high=2, help="how strongly rare classes are favoured at the start")
    meta_batch_size: int = hyper(512, low=1, high=1_048_576, help="samples of the balanced batch")
    meta_source: Literal["train", "held_out"] = hyper(
        "train", help="balanced batch from all training images, or from a tenth that is held out for it"
    )

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__(facts, **hyperparameters)
        counts = self.class_counts.clamp_min(1)
        rarity = (counts / counts.sum()) ** -torch.as_tensor(self.init_power, dtype=torch.float64)
        rate = rarity / (rarity.amin(-1, keepdim=True) + rarity.amax(-1, keepdim=True))
        self.rate_logit = nn.Buffer(torch.logit(rate).float().expand(*self.leading, facts.num_classes).clone())
        self.mean, self.square = nn.Buffer(torch.zeros_like(self.rate_logit)), nn.Buffer(torch.zeros_like(self.rate_logit))
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.float32))

    def begin(self, train: FeatureSource) -> None:
        """Positions of the samples of each class."""
        self._members, self._balanced = split_members(train.labels, self.facts.num_classes, self.meta_source == "held_out")
        self._present = torch.bincount(train.labels).nonzero().squeeze(1)

    def begin_epoch(self, epoch: int) -> None:
        """The rate of the inner step."""
        super().begin_epoch(epoch)
        self._factor = self.recipe.factor(epoch)

    @torch.no_grad()
    def redraw(self, rows: Tensor) -> Tensor:
        """The drawn batch, and a balanced one for the outer loss; of ``rows`` only the views are used. All processes draw alike."""
        N, rows = len(self.training_data), self._stack(self.per_head(rows))
        views, B, M = rows // N * N, rows.shape[1], self.meta_batch_size
        # The largest exp(log (r n) + Gumbel noise) is the class drawn, its part of their sum the softmax; exp(Gumbel noise) is 1 / E, E exponential.
        rates = self._stack(self.rate_logit).sigmoid()
        shares = (rates * self._members.counts).unsqueeze(1) / self._uniform(B, self.facts.num_classes).log().neg()
        classes = shares.argmax(-1)
        drawn = views + self._members.at(classes, self._uniform(B, 1).squeeze(-1))
        balanced = self._present[(self._uniform(M, 1).squeeze(-1) * self._present.numel()).long()]
        seen = views[:, torch.arange(M, device=rows.device) % B] + self._balanced.at(balanced, self._uniform(M, 1).squeeze(-1))
        self._drawn = Drawn(drawn, classes, shares, seen, balanced)
        return drawn if self.heads is not None else drawn.squeeze(0)

    def before_update(self, logits: Tensor, batch: Batch) -> None:
        """Move the rates along the gradient of the outer loss; all processes alike, on the whole batch."""
        drawn, features = self._drawn, self._stack(batch.features)
        if features.shape[1] != drawn.rows.shape[1]:  # the share of one of several processes
            features = self.training_data.gather(drawn.rows).to(features)
            logits = self.logits(features if self.heads is not None else features.squeeze(0))
        residual = mean_residual(self.transform(self._stack(logits), drawn.classes), drawn.classes, in_place=False)
        outer_features = self.training_data.gather(drawn.balanced_rows).to(features)
        lr, weight, bias = self._inner_step()
        outer = mean_residual(stacked_linear(outer_features, weight, bias), drawn.balanced_classes, in_place=True)
        of_rates = drawn.of_rates(-lr * alignment(features, residual, outer_features, outer))
        gradient = (of_rates * (1 - self._stack(self.rate_logit).sigmoid())).view_as(self.rate_logit)
        self.rate_logit -= self.meta_lr * adam_direction(gradient, self.mean, self.square, self.steps)

    def _inner_step(self) -> tuple[Tensor, Tensor, Tensor]:
        """Learning rates (H, 1), and weight and bias after a plain step along their gradients."""
        heads, weight, bias = self.heads or 1, self._stack(self.weight), self._stack(self.bias)
        of_weight, of_bias = self.weight.grad, self.bias.grad
        assert of_weight is not None
        assert of_bias is not None
        lr, decay = weight.new_tensor([self.recipe.per_head(rate, heads) for rate in ("lr", "weight_decay")]).unsqueeze(-1)
        lr = lr * self._factor
        keep = 1 - lr * decay
        moved = torch.addcmul(keep.unsqueeze(-1) * weight, self._stack(of_weight), lr.unsqueeze(-1), value=-1)
        return lr, moved, torch.addcmul(keep * bias, self._stack(of_bias), lr, value=-1)

    def _stack(self, tensor: Tensor) -> Tensor:
        return tensor if self.heads is not None else tensor.unsqueeze(0)

    def _uniform(self, samples: int, width: int) -> Tensor:
        """Uniform numbers above 0 (H, samples, width), the same on every process."""
        self.draws.share(samples, 0, 1)
        return self.draws.uniform(torch.empty(self.heads or 1, samples, width, device=self._present.device)).clamp_min_(1e-20)
