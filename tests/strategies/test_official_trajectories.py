"""Weights after the official second stage, stated again in plain torch, and after ours on the same batches: equal for every strategy whose second stage is public.

The loops are those of the repositories that ``official`` names, with their optimisers, schedules, parameter groups and rates; features are given in float64, so that
nothing but the program can differ. Batches, random initial weights and the noise of ``gcl`` are given to both. ``d_ffds`` has its public second phase here, on a head.
``meta_sampler`` has none: its official inner step carries the momentum of the optimizer, ours is plain; its rates have a test of their own against autograd. Nor has
``ffds``, of whose single phase no configuration was released.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lt_bench.features.cache import Head
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.registry import find, strategy_names

COUNTS, D, BATCH, EPOCHS = (40, 23, 12, 6, 3), 6, 14, 4
K = len(COUNTS)
LABELS = torch.arange(K).repeat_interleave(torch.tensor(COUNTS))[torch.randperm(sum(COUNTS), generator=torch.Generator().manual_seed(0))]
FEATURES = torch.randn(len(LABELS), D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).abs() + 0.4 * F.one_hot(LABELS, D)
TEST = torch.randn(50, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64).abs()
HEAD = Head(torch.randn(K, D, generator=torch.Generator().manual_seed(3)), torch.randn(K, generator=torch.Generator().manual_seed(4)))
N_C = torch.tensor(COUNTS, dtype=torch.float64)

Logits = Callable[[Tensor], Tensor]


@dataclass
class Given:
    """Initial weight (K, D) and bias (K,), as parameters that the official loop may train."""

    weight: Tensor
    bias: Tensor


def descend(
    groups: Iterable[dict[str, Any]],
    loss: Callable[[Tensor, Tensor], Tensor],
    weight_decay: float,
    rates: str | list[float] = "cosine",
    then: Any = None,
) -> None:
    """SGD with momentum 0.9 over the batches of every epoch.

    Args:
        groups: parameters with their rates.
        loss: of features and labels of a batch.
        weight_decay: of all of them.
        rates: ``cosine`` or ``cosine first``, torch's scheduler, stepped after each epoch or before it, of which torch warns; or the factor of the rate in each epoch.
        then: called after each epoch.
    """
    optimizer = torch.optim.SGD(list(groups), lr=1.0, momentum=0.9, weight_decay=weight_decay)
    first = [group["lr"] for group in optimizer.param_groups]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0.0) if isinstance(rates, str) else None
    for epoch in range(EPOCHS):
        if rates == "cosine first" and scheduler is not None:
            scheduler.step()
        elif not isinstance(rates, str):
            for group, rate in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = rate * rates[epoch]
        for features, labels in zip(FEATURES.split(BATCH), LABELS.split(BATCH), strict=True):
            optimizer.zero_grad()
            loss(features, labels).backward()
            optimizer.step()
        if rates == "cosine" and scheduler is not None:
            scheduler.step()
        if then is not None:
            then()


def los(on: Given) -> Logits:
    """bilibili/LOS main_stage2.py: torch's label smoothing, no decay."""
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.98)
    descend([{"params": [on.weight, on.bias], "lr": 5e-4}], lambda h, y: criterion(F.linear(h, on.weight, on.bias), y), 0.0)
    return lambda h: F.linear(h, on.weight, on.bias)


def crt(on: Given) -> Logits:
    """facebookresearch/classifier-balancing cls_crt: ImageNet-LT's rate, the scheduler stepped before each epoch."""
    descend(
        [{"params": [on.weight, on.bias], "lr": 0.2}],
        lambda h, y: F.cross_entropy(F.linear(h, on.weight, on.bias), y),
        5e-4,
        "cosine first",
    )
    return lambda h: F.linear(h, on.weight, on.bias)


def lws(on: Given) -> Logits:
    """facebookresearch/classifier-balancing cls_lws: Places-LT's rate; scales of all logits, the bias's included."""
    scales = torch.ones(K, dtype=torch.float64, requires_grad=True)

    def logits(h: Tensor) -> Tensor:
        return F.linear(h, on.weight.detach(), on.bias.detach()) * scales

    descend([{"params": [scales], "lr": 0.1}], lambda h, y: F.cross_entropy(logits(h), y), 5e-4, "cosine first")
    return logits


def balanced_softmax(on: Given) -> Logits:
    """jiawei-ren/BalancedMetaSoftmax-Classification: Places-LT's rate, log counts on the logits, the scheduler stepped before each epoch."""

    def loss(h: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(h, on.weight, on.bias) + N_C.log(), y)

    descend([{"params": [on.weight, on.bias], "lr": 0.02}], loss, 5e-4, "cosine first")
    return lambda h: F.linear(h, on.weight, on.bias)


def grw() -> Tensor:
    """Weights (1 / pi)^1.2 that sum to K, of DisAlign and MARC."""
    weights = (N_C.sum() / N_C) ** 1.2
    return weights / weights.sum() * K


def marc(on: Given) -> Logits:
    """microsoft/robustlearn marc: scale of the logits, shift by the row norms; a warm-up from half the rate, then cosine, one epoch ahead of the code (``run_networks.py:442`` steps it after the loop)."""
    a, b = torch.ones(K, dtype=torch.float64, requires_grad=True), torch.zeros(K, dtype=torch.float64, requires_grad=True)

    def logits(h: Tensor) -> Tensor:
        with torch.no_grad():
            before, norms = F.linear(h, on.weight, on.bias), on.weight.norm(dim=1)
        return a * before + b * norms

    base, peak, warm = 0.05, 0.1, 2
    rates = [
        (peak - base) / (warm - 1) * (k - 1) + base if k < warm else peak * (1 + math.cos(math.pi * (k - warm) / (EPOCHS - warm))) / 2
        for k in range(1, EPOCHS + 1)
    ]
    descend([{"params": [a, b], "lr": 1.0}], lambda h, y: F.cross_entropy(logits(h), y, weight=grw()), 5e-4, rates)
    return logits


def disalign(on: Given) -> Logits:
    """Megvii-BaseDetection/DisAlign: the confidence's vector starts at 0.1, scales at 1, shifts at 0."""
    s, t = torch.ones(K, dtype=torch.float64, requires_grad=True), torch.zeros(K, dtype=torch.float64, requires_grad=True)
    v, b = torch.full((1, D), 0.1, dtype=torch.float64, requires_grad=True), torch.zeros(1, dtype=torch.float64, requires_grad=True)

    def logits(h: Tensor) -> Tensor:
        before, confidence = F.linear(h, on.weight, on.bias).detach(), torch.sigmoid(F.linear(h, v, b))
        return (1 + confidence * s) * before + confidence * t

    descend([{"params": [s, t, v, b], "lr": 0.1}], lambda h, y: F.cross_entropy(logits(h), y, weight=grw()), 5e-4)
    return logits


def las(on: Given) -> Logits:
    """dvlab-research/MiSLAS train_stage2.py: CIFAR-100-LT IF 100; the classifier at 0.2 times the rate of the scales."""
    scales = torch.ones(K, dtype=torch.float64, requires_grad=True)
    most, least = N_C.max(), N_C.min()
    smooth = 0.1 + (0.4 - 0.1) * torch.sin((N_C - least) * math.pi / (2 * (most - least)))

    def logits(h: Tensor) -> Tensor:
        return scales * F.linear(h, on.weight, on.bias)

    def loss(h: Tensor, y: Tensor) -> Tensor:
        logs, eps = F.log_softmax(logits(h), -1), smooth[y]
        return ((1 - eps) * -logs.gather(1, y[:, None]).squeeze(1) + eps * -logs.mean(-1)).mean()

    rates = [0.5 * (1 + math.cos(epoch / EPOCHS * math.pi)) for epoch in range(EPOCHS)]
    descend([{"params": [on.weight, on.bias], "lr": 0.2 * 0.1}, {"params": [scales], "lr": 0.1}], loss, 2e-4, rates)
    return logits


def weight_balancing_released(on: Given) -> Logits:
    """ShadeAlsha/LTR-weight-balancing demo 2: binary cross-entropy of softmax outputs over all N K of them, rows brought into the ball once an epoch."""
    weights = (1 - 0.9999) / (1 - 0.9999**N_C)
    weights = weights / weights.sum() * K
    lengths = on.weight.detach().norm(dim=1)
    radius = lengths.min() + 0.1 * (lengths.max() - lengths.min())

    def loss(h: Tensor, y: Tensor) -> Tensor:
        scores = F.linear(h, on.weight, on.bias).softmax(1)
        return F.binary_cross_entropy(scores, F.one_hot(y, K).double(), weight=weights[y][:, None].expand(-1, K))

    @torch.no_grad()
    def into_the_ball() -> None:
        on.weight.mul_((radius / on.weight.norm(dim=1)).clamp(max=1)[:, None])

    descend([{"params": [on.weight, on.bias], "lr": 0.01}], loss, 0.1, "cosine first", into_the_ball)
    return lambda h: F.linear(h, on.weight, on.bias)


def gcl(on: Given) -> Logits:
    """Keke921/GCLLoss cifar_train_classifier.py without noise and mixup: a tenth of a tenth of ``--lr 0.1``, twice; the focal factor is a constant."""

    def cosines(h: Tensor) -> Tensor:
        return F.normalize(h, dim=1) @ F.normalize(on.weight, dim=1).T

    def loss(h: Tensor, y: Tensor) -> Tensor:
        losses = F.cross_entropy(20 * (cosines(h) - 0.1 * F.one_hot(y, K)), y, reduction="none")
        return ((1 - torch.exp(-losses).detach()) * losses).mean()

    rates = [0.1 * 0.1 * 0.1 * (1 + math.cos(epoch / EPOCHS * math.pi)) for epoch in range(EPOCHS)]
    descend([{"params": [on.weight], "lr": 1.0}], loss, 2e-4, rates)
    return lambda h: 20 * cosines(h)


def h2t(on: Given) -> Logits:
    """Keke921/H2T train_stage2.py without channels of a second sample, which both sides draw for themselves: CIFAR-100-LT IF 100, the cosine begins at the full rate."""
    rates = [0.5 * (1 + math.cos(epoch / EPOCHS * math.pi)) for epoch in range(EPOCHS)]
    descend(
        [{"params": [on.weight, on.bias], "lr": 0.2 * 0.1}], lambda h, y: F.cross_entropy(F.linear(h, on.weight, on.bias), y), 5e-4, rates
    )
    return lambda h: F.linear(h, on.weight, on.bias)


def d_ffds(on: Given) -> Logits:
    """nwjun/FFDS-Loss losses/ffds.py on a head, one group a class: cross-entropy in the first epoch, then the focused loss with the group means of the epoch before.

    Class weights sum to 1 / K, as in train.py; the test set does not enter the means, as it does there through ``validate()``.
    """
    beta, epsilon, k, gamma_min, gamma_max = 0.9999, 0.1, 0.9, 0.0, 4.5
    weights = (1 - beta) / (1 - beta**N_C)
    weights = weights / (weights.sum() * K)
    gamma = gamma_min + (gamma_max - gamma_min) * torch.tanh(4 * (N_C - N_C[-1]) / (N_C[0] - N_C[-1]))
    means, sums, seen = (torch.zeros(K, dtype=torch.float64) for _ in range(3))

    def loss(h: Tensor, y: Tensor) -> Tensor:
        logits = F.linear(h, on.weight, on.bias)
        p = logits.softmax(1).clamp(1e-6, 1 - 1e-6)
        true = p.detach().gather(1, y[:, None])[:, 0]
        sums.index_add_(0, y, true)
        seen.index_add_(0, y, torch.ones_like(true))
        if not means.any():
            return F.cross_entropy(logits, y)
        smooth = true - (k * (true.sqrt() - means[y].sqrt())) ** 2 * (true - means[y])
        soft = torch.where(F.one_hot(y, K).bool(), 1 - epsilon, epsilon / (K - 1)).double()
        return (-(soft * p.log()).sum(1) * (1 - smooth) ** gamma[y] * weights[y]).mean()

    def next_epoch() -> None:
        means.copy_(sums / seen)
        sums.zero_()
        seen.zero_()

    descend([{"params": [on.weight, on.bias], "lr": 0.1}], loss, 2e-4, [1.0, 1.0, 0.1, 0.01], next_epoch)
    return lambda h: F.linear(h, on.weight, on.bias)


@dataclass
class Case:
    """A public second stage: the loop, the data set whose official settings it has, and what is given besides."""

    loop: Callable[[Given], Logits]
    dataset: str
    factor: float | None = None
    given: dict[str, Any] = field(default_factory=dict)


CASES = {
    "los": Case(los, "cifar100_lt", 100),
    "crt": Case(crt, "imagenet_lt"),
    "lws": Case(lws, "places_lt"),
    "balanced_softmax": Case(balanced_softmax, "places_lt"),
    "marc": Case(marc, "cifar100_lt", 100, {"warmup_epochs": 2}),
    "disalign": Case(disalign, "imagenet_lt"),
    "las": Case(las, "cifar100_lt", 100),
    "weight_balancing_released": Case(weight_balancing_released, "cifar100_lt", 100),
    "gcl": Case(gcl, "", None, {"noise": 0.0}),
    "h2t": Case(h2t, "cifar100_lt", 100, {"fraction": 0.0}),
    "d_ffds": Case(d_ffds, "cifar100_lt", 100, {"groups": K, "weight_scale": "code", "milestones": (2, 3)}),
}


def test_every_official_second_stage_has_its_loop_here():
    official = {name for name in strategy_names() if find(name).official and find(name).fitting == "sgd"}
    assert official <= CASES.keys()


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*GPU available.*", "ignore:.*lr_scheduler.step.*")
@pytest.mark.parametrize("name", CASES)
def test_weights_after_the_official_loop_are_ours(name):
    case, entry = CASES[name], find(name)
    given = entry.resolve(case.dataset, case.factor, {"epochs": EPOCHS, **case.given})
    strategy = entry.load()(Facts(D, COUNTS, HEAD), **given).double()
    begin = Given(*(part.detach().clone().requires_grad_() for part in (strategy.weight, strategy.bias)))
    before = strategy.inference_head().double()(TEST)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    loader = DataLoader(TensorDataset(FEATURES, LABELS, torch.arange(len(LABELS))), batch_size=BATCH)
    Trainer(accelerator="cpu", max_epochs=EPOCHS, **options).fit(strategy, loader)
    logits = case.loop(begin)
    with torch.no_grad():
        ours, expected = strategy.inference_head().double()(TEST), logits(TEST)
    assert float((expected - before).abs().max()) > 1e-4, "the loop moves the head"
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)  # class weights are made in float32
