import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.core.processes import Processes
from lt_bench.data.images.augment import Crops, CropViews, padded
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.gradients import Gradients, Share
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.image_source import ImageSource, prepare
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.features.samplers import EpochOrder
from lt_bench.strategies.contract import Batch, Facts
from lt_bench.strategies.registry import find, strategy_names

COUNTS = (20, 8, 3)
SPEC = dataset_spec("cifar10_lt")


class Tiny(Backbone):
    """One convolution, batch statistics and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, 2)
        self.bn = torch.nn.BatchNorm2d(6)
        self.fc = torch.nn.Linear(6, len(COUNTS))
        self.dim = 6

    def features(self, images):
        return F.relu(self.bn(self.conv(images))).mean((2, 3))


def network():
    torch.manual_seed(0)
    made = Tiny()
    made.bn.running_mean.uniform_(-0.2, 0.2)
    return made


LABELS = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
PIXELS = np.random.default_rng(0).integers(0, 256, (len(LABELS), 3, 8, 8), dtype=np.uint8)


def source(backbone, mode="frozen", **options):
    prepare(backbone, mode)
    return ImageSource(backbone, padded(PIXELS), LABELS, SPEC, mode=mode, **options)


def facts(backbone, seeds=0):
    head = Head(backbone.fc.weight.detach().clone(), backbone.fc.bias.detach().clone())
    return Facts(backbone.dim, COUNTS, head, seeds)


def job(strategy, repetition=0, **changes):
    entry = find(strategy)
    return HeadJob(entry, entry.resolve("none", None, {"epochs": 3, "batch_size": 8, **changes}), repetition)


def cut(i, top, left, flip):
    """By hand: an image, cropped and flipped, as the network sees it."""
    x = np.pad(PIXELS[i], ((0, 0), (4, 4), (4, 4)))[:, top : top + 8, left : left + 8][:, :, :: -1 if flip else 1] / 255
    return torch.from_numpy((x - np.array(SPEC.mean)[:, None, None]) / np.array(SPEC.std)[:, None, None]).float()


def test_every_cut_is_one_view():
    cuts = CropViews.all()
    assert len(cuts.names) == len(set(cuts.names)) == 1 + 9 * 9 * 2
    backbone, n = network().eval(), len(LABELS)
    images = source(backbone)
    assert images.views == cuts.names
    for view, (top, left, flip) in {"plain": (4, 4, False), "0+7": (0, 7, False), "8+3 flip": (8, 3, True)}.items():
        wanted = torch.stack([backbone.features(cut(i, top, left, flip)[None])[0] for i in (3, 30)])
        index = torch.tensor([[3, 30]]) + n * cuts.names.index(view)
        assert torch.allclose(images.gather(index), wanted[None], atol=1e-5), view
        assert torch.allclose(images.view(view)[[3, 30]], wanted, atol=1e-5), view
    assert images.gather(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0, 6)


@pytest.mark.parametrize("strategy", ["los", "crt", "d_ffds", "meta_sampler", "ib"])
def test_on_the_views_of_a_cache_it_gives_the_head_of_the_cache(strategy):
    draws = {"plain": Crops.plain(len(LABELS)), **{f"aug{v}": Crops.random(len(LABELS), np.random.default_rng(v)) for v in (1, 2)}}
    backbone = network()
    images = source(backbone, views=CropViews.of(draws))
    block = torch.cat([images.view(view) for view in images.views])
    cache = FeatureSplit("train", images.views, (block,), LABELS, torch.arange(len(LABELS)))
    jobs = [job(strategy, repetition, lr=0.1) for repetition in (0, 1)]
    one, other = (fit_heads([jobs], facts(backbone), train, Hardware("cpu"))[0].strategy for train in (cache, images))
    for name, parameter in one.named_parameters():
        assert torch.allclose(other.get_parameter(name), parameter, rtol=0, atol=1e-5), name


def batches(epoch, size=8):
    """Inputs and labels of an epoch's batches, cut by hand as the order says."""
    cuts, n = CropViews.all(), len(LABELS)
    order = EpochOrder(LABELS, torch.tensor(COUNTS), "instance", (0,), tuple(range(1, 163)), epochs=3, batch_size=size).order(0, epoch)
    for index in order.split(size):
        rows = [(int(row) // n, int(row) % n) for row in index]
        pixels = torch.stack([cut(i, *cuts.corner[view, 0].tolist(), bool(cuts.flip[view, 0])) for view, i in rows])
        yield pixels, LABELS[index % n]


def plain_loop(backbone, parameters, epochs=3):
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3)
    backbone.train()
    for epoch in range(epochs):
        for pixels, labels in batches(epoch):
            loss = F.cross_entropy(backbone(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return backbone


RATES = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "schedule": "constant"}


@pytest.mark.parametrize("mode", ["drifting", "trained"])
def test_it_is_a_plain_loop_over_images(mode):
    """Drifting: BatchNorm normalises by the batch and moves, no weight does. Trained: everything is fitted."""
    backbone, wanted = network(), network()
    (fitted,) = fit_heads([[job("ce", **RATES)]], facts(backbone), source(backbone, mode=mode), Hardware("cpu"))
    plain_loop(wanted, wanted.parameters() if mode == "trained" else wanted.fc.parameters())
    assert torch.allclose(fitted.strategy.weight[0], wanted.fc.weight, atol=1e-5)
    assert torch.allclose(fitted.strategy.bias[0], wanted.fc.bias, atol=1e-5)
    for name, tensor in wanted.state_dict().items():
        if not name.startswith("fc."):
            assert torch.allclose(backbone.state_dict()[name].float(), tensor.float(), atol=1e-5), name
    assert torch.equal(backbone.conv.weight, network().conv.weight) == (mode == "drifting")


def test_a_frozen_network_is_left_as_it_is():
    backbone, before = network(), network().state_dict()
    fit_heads([[job("los")]], facts(backbone), source(backbone), Hardware("cpu"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_measuring_leaves_a_training_network_training():
    backbone = network()
    images = source(backbone, mode="drifting")
    before = backbone.bn.running_mean.clone()
    frozen = source(network()).view("plain")
    assert torch.allclose(images.view("plain"), frozen, atol=1e-6)
    assert backbone.training
    assert torch.equal(backbone.bn.running_mean, before)


def test_bf16_stays_near_fp32():
    index = torch.arange(20)[None] + len(LABELS)
    exact, mixed = (source(network(), precision=precision).gather(index) for precision in ("fp32", "bf16"))
    assert mixed.dtype == torch.float32
    assert 0 < float((exact - mixed).norm() / exact.norm()) < 0.02


TRAINED = [name for name in strategy_names() if find(name).fitting == "sgd" and name != "meta_sampler"]  # that one has a step of its own


@pytest.mark.parametrize("name", TRAINED)
def test_every_loss_reaches_the_network_with_the_gradient_that_it_gives_a_head(name):
    entry, backbone, n = find(name), network(), len(LABELS)
    images, frozen = source(backbone, "trained"), ImageSource(backbone, padded(PIXELS), LABELS, SPEC)
    strategy = entry.load()(facts(backbone, (1,) if entry.stackable else 1), **entry.resolve("none"))
    index = torch.arange(0, n, 2)[None] + 5 * n
    labels, features = LABELS[index % n], images.gather(index)

    def gradients(train, given):
        strategy.begin_fit(train)
        strategy.draws.start(0, 0)
        strategy.draws.share(index.shape[1], 0, 1)
        logits, objective = Gradients(strategy, train.trained)(Share(Batch(given, labels, labels), labels, Processes()))
        return logits, objective, {key: p.grad.clone() for key, p in strategy.named_parameters() if p.grad is not None}

    one, other = gradients(frozen, features.detach()), gradients(images, features)
    assert one[0] is None or torch.allclose(one[0], other[0], rtol=1e-5, atol=1e-6)  # a head of its own may form them in another order
    assert torch.allclose(one[1], other[1])
    assert one[2].keys() == other[2].keys()
    for key, gradient in one[2].items():
        assert torch.allclose(gradient, other[2][key], rtol=1e-4, atol=1e-6), key
    reached = backbone.conv.weight.grad
    assert bool(torch.isfinite(reached).all())
    assert float(reached.abs().max()) > 0
