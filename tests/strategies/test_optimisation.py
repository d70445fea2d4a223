"""Steps of SAM and ImbSAM, averages of SWA and the fixed simplex, written out."""

import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import fit, fit_plainly, job, one_head, problem
from lt_bench.strategies.registry import find

COUNTS, DIM = (24, 9, 4), 5


def objective(weight, bias, features, labels, tau):
    prior = torch.tensor(COUNTS, dtype=torch.float64)
    return F.cross_entropy(features @ weight.T + bias + tau * (prior / prior.sum()).log(), labels, reduction="none")


@pytest.mark.parametrize("name", ["sam", "imbsam"])
def test_a_step_takes_the_gradient_uphill(name):
    on = problem(COUNTS, DIM)
    changes = {"eta": 9} if name == "imbsam" else {}
    one = job(
        find(name), epochs=1, batch_size=len(on.train), views="plain", rho=0.7, lr=0.5, weight_decay=0.01, momentum=0.0, tau=0.8, **changes
    )
    before = one_head(on, one, torch.float64)
    weight, bias = before.weight.detach().clone().requires_grad_(), before.bias.detach().clone().requires_grad_()
    features, labels = on.train.view("plain").double(), on.train.labels

    def parts(w, b):
        losses = objective(w, b, features, labels, 0.8)
        rare = labels == 2 if name == "imbsam" else torch.ones_like(labels, dtype=torch.bool)
        return losses[~rare].sum() / len(labels), (2 if name == "imbsam" else 1) * losses[rare].sum() / len(labels)

    slopes = torch.autograd.grad(parts(weight, bias)[1], (weight, bias))
    length = (slopes[0].square().sum() + slopes[1].square().sum()).sqrt()
    up = [(p + 0.7 * g / length).detach().requires_grad_() for p, g in zip((weight, bias), slopes, strict=True)]
    sharp = torch.autograd.grad(parts(*up)[1], up)
    plain = torch.autograd.grad(parts(weight, bias)[0], (weight, bias))
    after, _ = fit_plainly(on, one, torch.float64)
    for start, one_slope, other, end in zip((weight, bias), sharp, plain, (after.weight, after.bias), strict=True):
        expected = start - 0.5 * (one_slope + other + 0.01 * start)
        torch.testing.assert_close(end, expected)


def test_swa_is_the_mean_of_the_last_heads():
    on = problem(COUNTS, DIM)
    same = {"schedule": "constant", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    averaged = fit(on, [job(find("swa"), epochs=5, last=2, **same)])[0].head()
    last = fit(on, [job(find("swa"), epochs=5, last=1, **same)])[0].head()
    earlier = fit(on, [job(find("swa"), epochs=4, last=1, **same)])[0].head()
    torch.testing.assert_close(averaged.weight, (last.weight + earlier.weight) / 2)
    torch.testing.assert_close(averaged.bias, (last.bias + earlier.bias) / 2)
    every = fit(on, [job(find("swa"), epochs=5, last=99, **same)])[0].head()
    heads = [fit(on, [job(find("swa"), epochs=n, last=1, **same)])[0].head().weight for n in range(1, 6)]
    torch.testing.assert_close(every.weight, torch.stack(heads).mean(0))


def test_the_simplex_is_that_of_the_paper(make, batch):
    strategy, (logits, sample) = make("etf"), batch.tensors
    K = logits.shape[1]
    vertices = (K / (K - 1)) ** 0.5 * (torch.eye(K) - 1 / K).double()
    torch.testing.assert_close(vertices @ vertices.T, K / (K - 1) * torch.eye(K).double() - 1 / (K - 1))
    cosines = F.normalize(logits, dim=1) @ vertices
    torch.testing.assert_close(strategy.loss(logits, sample), (cosines.gather(1, sample.labels.unsqueeze(1)).squeeze(1) - 1).square() / 2)
    assert torch.equal(cosines.argmax(1), logits.argmax(1))
