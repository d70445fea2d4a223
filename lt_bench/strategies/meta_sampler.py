"""BALMS: balanced softmax with a learned sampler."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from lt_bench.engine.heads.gradients import product
from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.cross_entropy import CrossEntropy
from lt_bench.strategies.balanced_softmax import BalancedSoftmax
from lt_bench.strategies.contract import Facts, check_range, stacked_linear
from lt_bench.strategies.recipe import Recipe, RecipeOptions


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
    head is not trained on; it is ours, and made no difference on the shipped features (validation 41.2 against 41.4). Places-LT: init_power 0.3, rate 0.001, 512 balanced samples.

    Args:
        facts: what the data know.
        meta_lr: learning rate of Adam on v.
        init_power: how strongly rare classes are favoured at the start.
        meta_batch_size: samples of the balanced batch.
        meta_source: where they are drawn from: all of ``train``, or a tenth of each class's training images, at least one of two or more, that is ``held_out`` for them.
        recipe: fields of ``Recipe``.
    """

    name = "meta_sampler"
    family = "re-sampling"
    paper = "Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020; code jiawei-ren/BalancedMetaSoftmax-Classification"
    initial_head = "random"
    trains = "weight, bias and a sampling rate per class"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=512, epochs=91)
    official = ()
    settings = {
        "cifar10_lt": {"epochs": 80},
        "imagenet_lt": {"lr": 0.5, "epochs": 20, "meta_lr": 1e-3, "init_power": 0.1, "meta_batch_size": 1024},
        "places_lt": {"lr": 0.02, "batch_size": 256, "epochs": 10, "meta_lr": 1e-3, "init_power": 0.3},
    }
    grid = {"lr": (0.01, 0.1, 0.4), "weight_decay": (5e-4, 5e-3), "init_power": (0.0, 0.3)}

    def __init__(
        self,
        facts: Facts,
        *,
        meta_lr: float = 0.01,
        init_power: float = 0.3,
        meta_batch_size: int = 512,
        meta_source: Literal["train", "held_out"] = "train",
        **recipe: Unpack[RecipeOptions],
    ) -> None:
        super().__init__(facts, **recipe)
        check_range(self.name, "meta_lr", meta_lr, 0.0, 10.0)
        check_range(self.name, "init_power", init_power, 0.0, 2.0)
        check_range(self.name, "meta_batch_size", meta_batch_size, 1, 1 << 20)
        self.meta_lr, self.meta_batch_size, self.holds_out = self.one_per_head(meta_lr).float(), meta_batch_size, meta_source == "held_out"
        counts = self.class_counts.clamp_min(1)
        rarity = (counts / counts.sum()) ** -self.one_per_head(init_power)[:, None]
        rate = rarity / (rarity.amin(1, keepdim=True) + rarity.amax(1, keepdim=True))
        self.rate_logit = nn.Buffer(torch.logit(rate).float())
        self.mean, self.square = nn.Buffer(torch.zeros_like(self.rate_logit)), nn.Buffer(torch.zeros_like(self.rate_logit))
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.float32))
        self.members = torch.empty(0, dtype=torch.long)
        self.starts = self.counts = self.meta_starts = self.meta_counts = self.present = self.members

    def begin(self, train: FeatureSource) -> None:
        """Where each class's samples are: those to train on come first, those held out last."""
        self.members = torch.argsort(train.labels, stable=True)
        every = torch.bincount(train.labels, minlength=self.facts.num_classes)
        held = (every / 10).ceil().long() * (every > 1) * self.holds_out
        self.starts, self.counts, self.present = every.cumsum(0) - every, every - held, every.nonzero().squeeze(1)
        self.meta_starts = torch.where(held > 0, self.starts + self.counts, self.starts)
        self.meta_counts = torch.where(held > 0, held, every)

    def fit_step(self, index: Tensor, optimizer: HeadSGD) -> None:
        """Draw the batch, move the rates, train on the batch; of ``index`` only the views are used. All processes draw and move alike."""
        split = self.train_split
        assert split is not None
        views = self.spread(index // len(split)) * len(split)
        with torch.no_grad():
            # The largest exp(log (r n) + Gumbel noise) is the class drawn, its part of their sum the softmax; exp(Gumbel noise) is 1 / E, E exponential.
            shares = (self.rate_logit.sigmoid() * self.counts).unsqueeze(1) / self.draw(index.shape[1], self.facts.num_classes).log().neg()
            classes = shares.argmax(-1)
            rows = views + self.member(classes, self.starts, self.counts)
            balanced = self.present[(self.draw(self.meta_batch_size, 1).squeeze(-1) * self.present.numel()).long()]
            seen = views[:, torch.arange(self.meta_batch_size, device=index.device) % index.shape[1]]
            seen = seen + self.member(balanced, self.meta_starts, self.meta_counts)
        batch = self.batch_of(rows)
        logits, objective = self.differentiate(batch)
        with torch.no_grad():
            features = batch.features if batch.world == 1 else split.gather(rows).to(self.dtype)
            drawn = logits if batch.world == 1 else self.logits(features)
            assert drawn is not None
            through = self.influence(features, classes, drawn, split.gather(seen).to(self.dtype), balanced)
            soft = shares.div_(shares.sum(-1, keepdim=True))
            through *= soft.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
            gradient = torch.zeros_like(self.rate_logit).scatter_add_(1, classes, through) - torch.einsum("hb,hbk->hk", through, soft)
            self.adam(gradient * (1 - self.rate_logit.sigmoid()))
        self.finish_step(batch, logits, objective, optimizer)

    def draw(self, samples: int, width: int) -> Tensor:
        """Uniform numbers above 0 (H, samples, width), the same on every process."""
        self.draws.share(samples, 0, 1)
        return self.draws.uniform(torch.empty(self.heads, samples, width, device=self.members.device)).clamp_min_(1e-20)

    def member(self, classes: Tensor, starts: Tensor, counts: Tensor) -> Tensor:
        """A random sample, 0 to N - 1, of each of the classes (H, B), which have ``counts`` from ``starts`` on in ``members``."""
        within = (self.draw(classes.shape[1], 1).squeeze(-1) * counts[classes]).long()
        return self.members[starts[classes] + within.minimum(counts[classes] - 1)]

    def influence(self, features: Tensor, labels: Tensor, logits: Tensor, meta_features: Tensor, meta_labels: Tensor) -> Tensor:
        """How the loss on the balanced batch changes with the weight s_i of each sample of the drawn one, after one step of the head: (H, B).

        That step is along the gradients of weight and bias, which are those of the drawn batch.
        """
        lr, decay = features.new_tensor([self.recipe.per_head(rate, self.heads) for rate in ("lr", "weight_decay")]).unsqueeze(-1)
        lr, moved = lr * self.recipe.factor(self.current_epoch), []
        for parameter, rate in ((self.weight, lr.unsqueeze(-1)), (self.bias, lr)):
            assert parameter.grad is not None
            moved.append(torch.addcmul((1 - rate * decay.view_as(rate)) * parameter, parameter.grad, rate, value=-1))
        outer = _residual(stacked_linear(meta_features, *moved), meta_labels)
        alignment = stacked_linear(features, product(outer, meta_features, self.weight.shape), outer.sum(1))
        return -lr * (alignment * _residual(self.transform(logits, labels), labels, in_place=False)).sum(-1)

    def adam(self, gradient: Tensor) -> None:
        """One step of Adam (0.9, 0.999) on v, each head with its own rate."""
        self.steps += 1
        self.mean.lerp_(gradient, 0.1)
        self.square.lerp_(gradient.square(), 0.001)
        size = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        self.rate_logit -= self.meta_lr.to(gradient)[:, None] * (self.mean / (1 - 0.9**self.steps)) / size


def _residual(logits: Tensor, labels: Tensor, *, in_place: bool = True) -> Tensor:
    """Gradient of the mean cross-entropy of a batch with respect to its logits, (softmax - one-hot) / B."""
    return CrossEntropy(logits, labels, 0.0, in_place=in_place).residual(1 / logits.shape[1])
