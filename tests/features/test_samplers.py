import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.features.samplers import CLASS_AWARE_RUN, EFFECTIVE_NUMBER_BETA, SAMPLERS, EpochOrder

counts_with_gaps = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(lambda counts: sum(counts) > 0)


def shuffled_labels(counts, seed=0):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(labels.numel(), generator=torch.Generator().manual_seed(seed))]


def draw(name, counts, progress=0.5, seed=0):
    labels = shuffled_labels(counts)
    index = SAMPLERS[name](labels, torch.tensor(counts), progress, torch.Generator().manual_seed(seed))
    return labels, index


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=40, deadline=None)
@given(counts=counts_with_gaps, seed=st.integers(0, 1000), progress=st.floats(0, 1))
def test_an_epoch_has_n_positions_that_exist(name, counts, seed, progress):
    labels, index = draw(name, counts, progress, seed)
    assert index.shape == (sum(counts),)
    assert index.dtype == torch.long
    assert int(index.min()) >= 0
    assert int(index.max()) < len(labels)


@settings(max_examples=40, deadline=None)
@given(counts=counts_with_gaps, seed=st.integers(0, 1000))
def test_instance_draws_every_sample_once(counts, seed):
    labels, index = draw("instance", counts, seed=seed)
    assert sorted(index.tolist()) == list(range(len(labels)))


@settings(max_examples=60, deadline=None)
@given(counts=counts_with_gaps, seed=st.integers(0, 1000))
def test_class_aware_runs_through_shuffled_cycles_of_classes_and_of_samples(counts, seed):
    labels, index = draw("class_aware", counts, seed=seed)
    n, drawn = len(labels), labels[index]
    runs = [drawn[start : start + CLASS_AWARE_RUN] for start in range(0, n, CLASS_AWARE_RUN)]
    assert all(len(set(run.tolist())) == 1 for run in runs)
    present = {c for c, count in enumerate(counts) if count}
    order = [int(run[0]) for run in runs]
    for start in range(0, len(order), len(present)):
        cycle = order[start : start + len(present)]
        assert len(set(cycle)) == len(cycle)
        assert set(cycle) <= present
    # A class gives no sample an m-th time before every one of its samples was given m - 1 times, in whole cycles.
    for c in present:
        own = index[drawn == c].tolist()
        members = set((labels == c).nonzero().squeeze(1).tolist())
        for start in range(0, len(own), len(members)):
            cycle = own[start : start + len(members)]
            assert len(set(cycle)) == len(cycle)
            assert set(cycle) <= members


def test_class_aware_reshuffles_a_class_when_it_is_used_up():
    labels, index = draw("class_aware", [6, 6], seed=1)
    big = draw("class_aware", [5, 400], seed=1)
    small_class = big[1][big[0][big[1]] == 0].tolist()
    cycles = {tuple(small_class[start : start + 5]) for start in range(0, 195, 5)}
    assert len(cycles) > 10
    assert len(labels) == len(index)


def expected_mass(name, counts, progress):
    n = np.asarray(counts, dtype=np.float64)
    present = n > 0
    if name == "class_balanced":
        mass = present.astype(float)
    elif name == "square_root":
        mass = np.sqrt(n)
    elif name == "progressive":
        mass = (1 - progress) * n / n.sum() + progress * present / present.sum()
    else:
        mass = np.where(present, n * (1 - EFFECTIVE_NUMBER_BETA) / (1 - EFFECTIVE_NUMBER_BETA ** np.maximum(n, 1)), 0)
    return mass / mass.sum()


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["class_balanced", "square_root", "progressive", "effective_number"])
def test_class_shares_are_those_of_the_rule(name, progress):
    counts = [0, 30000, 6000, 0, 900, 90, 10, 0]
    labels, index = draw(name, counts, progress, seed=7)
    share = torch.bincount(labels[index], minlength=len(counts)).numpy() / len(index)
    expected = expected_mass(name, counts, progress)
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / len(index))
    assert share[expected == 0].sum() == 0


@pytest.mark.parametrize("name", ["class_balanced", "square_root", "progressive", "effective_number"])
def test_every_sample_of_a_class_is_equally_likely(name):
    counts = [20000, 7, 3]
    labels, index = draw(name, counts, 1.0, seed=3)
    for c in (1, 2):
        drawn = torch.bincount(index[labels[index] == c], minlength=len(labels))[labels == c].numpy()
        expected = drawn.sum() / counts[c]
        assert ((drawn - expected) ** 2 / expected).sum() < 35  # chi-squared, at most 6 degrees of freedom
    assert len(set(index[labels[index] == 0].tolist())) < (labels[index] == 0).sum()  # with replacement


def test_a_class_without_samples_is_not_drawn_even_by_the_number_zero(monkeypatch):
    counts = torch.tensor([0, 2, 0])
    monkeypatch.setattr(torch, "rand", lambda n, **options: torch.zeros(n, dtype=torch.float64))
    assert SAMPLERS["class_balanced"](torch.tensor([1, 1]), counts, 0.0, torch.Generator()).tolist() == [0, 0]


def epoch_order(**changes):
    options = {"sampler": "class_aware", "repetitions": (0, 5), "views": (1, 3), "epochs": 4, "batch_size": 6, "steps_per_chunk": 3}
    options |= changes
    counts = [20, 9, 4]
    return EpochOrder(
        shuffled_labels(counts), torch.tensor(counts), options.pop("sampler"), options.pop("repetitions"), options.pop("views"), **options
    )


def test_chunks_join_to_the_orders_and_end_only_the_last_step_short():
    order = epoch_order()
    order.set_epoch(2)
    chunks = list(order)
    assert len(chunks) == len(order) == 2
    assert [chunk.shape for chunk in chunks] == [(2, 18), (2, 15)]
    joined = torch.cat(chunks, dim=1)
    for row, repetition in enumerate((0, 5)):
        assert torch.equal(joined[row], order.order(repetition, 2))


def test_an_order_depends_on_repetition_and_epoch_alone():
    alone, stacked = epoch_order(repetitions=(5,)), epoch_order(batch_size=4, steps_per_chunk=1)
    assert torch.equal(alone.order(5, 3), stacked.order(5, 3))
    assert not torch.equal(alone.order(5, 3), alone.order(5, 2))
    assert not torch.equal(alone.order(5, 3), alone.order(4, 3))


def test_views_are_those_asked_for_and_all_of_them():
    order = epoch_order(sampler="instance").order(0, 0)
    assert set((order // 33).tolist()) == {1, 3}
    assert sorted((order % 33).tolist()) == list(range(33))


def test_progressive_goes_from_natural_to_balanced_over_the_epochs():
    counts = [9000, 1000]
    order = EpochOrder(shuffled_labels(counts), torch.tensor(counts), "progressive", (0,), (0,), epochs=3, batch_size=10)
    labels = shuffled_labels(counts)
    rare = [float((labels[order.order(0, epoch)] == 1).float().mean()) for epoch in range(3)]
    assert rare == pytest.approx([0.1, 0.3, 0.5], abs=0.025)


def test_a_fit_of_one_epoch_has_an_order():
    assert epoch_order(sampler="progressive", epochs=1).order(0, 0).shape == (33,)


def test_an_unknown_sampler_is_named():
    with pytest.raises(UserError, match="unknown sampler 'balanced'; one of instance, class_aware"):
        epoch_order(sampler="balanced")
