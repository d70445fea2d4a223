"""Values of the authors' own modules on one fixed input: loss and norm of its gradient with respect to the logits (the cosines, for cosine heads)."""

from operator import attrgetter

import numpy as np
import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import Head
from lt_bench.strategies._lib.ffds import ClampedCrossEntropy, smooth_probability
from lt_bench.strategies._lib.tensors import per_class
from lt_bench.strategies.contract import Batch, Facts, Strategy
from lt_bench.strategies.registry import find

N, K, D = 8, 10, 16
COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
LABELS = torch.tensor([0, 1, 2, 3, 5, 7, 8, 9])
_i, _c, _d = (torch.arange(size, dtype=torch.float64) for size in (N, K, D))
LOGITS = 3 * torch.sin(0.7 * _i[:, None] + 0.3 * _c + 0.1 * _i[:, None] * _c)
FEATURES = torch.sin(0.5 * _i[:, None] + 0.2 * _d + 0.05).abs()
BATCH = Batch(FEATURES, LABELS, torch.arange(N))

GOLDEN = [
    ("ce", {}, 3.457008, 0.367654),
    ("cb", {"beta": 0.9999}, 3.055381, 0.512625),
    ("inverse_frequency", {}, 3.051631, 0.515241),
    ("sqrt_inverse", {}, 3.326555, 0.436882),
    ("focal", {"gamma": 1.0}, 3.291317, 0.390559),
    ("focal", {"gamma": 2.0}, 3.157609, 0.403446),
    ("cb_focal", {"gamma": 1.0}, 3.209127, 0.583001),
    ("cb_focal_sigmoid", {"gamma": 2.0}, 7.64305, 1.233024),
    ("ldam", {}, 33.833244, 14.141564),
    ("ldam_drw", {"deferral": 0.0}, 35.493652, 23.464376),
    ("ib", {}, 183.196503, 23.602518),
    ("ib_cb", {}, 183.175751, 23.469946),
    ("ib_fl", {}, 175.187744, 24.860832),
    ("vs", {"gamma": 0.3, "tau": 1.0}, 3.649341, 0.274903),
    ("vs", {"gamma": 0.2, "tau": 1.2}, 4.00348, 0.302318),
    ("vs", {"gamma": 0.0, "tau": 1.0}, 4.030128, 0.39502),
    ("vs", {"gamma": 0.2, "tau": 0.0}, 2.856709, 0.262237),
    ("cdt", {"gamma": 0.2}, 2.856709, 0.262237),
    ("la_loss", {"tau": 1.0}, 4.030128, 0.39502),
    ("balanced_softmax", {}, 4.030127, 0.39502),
    ("las", {"smooth_head": 0.3, "smooth_tail": 0.0}, 3.463938, 0.337593),
    ("las", {"smooth_head": 0.4, "smooth_tail": 0.1}, 3.494993, 0.308238),
    ("los", {"epsilon": 0.98}, 3.761342, 0.152562),
    ("los", {"epsilon": 0.98, "convention": "others"}, 3.795157, 0.155503),
    ("label_smoothing", {"epsilon": 0.98, "convention": "others"}, 3.795157, 0.155503),
    ("label_smoothing", {"epsilon": 0.1}, 3.488062, 0.337419),
    ("gcl", {"noise": 0.0, "margin": 0.1, "scale": 20.0, "gamma": 1.0}, 18.671949, 9.042496),
    ("gcl", {"noise": 0.0, "margin": 0.0, "scale": 30.0, "gamma": 0.0}, 24.877384, 13.55616),
    ("weight_balancing", {"kernel": "bce"}, 0.44899, 0.075177),
    ("weight_balancing_released", {}, 0.44899, 0.075177),
    ("grw", {"rho": 1.2}, 2.932914, 0.535239),
    ("disalign", {"rho": 1.2}, 2.932914, 0.535239),
    ("marc", {"rho": 1.2}, 2.932914, 0.535239),
    ("ffds", {"gamma_max": 3.0, "groups": 3}, 3.457008, 0.367654),
]
COSINE = {"ldam", "ldam_drw", "gcl"}
CLOSE = {"rel": 1e-4, "abs": 1e-5}


def make(name: str, counts=COUNTS, init_seed: int | tuple[int, ...] = 0, **hyperparameters) -> Strategy:
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(len(counts), D, generator=generator), torch.randn(len(counts), generator=generator))
    return find(name).load()(Facts(D, tuple(counts), head, init_seed), **hyperparameters).double()


def value_and_gradient(strategy: Strategy, scale: float = 1.0) -> tuple[float, float]:
    inputs = (LOGITS / 3 if scale != 1.0 else LOGITS).clone().requires_grad_()
    total = strategy.loss(inputs * scale, BATCH).sum() / strategy.denominator(LABELS)
    total.backward()
    return total.item(), inputs.grad.norm().item()


@pytest.mark.parametrize(("name", "hyperparameters", "value", "gradient"), GOLDEN, ids=[f"{g[0]}-{i}" for i, g in enumerate(GOLDEN)])
def test_loss_and_gradient_are_those_of_the_official_code(name, hyperparameters, value, gradient):
    strategy = make(name, **hyperparameters)
    actual = value_and_gradient(strategy, float(strategy.scale) if name in COSINE else 1.0)
    assert actual == (pytest.approx(value, **CLOSE), pytest.approx(gradient, **CLOSE))


@pytest.mark.parametrize(("penalty", "value", "gradient"), [(0.1, 0.453274, 0.533428), (0.01, 0.278918, 0.523447)])
def test_lade_statistic_is_that_of_the_official_code(penalty, value, gradient):
    logits = LOGITS.clone().requires_grad_()
    statistic = make("lade", alpha=1.0, penalty=penalty).batch_statistic(logits, LABELS)
    statistic.backward()
    assert (statistic.item(), logits.grad.norm().item()) == (pytest.approx(value, **CLOSE), pytest.approx(gradient, **CLOSE))


@pytest.mark.parametrize(
    ("weight_scale", "value", "gradient"), [("code", 0.034469, 0.005077), ("paper", 0.017306, 0.002549), ("classes", 3.446942, 0.50772)]
)
@pytest.mark.parametrize("name", ["ffds", "d_ffds"])
def test_ffds_after_its_first_epoch(name, weight_scale, value, gradient):
    strategy = make(name, gamma_max=3.0, groups=3, weight_scale=weight_scale)
    strategy.observe(LOGITS, BATCH)
    strategy.end_epoch(0)
    means = strategy.group_mean[strategy.group_of_class]
    assert means.tolist() == pytest.approx([0.123188] * 3 + [0.012829] * 3 + [0.141029] * 4, **CLOSE)
    assert value_and_gradient(strategy) == (pytest.approx(value, **CLOSE), pytest.approx(gradient, **CLOSE))


def test_ffds_true_and_smoothed_probabilities():
    true = ClampedCrossEntropy(LOGITS, LABELS, 0.1).true
    means = torch.tensor([0.123188] * 3 + [0.012829] * 3 + [0.141029] * 4, dtype=torch.float64)
    smoothed = smooth_probability(true, per_class(means, LABELS), 0.9)
    expected_true = [0.010126, 0.198319, 0.16112, 0.00307, 0.022588, 0.067237, 0.001826, 0.354022]
    expected_smoothed = [0.015866, 0.197778, 0.161042, 0.003096, 0.022577, 0.068045, 0.014315, 0.345713]
    assert true.tolist() == pytest.approx(expected_true, **CLOSE)
    assert smoothed.tolist() == pytest.approx(expected_smoothed, **CLOSE)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ("linear", [3.0, 1.78606, 1.05818, 0.62242, 0.36061, 0.20424, 0.1103, 0.05394, 0.02, 0.0]),
        ("convex", [3.0, 0.63306, 0.13166, 0.02679, 0.00521, 0.00095, 0.00015, 2e-05, 0.0, 0.0]),
        ("concave", [2.99799, 2.94919, 2.66306, 2.04127, 1.34067, 0.79736, 0.43806, 0.21539, 0.07998, 0.0]),
    ],
)
def test_ffds_gamma_per_class(curve, expected):
    assert make("ffds", gamma_max=3.0, groups=3, curve=curve).gamma.tolist() == pytest.approx(expected, **CLOSE)


def test_ffds_without_freq_focus_has_one_gamma():
    strategy = make("ffds", gamma_min=1.5, gamma_max=1.5, freq_focus=False)
    assert strategy.gamma.tolist() == pytest.approx([1.5] * 10)
    with pytest.raises(UserError, match="give gamma_min and gamma_max the same value"):
        make("d_ffds", freq_focus=False)


@pytest.mark.parametrize("high", [1.0, torch.tensor([[3.0], [1.0]])], ids=["one", "per head"])
def test_ffds_refuses_a_gamma_that_falls_with_class_size(high):
    with pytest.raises(UserError, match="gamma_max is 1, below gamma_min 2"):
        make("d_ffds", gamma_min=2.0, gamma_max=high, init_seed=(0, 1))


def test_las_epsilon_per_class():
    expected = [0.3, 0.24141, 0.15784, 0.09605, 0.05631, 0.03202, 0.01732, 0.00847, 0.00314, 0.0]
    assert make("las", smooth_head=0.3, smooth_tail=0.0).target.mass.tolist() == pytest.approx(expected, **CLOSE)


CIFAR100 = tuple(int(500 * 0.01 ** (c / 99.0)) for c in range(100))
ENDS = [0, 99]


@pytest.mark.parametrize(
    ("name", "hyperparameters", "table", "classes", "expected"),
    [
        ("cb", {"beta": 0.9999}, "class_weight", ENDS, [0.04488, 4.3783]),
        ("ldam", {}, "transform.margin", [0, 49, 99], [0.15811, 0.27978, 0.5]),
        ("la_loss", {}, "transform.table", ENDS, [-3.0770, -7.6822]),
        ("vs", {"gamma": 0.15, "tau": 0.0}, "transform.inverse_temperature", ENDS, [1.0, 1 / 1.995]),
        ("vs", {"gamma": 0.2, "tau": 0.0}, "transform.inverse_temperature", ENDS, [1.0, 1 / 2.512]),
        ("vs", {"gamma": 0.3, "tau": 0.0}, "transform.inverse_temperature", ENDS, [1.0, 1 / 3.981]),
        ("grw", {"rho": 1.2}, "class_weight", ENDS, [0.02044, 5.1345]),
        ("d_ffds", {}, "gamma", [0, 25, 50, 75, 99], [4.4970, 3.7787, 1.5036, 0.3628, 0.0]),
        ("las", {"smooth_head": 0.4, "smooth_tail": 0.1}, "target.mass", [0, 25, 50, 75, 99], [0.4, 0.2383, 0.1408, 0.1095, 0.1]),
    ],
)
def test_tables_on_cifar100_lt(name, hyperparameters, table, classes, expected):
    actual = attrgetter(table)(make(name, CIFAR100, **hyperparameters))[classes]
    assert actual.tolist() == pytest.approx(expected, rel=3e-4, abs=5e-5)


@pytest.mark.parametrize(("beta", "ratio"), [(0.9, 2.44), (0.99, 20.27), (0.999, 78.88), (0.9999, 97.57)])
def test_class_balanced_ratio_of_tail_to_head_on_cifar100_lt(beta, ratio):
    weight = make("cb", CIFAR100, beta=beta).class_weight
    assert (weight[99] / weight[0]).item() == pytest.approx(ratio, rel=2e-3)
    assert np.isclose(weight.sum().item(), 100)
