import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.core.errors import UserError
from lt_bench.data.readers.small_images import ImageData, ImageSplit
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.cuda_graphs import WARMUP_STEPS, GraphedStep
from lt_bench.engine.pretrain.recipes import RECIPES, Stage1Recipe, stage1_recipe
from lt_bench.engine.pretrain.small_images import EpochDraws, Pretraining
from lt_bench.strategies.recipe import Recipe


class Tiny(Backbone):
    """One convolution, batch statistics and a classifier."""

    def __init__(self, classes):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, 2)
        self.bn = torch.nn.BatchNorm2d(6)
        self.fc = torch.nn.Linear(6, classes)

    def features(self, images):
        return F.relu(self.bn(self.conv(images))).mean((2, 3))


def images(n=45, classes=3, val=9):
    generator = np.random.default_rng(0)
    labels = np.arange(n) % classes
    pixels = generator.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    splits = {"train": ImageSplit(pixels, labels, np.arange(n))}
    if val:
        splits["val"] = ImageSplit(pixels[:val], labels[:val], np.arange(val))
    return ImageData(
        spec=dataset_spec("cifar10_lt"),
        splits=splits,
        class_names=("a", "b", "c"),
        train_counts=(15, 15, 15),
        imbalance_factor=1.0,
        profile="exponential",
        selection="first",
        val_source="",
        split_hash="",
    )


RECIPE = Stage1Recipe(
    "test", "", Recipe(lr=0.1, momentum=0.9, weight_decay=1e-2, batch_size=10, epochs=3, schedule="step", milestones=(2,), warmup_epochs=2)
)


def fit(module, **options):
    settings = {
        "accelerator": "cpu", "max_epochs": module.recipe.optimisation.epochs, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(**settings | options).fit(module)
    return module


def build(recipe=RECIPE, **options):
    torch.manual_seed(0)
    return Pretraining(Tiny(3), images(), recipe, seed=3, **options)


def plain_loop(recipe):
    """The same training as a plain PyTorch loop over single images."""
    torch.manual_seed(0)
    network, data = Tiny(3), images()
    split, spec, o = data.splits["train"], data.spec, recipe.optimisation
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=o.momentum, weight_decay=o.weight_decay)
    losses = []
    for epoch, lr in enumerate((0.05, 0.1, 0.01)):
        optimizer.param_groups[0]["lr"] = lr
        draws, total = EpochDraws.make(45, 3, epoch, 10, recipe.mixup), 0.0
        for start in range(0, 45, 10):
            inputs = []
            for position in range(start, min(45, start + 10)):
                x = np.pad(split.images[draws.order[position]], ((0, 0), (4, 4), (4, 4)))
                top, left = draws.images.corner[position].tolist()
                x = x[:, top : top + 8, left : left + 8][:, :, :: -1 if draws.images.flip[position] else 1] / 255
                inputs.append((x - np.array(spec.mean)[:, None, None]) / np.array(spec.std)[:, None, None])
            x = torch.from_numpy(np.stack(inputs)).float()
            y = torch.from_numpy(split.labels)[draws.order[start : start + 10]]
            weight = float(draws.mix[start])
            logits = network(weight * x + (1 - weight) * x.roll(1, 0))
            loss = weight * F.cross_entropy(logits, y) + (1 - weight) * F.cross_entropy(logits, y.roll(1, 0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y) / 45
        losses.append(total)
    return network, losses


@pytest.mark.parametrize("mixup", [0.0, 0.7])
def test_training_is_that_of_a_plain_loop(mixup):
    recipe = Stage1Recipe("test", "", RECIPE.optimisation, mixup=mixup)
    module = fit(build(recipe, steps_per_call=2))
    network, losses = plain_loop(recipe)
    assert module.epoch_figures()["loss"] == pytest.approx(losses[-1], rel=1e-4)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(module.network.state_dict()[name].float(), tensor.float(), atol=1e-5), name


def test_steps_per_call_change_nothing():
    one, many = fit(build(steps_per_call=1)), fit(build(steps_per_call=100))
    for a, b in zip(one.network.parameters(), many.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_bf16_stays_near_fp32():
    exact, mixed = fit(build()), fit(build(precision="bf16"))
    a, b = exact.network.conv.weight.detach(), mixed.network.conv.weight.detach()
    assert 0 < float((a - b).norm() / a.norm()) < 0.05


def test_val_accuracy_is_macro_and_leaves_training_mode():
    module = build()
    module.network.train()
    found = module.val_accuracy()
    network = module.network.eval()
    split, spec = images().splits["val"], dataset_spec("cifar10_lt")
    x = (torch.from_numpy(split.images) / 255 - torch.tensor(spec.mean).view(3, 1, 1)) / torch.tensor(spec.std).view(3, 1, 1)
    correct = (network(x).argmax(1).numpy() == split.labels).astype(float)
    assert found == pytest.approx(np.mean([correct[split.labels == c].mean() for c in range(3)]))
    before = network.bn.running_mean.clone()
    module.val_accuracy()
    assert torch.equal(network.bn.running_mean, before)
    assert network.training


def test_no_validation_split_is_nan():
    assert np.isnan(Pretraining(Tiny(3), images(val=0), RECIPE).val_accuracy())


def test_draws_depend_on_seed_and_epoch_alone():
    a, b = EpochDraws.make(100, 1, 2, 32, 0.0), EpochDraws.make(100, 1, 2, 32, 0.0)
    assert torch.equal(a.order, b.order)
    assert sorted(a.order.tolist()) == list(range(100))
    assert (a.mix == 1).all()
    for other in (EpochDraws.make(100, 1, 3, 32, 0.0), EpochDraws.make(100, 2, 2, 32, 0.0)):
        assert not torch.equal(a.order, other.order)
        assert not torch.equal(a.images.corner, other.images.corner)
    mixed = EpochDraws.make(100, 1, 2, 32, 1.0).mix
    assert [len(set(mixed[s : s + 32].tolist())) for s in (0, 32, 64, 96)] == [1, 1, 1, 1]
    assert len(set(mixed.tolist())) == 4


def test_recipes_are_the_published_ones():
    rates = {name: (o.lr, o.weight_decay, o.batch_size, o.epochs) for name, recipe in RECIPES.items() for o in [recipe.optimisation]}
    assert rates["los"] == (0.01, 5e-3, 64, 200)
    assert rates["ldam"] == (0.1, 2e-4, 128, 200)
    assert rates["decoupling"] == (0.2, 5e-4, 512, 90)
    ldam = stage1_recipe("ldam").optimisation
    assert [round(ldam.lr * ldam.factor(e), 9) for e in (0, 4, 5, 159, 160, 179, 180, 199)] == [0.02, 0.1, 0.1, 0.1, 1e-3, 1e-3, 1e-5, 1e-5]
    ib = stage1_recipe("ib").optimisation
    assert [round(ib.lr * ib.factor(e), 9) for e in (0, 99, 100, 159, 160, 179, 180)] == [0.02, 0.1, 1e-3, 1e-3, 1e-5, 1e-5, 1e-7]
    mixup = stage1_recipe("mixup").optimisation
    assert [round(mixup.lr * mixup.factor(e), 9) for e in (0, 159, 160, 180)] == [0.02, 0.1, 1e-2, 1e-3]
    assert (mixup.weight_decay, stage1_recipe("mixup").mixup) == (5e-4, 1.0)
    steps = -(-10847 // 128) * rates["fast"][3]
    assert rates["fast"][0] * rates["fast"][1] * steps == pytest.approx(1.7, rel=0.01)
    with pytest.raises(UserError, match="did you mean decoupling"):
        stage1_recipe("decouplin")


def test_fewer_epochs_move_the_milestones():
    short = stage1_recipe("ldam").with_epochs(20).optimisation
    assert (short.epochs, short.milestones, short.warmup_epochs) == (20, (16, 18), 5)
    assert stage1_recipe("ldam").with_epochs(None) is stage1_recipe("ldam")


class FakeStream:
    def wait_stream(self, other):
        pass


class FakeGraph:
    """Records the step it captures and repeats it, as a CUDA graph repeats kernels."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1


def test_graphed_step_runs_eagerly_then_replays(monkeypatch):
    captured = []
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: captured.append(graph) or nullcontext())
    calls = []
    step = GraphedStep(calls.append)
    for batch in [64, 64, 31, 64, 64, 64, 31, 31, 31]:
        step(batch)
    assert calls.count(64) == WARMUP_STEPS + 1  # the last is the capture, which runs no kernel
    assert calls.count(31) == WARMUP_STEPS + 1
    assert [graph.replays for graph in captured] == [2, 1]
