import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.features.sampler_names import sampler_entries
from lt_bench.features.samplers import SAMPLERS, Epoch, EpochOrder, Sampler, resolve_sampler

CLASS_AWARE_RUN, EFFECTIVE_NUMBER_BETA = 4, 0.9999

counts_with_gaps = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(lambda counts: sum(counts) > 0)


def shuffled_labels(counts, seed=0):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(labels.numel(), generator=torch.Generator().manual_seed(seed))]


def draw(name, counts, progress=0.5, seed=0):
    labels = shuffled_labels(counts)
    epochs = 1 + 10**6
    epoch = Epoch(
        labels,
        torch.tensor(counts),
        round(progress * (epochs - 1)),
        epochs,
        8,
        torch.Generator().manual_seed(seed),
        torch.ones(len(labels)),
    )
    return labels, SAMPLERS[name]().order(epoch)


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
    assert SAMPLERS["class_balanced"]().order(Epoch(torch.tensor([1, 1]), counts, 0, 1, 2, torch.Generator())).tolist() == [0, 0]


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


GOLDEN = {
    "instance": "b92023eb78ee6b6f",
    "class_aware": "936729b5cde57be0",
    "class_balanced": "1060857b5a539c94",
    "square_root": "acf2ade498e66bb8",
    "progressive": "224df179072688c0",
    "effective_number": "f24e8c3850968802",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_orders_stay_as_they_are(name):
    counts = [20, 9, 4, 0, 1, 30000]
    order = EpochOrder(shuffled_labels(counts), torch.tensor(counts), name, (0, 5), (1, 3), epochs=4, batch_size=6)
    orders = torch.stack([order.order(repetition, epoch) for repetition in (0, 5) for epoch in (0, 2)])
    assert hashlib.sha256(orders.numpy().tobytes()).hexdigest()[:16] == GOLDEN[name]


class Reversed(Sampler):
    """The last row first."""

    def order(self, epoch):
        return torch.arange(epoch.labels.numel()).flip(0)


class TooShort(Sampler):
    def order(self, epoch):
        return torch.arange(3)


class WithoutOrder(Sampler):
    pass


@pytest.mark.parametrize("sampler", [Reversed, Reversed(), "my_samplers.Reversed"])
def test_a_sampler_of_ones_own_is_a_class_an_instance_or_a_dotted_path(sampler, tmp_path, monkeypatch):
    (tmp_path / "my_samplers.py").write_text(
        "import torch\nfrom lt_bench.features.samplers import Sampler\n"
        "class Reversed(Sampler):\n    def order(self, epoch):\n        return torch.arange(epoch.labels.numel()).flip(0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    order = epoch_order(sampler=sampler, views=(0,))
    assert order.order(0, 0).tolist() == list(range(33))[::-1]


def test_parameters_are_given_by_text():
    assert resolve_sampler("effective_number(beta=0.5)").beta == 0.5
    assert resolve_sampler("class_aware(2)").run == 2


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("class_balancd", r"unknown sampler 'class_balancd' \(did you mean 'class_balanced'\?\); one of instance, class_aware"),
        ("nowhere.Mine", "nowhere.Mine: module 'nowhere' cannot be found"),
        ("lt_bench.features.samplers.Mine", "has no class 'Mine'"),
        ("collections.OrderedDict", "not a subclass of lt_bench.features.samplers.Sampler"),
        (WithoutOrder, "abstract"),
        ("instance(3)", "takes no arguments"),
        ("instance(", "expected a name with literal parameters"),
        ("class_aware(run=0)", "run is 0, expected at least 1"),
        ("effective_number(beta=1)", "beta is 1"),
    ],
)
def test_what_is_no_sampler_is_named(sampler, message):
    with pytest.raises(UserError, match=message):
        epoch_order(sampler=sampler)


def test_an_order_that_is_no_epoch_is_refused():
    with pytest.raises(UserError, match=r"TooShort: order\(\) returned torch.int64 \(3,\), expected N = 33 row numbers 0..32"):
        epoch_order(sampler=TooShort).order(0, 0)


def test_weighted_draws_in_proportion_to_the_weights_before_each_epoch():
    labels, weights = torch.zeros(4000, dtype=torch.long), torch.arange(4000.0) % 4
    asked = []
    order = EpochOrder(
        labels, torch.tensor([4000]), "weighted", (0, 1), (0,), epochs=2, batch_size=10, sample_weights=lambda: asked.append(1) or weights
    )
    drawn = torch.bincount(torch.cat(list(order), dim=1)[0] % 4, minlength=4) / 4000
    assert drawn.tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6], abs=0.03)
    order.set_epoch(1)
    list(order)
    assert len(asked) == 2


def test_each_repetition_may_have_weights_of_its_own():
    weights = torch.eye(2, 5)
    order = EpochOrder(
        torch.zeros(5, dtype=torch.long),
        torch.tensor([5]),
        "weighted",
        (0, 1),
        (0,),
        epochs=1,
        batch_size=5,
        sample_weights=lambda: weights,
    )
    assert torch.cat(list(order), dim=1).tolist() == [[0] * 5, [1] * 5]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, r"sample_weights\(\) is None"),
        (torch.ones(4), r"shape \(4,\), expected \(33,\)"),
        (torch.zeros(33), "nothing but 0"),
        (torch.full((33,), torch.nan), "NaN"),
        (-torch.ones(33), "negative"),
    ],
)
def test_weights_that_cannot_be_drawn_by_are_refused(weights, message):
    with pytest.raises(UserError, match=message):
        next(iter(epoch_order(sampler="weighted", sample_weights=lambda: weights)))


def test_names_and_summaries_are_read_without_torch():
    entries = sampler_entries()
    assert list(entries) == list(SAMPLERS)
    assert entries["effective_number"].signature == "effective_number(beta=0.9999)"
    assert all(entry.doc == SAMPLERS[name].__doc__.strip().replace("\n    ", "\n") for name, entry in entries.items())
    code = "import sys; from lt_bench.features.sampler_names import sampler_entries; sampler_entries(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_sampler_of_the_docs_draws_an_epoch_and_the_names_there_are_all():
    page = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
    section = page[page.index("## A sampler of your own") : page.index("## Several processes")]
    names = {}
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], names)
    rows = epoch_order(sampler=names["Halves"], views=(0,)).order(0, 0)
    assert set((rows % 2).tolist()) == {0}
    assert torch.bincount(rows).max() == 2
    assert all(f"`{name}`" in section for name in SAMPLERS)


def test_the_cycles_of_class_aware_are_shuffled():
    labels, index = draw("class_aware", [4] * 30)
    order = labels[index][::CLASS_AWARE_RUN].tolist()
    assert order != sorted(order) == list(range(30))
    drawn = torch.stack([index[labels[index] == c] for c in range(30)])
    assert len({tuple((row - row.min()).tolist()) for row in drawn}) > 10


def test_the_cycles_of_class_aware_begin_anew_every_epoch():
    """The official ones run on: there, the 400 samples of a class would all come before any comes again."""
    labels = torch.tensor([0] * 5 + [1] * 400)
    order = EpochOrder(labels, torch.tensor([5, 400]), "class_aware", (0,), (0,), epochs=2, batch_size=16)
    first, second = ([row for row in order.order(0, epoch).tolist() if row >= 5] for epoch in (0, 1))
    assert len(set(first)) == len(first) > 150
    assert len(set(second)) == len(second)
    assert len(first) + len(second) > 390
    assert len(set(first) & set(second)) > 50
