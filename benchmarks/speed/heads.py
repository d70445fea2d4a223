"""Head steps: raw PyTorch, Lightning as it comes, the Trainer path, a stack of 16, and the matrix products of each alone."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed.measure import Contestant, Figure, Setting, Slope, race
from benchmarks.speed.problems import Size, cifar100_lt, imagenet_lt, inat2018, products, step
from lt_bench.core.threads import threads_for
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureSplit
from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.registry import describe, find
from lt_bench.strategies.slots.targets import Smooth

STACK = 16
SMOOTHING = 0.98
RATES = {"lr": 5e-4, "momentum": 0.9, "weight_decay": 0.0}


def measure(setting: Setting) -> list[Figure]:
    """All sizes that there is time for."""
    figures: list[Figure] = []
    large = () if setting.quick and setting.device == "cpu" else (inat2018(),)
    for size in (cifar100_lt(), imagenet_lt(), *large):
        if setting.left < 5:
            setting.notes.append(f"head steps at {size.name} size: no time left")
            continue
        figures += at_size(setting, size)
    return figures


def at_size(setting: Setting, size: Size) -> list[Figure]:
    """Everybody on one problem."""
    large = len(size.counts) > 5000
    split = size.split(setting.device, rows=None if setting.device == "cuda" else size.steps("cpu") * size.batch)
    facts = size.facts()
    steps = len(split) // size.batch
    longer = max(1, size.steps(setting.device) * (3 if setting.quick else 6) // steps)
    contestants: dict[str, Contestant] = {
        "products alone": floor(setting, size, 1),
        "raw PyTorch loop": raw(split, size, setting.device, longer),
        "Trainer path": ours(setting, split, size, 1, longer),
        "raw PyTorch loop with a margin": raw(split, size, setting.device, longer, margin=True),
        "strategy of one's own, not stackable": ours(setting, split, size, 1, longer, strategy=describe(OwnMargin)),
    }
    peers = {
        "raw PyTorch loop": "products alone",
        "Trainer path": "raw PyTorch loop",
        "strategy of one's own, not stackable": "raw PyTorch loop with a margin",
    }
    if setting.device == "cuda":
        contestants["Trainer path, eager"] = ours(setting, split, size, 1, longer, graphs=False)
        peers["Trainer path, eager"] = "raw PyTorch loop"
    if not large:
        contestants["Lightning as it comes"] = lightning(setting, split, size, facts.num_classes)
        peers["Lightning as it comes"] = "raw PyTorch loop"
    figures = race(setting, "head steps", size.label, contestants, peers)
    figures += over_floor(figures)
    if large or (setting.device == "cpu" and size.dim > 512):
        return figures
    for name, shared in (("own orders", False), ("one order", True)):
        alone, stack = f"batched products alone, {name}", f"stack of {STACK}, {name}"
        contestants = {alone: floor(setting, size, STACK, shared), stack: ours(setting, split, size, STACK, longer, shared=shared)}
        raced = race(setting, f"stacked head steps, {STACK} heads together", size.label, contestants, {stack: alone})
        raw_step = next(f for f in figures if f.name == "raw PyTorch loop")
        figures += [replace(figure, note=gain(raw_step, figure)) for figure in raced]
    return figures


def gain(single: Figure, stack: Figure) -> str:
    """Heads a second of a stack over those of the raw loop, whose figure is of the rounds before."""
    assert single.cpu is not None
    assert stack.cpu is not None
    return f"{STACK * single.cpu / stack.cpu:.1f} x the heads a second of raw PyTorch (process time), {STACK * single.wall / stack.wall:.1f} x (wall)"


def over_floor(figures: list[Figure]) -> list[Figure]:
    """The Trainer path beside the products alone, from the same rounds."""
    by_name = {figure.name: figure for figure in figures}
    path, alone = by_name["Trainer path"], by_name["products alone"]
    assert path.cpu is not None
    assert alone.cpu is not None
    note = "ratio of medians"
    return [replace(path, peer=alone.name, ratio=path.wall / alone.wall, cpu_ratio=path.cpu / alone.cpu, note=note)]


def floor(setting: Setting, size: Size, heads: int, shared: bool = False) -> Contestant:
    """The two products of a step and nothing else, on as many threads as the fit would use."""
    operands = products(heads, size.batch, size.dim, len(size.counts), setting.device, shared)
    steps = size.steps(setting.device) if setting.device == "cuda" or heads == 1 else 40

    def run() -> int:
        with threads_for(flop(size, heads)):
            for _ in range(steps):
                step(*operands)
        return steps

    return run


def flop(size: Size, heads: int) -> float:
    """Floating-point operations of one product of a batch with the rows of all heads."""
    return 2.0 * size.batch * size.dim * len(size.counts) * heads


def raw(split: FeatureSplit, size: Size, device: str, epochs: int, *, margin: bool = False) -> Contestant:
    """The loop that one writes by hand: nn.Linear, cross_entropy, SGD, index gathers; the loss is kept per step and not waited for."""
    head = nn.Linear(size.dim, len(size.counts), device=device)
    optimizer = torch.optim.SGD(head.parameters(), lr=RATES["lr"], momentum=RATES["momentum"], weight_decay=RATES["weight_decay"])

    def run() -> int:
        losses: list[Tensor] = []
        margins = torch.tensor(size.counts, device=device) ** -0.25
        with threads_for(flop(size, 1)):
            for _ in range(epochs):
                order = torch.randperm(len(split), device=device)
                for batch in order.split(size.batch):
                    logits, labels = head(split.blocks[0][batch].float()), split.labels[batch]
                    if margin:
                        logits = logits - F.one_hot(labels, len(size.counts)) * margins[labels].unsqueeze(-1)
                    loss = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
        return len(losses)

    return run


def ours(
    setting: Setting, split: FeatureSplit, size: Size, heads: int, epochs: int, *, shared: bool = False, graphs: bool = True,
    strategy: Entry | None = None,
) -> Contestant:  # fmt: skip
    """``los``, or another strategy, under the Trainer; a stack has own orders (seeds), or one order (values of a hyper-parameter)."""
    entry, facts = strategy or find("los"), size.facts()

    def fit(count: int) -> Callable[[], int]:
        def jobs(head: int) -> HeadJob:
            changed = {"batch_size": size.batch, "epochs": count, **({"epsilon": SMOOTHING - 0.01 * head} if shared else {})}
            return HeadJob(entry, entry.resolve("cifar100_lt", 100, changed), 0 if shared else head)

        def run() -> int:
            hardware = Hardware("gpu" if setting.device == "cuda" else "cpu", 1, graphs)
            return fit_heads([[jobs(head) for head in range(heads)]], facts, split, hardware)[0].steps

        return run

    return Slope(fit(1), fit(1 + max(1, epochs if heads == 1 else epochs // 2)))


class OwnMargin(Strategy):
    """A user's class as the README has it, written for one head."""

    name = "own_margin"
    recipe = Recipe(lr=5e-4, momentum=0.9, weight_decay=0.0)  # RATES
    margin: float = hyper(1.0, low=0, high=10, help="taken from the true logit of rare classes")
    target = Smooth(SMOOTHING)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """z - margin on the true class."""
        margin = self.margin * self.class_counts.clamp_min(1).to(logits) ** -0.25
        return logits - F.one_hot(labels, logits.shape[-1]) * margin[labels].unsqueeze(-1)


class AsItComes(LightningModule):
    """A head as Lightning's introduction writes it."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy, logged."""
        features, labels = batch
        loss = F.cross_entropy(self.head(features.float()), labels, label_smoothing=SMOOTHING)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.SGD:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=RATES["lr"], momentum=RATES["momentum"], weight_decay=RATES["weight_decay"])


def lightning(setting: Setting, split: FeatureSplit, size: Size, classes: int) -> Contestant:
    """Lightning's Trainer with its defaults (but logger and checkpoints), a DataLoader that collates samples."""
    dataset = TensorDataset(split.blocks[0].cpu(), split.labels.cpu())
    limit = min(60, len(split) // size.batch)

    def fit(steps: int) -> Callable[[], int]:
        def run() -> int:
            logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
            trainer = Trainer(
                max_epochs=1, limit_train_batches=steps, logger=False, enable_checkpointing=False, accelerator="gpu" if setting.device == "cuda" else "cpu", devices=1
            )  # fmt: skip
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), threads_for(flop(size, 1)):
                warnings.simplefilter("ignore")
                trainer.fit(AsItComes(size.dim, classes), DataLoader(dataset, batch_size=size.batch, shuffle=True))
            return steps

        return run

    return Slope(fit(max(1, limit // 6)), fit(limit))
