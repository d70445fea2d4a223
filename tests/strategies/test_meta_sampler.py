import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import build, fit, job, problem
from lt_bench.core.processes import Processes
from lt_bench.engine.heads.gradients import Gradients, Share
from lt_bench.strategies._lib.meta_sampler import Members, adam_direction, split_members
from lt_bench.strategies.contract import Batch
from lt_bench.strategies.registry import find

COUNTS = (30, 9, 2)


def ready(on=None, **changes):
    on = on or problem(COUNTS, 4)
    return on, build(
        find("meta_sampler"), on, torch.float64, [job(find("meta_sampler"), lr=0.7, weight_decay=0.02, schedule_offset=0, **changes)]
    )


def labels_of(on, rows):
    return on.train.labels[rows % len(on.train)]


def test_rates_move_along_the_derivative_through_the_inner_step(monkeypatch):
    """The gradient that Adam is given, against autograd's way through the inner step and the relaxed draw."""
    on, strategy = ready(meta_batch_size=9)
    rows = strategy.redraw(torch.arange(6))
    features, labels = on.train.gather(rows).double(), labels_of(on, rows)
    seen = strategy._drawn.balanced_rows[0]
    balanced, balanced_labels = on.train.gather(seen).double(), labels_of(on, seen)
    shares = strategy._drawn.shares[0] / strategy.rate_logit.sigmoid()  # the shares of the draw apart from the rates

    rate_logit = strategy.rate_logit.double().requires_grad_()
    soft = shares.double() * rate_logit.sigmoid()
    soft = (soft / soft.sum(1, keepdim=True)).gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = soft - soft.detach() + 1  # straight-through: 1, with the gradient of the relaxed draw
    weight, bias = strategy.weight, strategy.bias
    prior = torch.tensor(COUNTS, dtype=torch.float64).log()
    inner = (weights * F.cross_entropy(features @ weight.T + bias + prior, labels, reduction="none")).mean()
    of_weight, of_bias = torch.autograd.grad(inner, (weight, bias), create_graph=True)
    moved = weight - 0.7 * (of_weight + 0.02 * weight), bias - 0.7 * (of_bias + 0.02 * bias)
    outer = F.cross_entropy(balanced @ moved[0].T + moved[1], balanced_labels)
    (expected,) = torch.autograd.grad(outer, rate_logit)

    given = []
    monkeypatch.setattr("lt_bench.strategies.meta_sampler.adam_direction", lambda gradient, *_: given.append(gradient) or gradient)
    batch = Batch(features, labels, rows)
    logits, _ = Gradients(strategy)(Share(batch, labels, Processes()))
    with torch.no_grad():
        strategy.before_update(logits, batch)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(given[0].double(), expected, rtol=1e-5, atol=1e-9)


def test_the_share_of_one_of_two_processes_moves_the_rates_as_the_whole_batch():
    directions = []
    for columns in (slice(None), slice(1, None, 2)):
        on, strategy = ready(meta_batch_size=9)
        rows = strategy.redraw(torch.arange(6))
        whole = Batch(on.train.gather(rows).double(), labels_of(on, rows), rows)
        Gradients(strategy)(Share(whole, whole.labels, Processes()))
        share = Batch(whole.features[columns], whole.labels[columns], whole.rows[columns])
        with torch.no_grad():
            strategy.before_update(strategy.logits(share.features), share)
        directions.append(strategy.rate_logit)
    torch.testing.assert_close(*directions)


def test_rates_start_inverse_to_a_power_of_the_prior():
    _, strategy = ready(init_power=0.5)
    prior = np.asarray(COUNTS) / sum(COUNTS)
    rarity = prior**-0.5
    np.testing.assert_allclose(strategy.rate_logit.sigmoid().numpy(), rarity / (rarity.min() + rarity.max()), rtol=1e-6)


def test_batches_are_drawn_by_rate_times_count():
    on, strategy = ready(init_power=1.0)
    drawn = labels_of(on, strategy.redraw(torch.zeros(60000, dtype=torch.long)))
    rates = strategy.rate_logit.sigmoid().double().numpy() * np.asarray(COUNTS)
    share = np.bincount(drawn.numpy(), minlength=3) / 60000
    np.testing.assert_allclose(share, rates / rates.sum(), atol=0.01)


def test_views_are_those_of_the_given_order():
    on, strategy = ready()
    order = torch.arange(40) % (2 * len(on.train))
    assert torch.equal(strategy.redraw(order) // len(on.train), order // len(on.train))


def test_adam_is_that_of_torch():
    rates = torch.nn.Parameter(torch.zeros(1, 3))
    ours, state = torch.zeros(1, 3), (torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(()))
    optimizer = torch.optim.Adam([rates], lr=0.03)
    for seed in range(5):
        rates.grad = torch.randn(rates.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
        ours -= 0.03 * adam_direction(rates.grad, *state)
    torch.testing.assert_close(ours, rates.detach(), rtol=0, atol=1e-6)


def test_without_balanced_softmax_the_learned_rates_favour_the_rare_class(monkeypatch):
    monkeypatch.setattr("lt_bench.strategies.balanced_softmax.BalancedSoftmax.transform", lambda self, logits, labels: logits)
    on = problem((200, 6), 4)
    jobs = [job(find("meta_sampler"), init_power=0.0, meta_lr=0.1, lr=1.0, batch_size=16, meta_batch_size=64)]
    rates = fit(on, jobs)[0].head().rate_logit.sigmoid()
    assert rates[1] > 1.3 * rates[0]


@pytest.mark.parametrize(("source", "out"), [("train", [0, 0, 0]), ("held_out", [3, 1, 1])])
def test_what_is_held_out_is_never_trained_on_and_the_balanced_batch_is_drawn_from_it_alone(source, out):
    _, strategy = ready(meta_source=source, meta_batch_size=3000)
    trained = set(strategy.redraw(torch.zeros(3000, dtype=torch.long)).tolist())
    balanced = set(strategy._drawn.balanced_rows.flatten().tolist())
    first = torch.arange(sum(COUNTS))[torch.cat([torch.arange(n) < n - held for n, held in zip(COUNTS, out, strict=True)])].tolist()
    assert trained == set(first)
    assert balanced == (set(range(sum(COUNTS))) - trained if any(out) else trained)


def test_a_class_of_one_sample_is_in_both():
    labels = torch.tensor([0] * 12 + [1])
    for members, starts, counts in zip(split_members(labels, 2, True), ([0, 12], [10, 12]), ([10, 1], [2, 1]), strict=True):
        assert isinstance(members, Members)
        assert (members.starts.tolist(), members.counts.tolist()) == (starts, counts)
