"""Binary cross-entropy of softmax outputs, also where a probability rounds to 1."""

import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import problem
from lt_bench.strategies.composition import compose
from lt_bench.strategies.slots.kernels import SoftmaxBCE

K = 100


def spread(by):
    """Logits (64, K), float64 and exact in float32, one of each row above the others by about so much."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, K, generator=generator)
    logits[torch.arange(64), torch.randint(K, (64,), generator=generator)] += by
    return logits.double(), torch.randint(K, (64,), generator=generator)


def ours():
    on = problem()
    return compose(kernel="softmax_bce")(on.facts).kernel


def official(logits, labels):
    return F.binary_cross_entropy(logits.softmax(-1), F.one_hot(labels, K).to(logits.dtype), reduction="none").mean(-1)


def differentiated(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    losses = loss(logits, labels)
    losses.sum().backward()
    return losses.detach().double(), logits.grad.double()


@pytest.mark.parametrize("by", [0, 5, 10, 16, 25, 60])
def test_float32_has_the_losses_and_gradients_of_float64(by):
    kernel, (logits, labels) = ours(), spread(by)
    assert isinstance(kernel, SoftmaxBCE)
    exact, narrow = differentiated(kernel, logits, labels), differentiated(kernel, logits.float(), labels)
    for of_float32, of_float64 in zip(narrow, exact, strict=True):
        assert float((of_float32 - of_float64).norm() / of_float64.norm()) < 1e-5


@pytest.mark.parametrize("by", [0, 5, 10, 16])
def test_it_is_torchs_loss_of_softmax_outputs(by):
    logits, labels = spread(by)
    for mine, theirs in zip(differentiated(ours(), logits, labels), differentiated(official, logits, labels), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)
