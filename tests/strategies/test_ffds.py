"""FFDS's clamped cross-entropy against autograd's way through the formula, and what one step may use again."""

import pytest
import torch

from lt_bench.core.processes import Processes
from lt_bench.engine.heads.gradients import Gradients, Share
from lt_bench.features.cache import Head
from lt_bench.strategies._lib import ffds as ffds_shared
from lt_bench.strategies._lib.ffds import HIGHEST, LOWEST, ClampedCrossEntropy
from lt_bench.strategies.contract import Batch, Facts
from lt_bench.strategies.ffds import DFFDS

H, B, K, D = 3, 64, 7, 5


def drawn(scale: float, classes: int = K) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(H, classes, B, dtype=torch.float64, generator=generator) * scale
    return columns.transpose(1, 2), torch.randint(classes, (H, B), generator=generator)


def formula(logits: torch.Tensor, labels: torch.Tensor, epsilon) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and p_y as the formula is written."""
    p = logits.softmax(-1).clamp(1e-6, 1 - 1e-6)
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    true, log_true = p.gather(-1, index).squeeze(-1), p.log().gather(-1, index).squeeze(-1)
    others = (p.log().sum(-1) - log_true) / (logits.shape[-1] - 1)
    return -((1 - epsilon) * log_true + epsilon * others), true


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, torch.tensor([[0.1], [0.9], [0.0]], dtype=torch.float64)], ids=str)
@pytest.mark.parametrize(("scale", "classes"), [(1.0, K), (6.0, K), (15.0, K), (200.0, K), (10.0, 2)])
def test_losses_and_gradients_are_those_of_the_formula(scale, classes, epsilon):
    logits, labels = drawn(scale, classes)
    logits[:, 1], logits[:, 2] = 0.0, torch.where(torch.arange(classes) < 2, 30.0, -30.0)  # equal logits, and two largest ones
    p = logits.softmax(-1)
    assert ((p < LOWEST) | (p > HIGHEST)).any() == (scale > 1.0 or classes > 2)
    logits.requires_grad_()
    slope = torch.rand(H, B, dtype=torch.float64)
    entropy = ClampedCrossEntropy(logits, labels, epsilon)
    losses, (wanted, true) = entropy.losses_of(logits), formula(logits, labels, epsilon)
    actual, expected = (torch.autograd.grad(some, logits, slope)[0] for some in (losses, wanted))
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(losses, wanted, **close)
    torch.testing.assert_close(entropy.true, true.detach(), **close)
    torch.testing.assert_close(actual, expected, **close)
    assert actual.stride() == logits.stride(), "classes need not be adjacent, and no copy is made to have them so"


@pytest.mark.parametrize("bound", [LOWEST, HIGHEST])
@pytest.mark.parametrize("beside", [-1e-3, 1e-3])
def test_the_gradient_ends_at_the_bounds(bound, beside):
    p = torch.tensor(bound * (1 + beside) if bound == LOWEST else 1 - (1 - bound) * (1 + beside), dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log() - torch.tensor(2.0).log(), (1 - p).log() - torch.tensor(2.0).log()]).requires_grad_()
    for label in range(3):
        wanted = torch.autograd.grad(formula(logits[None], torch.tensor([label]), 0.3)[0], logits)[0]
        actual = torch.autograd.grad(ClampedCrossEntropy(logits[None], torch.tensor([label]), 0.3).losses_of(logits[None]), logits)[0]
        torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)


def test_a_logit_left_out_has_no_gradient():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
    losses = ClampedCrossEntropy(logits, torch.tensor([1]), 0.1).losses_of(logits)
    actual = torch.autograd.grad(losses.sum(), logits)[0]
    assert losses.isfinite().all()
    assert actual.isfinite().all()
    assert actual[0, 2] == 0


def of(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, Batch]:
    """Logits and their batch; the loss looks at no features."""
    return logits, Batch(logits[..., :0], labels, labels)


def after_an_epoch(init_seed: int | tuple[int, ...] = (0, 1, 2), **hyperparameters) -> DFFDS:
    generator = torch.Generator().manual_seed(1)
    head = Head(torch.randn(K, D, generator=generator), torch.randn(K, generator=generator))
    strategy = DFFDS(Facts(D, (50, 40, 30, 20, 9, 3, 1), head, init_seed), groups=3, **hyperparameters).double()
    logits, labels = drawn(3.0)
    strategy.observe(*(of(logits, labels) if isinstance(init_seed, tuple) else of(logits[0], labels[0])))
    strategy.end_epoch(0)
    return strategy


@pytest.fixture
def times_made(monkeypatch) -> list[int]:
    times = [0]

    class Counted(ClampedCrossEntropy):
        def __init__(self, *given) -> None:
            times[0] += 1
            super().__init__(*given)

    monkeypatch.setattr(ffds_shared, "ClampedCrossEntropy", Counted)
    return times


def test_a_step_takes_one_softmax_and_keeps_nothing(times_made):
    strategy = after_an_epoch()
    times_made[0] = 0
    features, labels = torch.randn(1, B, D, dtype=torch.float64), torch.randint(K, (H, B))
    logits, _ = Gradients(strategy)(Share(Batch(features, labels, labels), labels, Processes()))
    strategy.observe(*of(logits, labels))
    assert times_made == [1]
    assert strategy._entropy._latest is None


def written(logits, labels):
    logits += 1.0 * torch.arange(K)
    return logits, labels


def relabelled(logits, labels):
    labels.copy_((labels + 1) % K)
    return logits, labels


OTHERS = {
    "the same values elsewhere": lambda logits, labels: (logits.clone(), labels),
    "logits written to": written,
    "labels written to": relabelled,
    "other labels": lambda logits, labels: (logits, (labels + 1) % K),
    "a part": lambda logits, labels: (logits[:, : B // 2], labels[:, : B // 2]),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_was_made_of_other_logits_is_not_used(other, times_made):
    strategy, (logits, labels) = after_an_epoch(), drawn(2.0)
    strategy.loss(*of(logits, labels))
    times_made[0] = 0
    logits, labels = other(logits, labels)
    expected, true = formula(logits, labels, strategy.epsilon)
    torch.testing.assert_close(strategy.kernel(logits, labels), expected)
    assert times_made == [1]
    strategy.observe(*of(logits, labels))
    torch.testing.assert_close(strategy.sums.sum(1), true.sum(1))


def test_where_writes_are_not_counted_nothing_is_used_again(times_made):
    strategy = after_an_epoch()
    times_made[0] = 0
    with torch.inference_mode():
        logits, labels = drawn(2.0)
        strategy.kernel(logits, labels)
        torch.testing.assert_close(strategy.kernel(logits, labels), formula(logits, labels, strategy.epsilon)[0])
    assert times_made == [2]


def test_each_head_has_its_own_epsilon():
    strategy = after_an_epoch(epsilon=torch.tensor([[0.0], [0.3], [0.9]]))
    logits, labels = drawn(2.0)
    losses = strategy.loss(*of(logits, labels))
    for head, epsilon in enumerate((0.0, 0.3, 0.9)):
        alone = after_an_epoch(0, epsilon=epsilon)
        alone.group_mean.copy_(strategy.group_mean[head])
        torch.testing.assert_close(losses[head], alone.loss(*of(logits[head], labels[head])), rtol=1e-6, atol=1e-6)


def test_a_fit_that_is_resumed_focuses_where_group_means_exist():
    strategy, fresh = after_an_epoch(0), DFFDS(after_an_epoch(0).facts, groups=3)
    assert not fresh.focusing
    untouched = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    module = torch.nn.ModuleList([fresh])  # as in a fit, of whose module a strategy is a part
    module.load_state_dict({f"0.{name}": tensor for name, tensor in strategy.state_dict().items()})
    assert fresh.focusing
    module.load_state_dict({f"0.{name}": tensor for name, tensor in untouched.items()})
    assert not fresh.focusing
