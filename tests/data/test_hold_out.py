import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.data.hold_out import hold_out, words

SHARES = {"test": 0.2, "val": 0.1}


def split_of(labels, keys, seed=0):
    """The split of every key."""
    parts = hold_out(np.asarray(labels), SHARES, keys, seed)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    return {keys[row]: name for name, rows in parts.items() for row in rows}


def test_the_seed_of_a_split_is_from_0():
    with pytest.raises(UserError, match="seed of the split is -1"):
        hold_out(np.zeros(5, np.int64), {"test": 0.2}, list("abcde"), seed=-1)


def test_membership_does_not_depend_on_the_others():
    """A class more, an image more, another order: nobody else moves."""
    labels = [c for c in range(6) for _ in range(50)]
    keys = [f"image {i}" for i in range(300)]
    before = split_of(labels, keys)
    with_class = split_of([0] * 30 + [1 + c for c in labels], [f"new {i}" for i in range(30)] + keys)
    assert {key: with_class[key] for key in keys} == before
    with_image = split_of([*labels, 3], [*keys, "one more"])
    assert {key: with_image[key] for key in keys} == before
    backwards = split_of(labels[::-1], keys[::-1])
    assert backwards == before
    less = split_of(labels[:250], keys[:250])
    assert less == {key: before[key] for key in keys[:250]}
    assert split_of(labels, keys, seed=1) != before


def test_an_addition_to_a_small_class_takes_at_most_the_place_of_a_forced_image():
    keys = [f"image {i}" for i in range(6)]
    moved = 0
    for addition in range(200):
        before, after = split_of([0] * 5, keys[:5], seed=addition), split_of([0] * 6, keys, seed=addition)
        changed = [key for key in before if before[key] != after[key]]
        assert len(changed) <= 2  # one of test, one of val
        moved += bool(changed)
    assert moved < 60


def test_shares_hold_approximately():
    labels, keys = np.repeat([0, 1], 5000), [f"{i}" for i in range(10_000)]
    parts = hold_out(labels, SHARES, keys)
    for name, share in {**SHARES, "train": 0.7}.items():
        assert np.bincount(labels[parts[name]]) == pytest.approx([5000 * share] * 2, abs=5 * (5000 * share * (1 - share)) ** 0.5)
    assert words(SHARES, 0) == "about 20 % test, 10 % val of every class, by hash of the images with seed 0"


def test_every_class_has_training_test_and_validation_rows_where_it_has_enough():
    for seed in range(50):
        labels = np.repeat([0, 1, 2, 3], [1, 2, 3, 10])
        parts = hold_out(labels, SHARES, [f"{i}" for i in range(16)], seed)
        counts = {name: np.bincount(labels[rows], minlength=4) for name, rows in parts.items()}
        assert counts["train"].min() >= 1
        assert counts["test"].astype(bool).tolist() == [False, True, True, True]
        assert counts["val"][:2].tolist() == [0, 0]
        assert counts["val"][3] >= 1
        assert counts["val"][2] == (counts["test"][2] == 1)  # chance may give two of three to test


def test_rows_of_one_key_stay_together():
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 40, 400)
    labels = generator.integers(0, 5, 400)  # a patient has images of several classes
    parts = hold_out(labels, SHARES, [f"patient {p}" for p in patients])
    groups = [set(patients[rows]) for rows in parts.values()]
    assert sum(map(len, groups)) == 40
    assert all(np.unique(labels[rows]).size == 5 for rows in parts.values())


def test_settled_keys_stay_and_leave_the_others_where_they_are():
    """Also where chance would leave a class without a split, and where the last of a class would train."""
    labels, keys = [0] * 40 + [1] * 3, [f"image {i}" for i in range(43)]
    before = split_of(labels, keys)
    settled = {"image 0": "val", "image 1": "test", "image 40": "test", "image 41": "test", "image 42": "test"}
    parts = hold_out(np.asarray(labels), SHARES, keys, settled=settled)
    after = {keys[row]: name for name, rows in parts.items() for row in rows}
    assert {key: after[key] for key in settled} == settled
    assert all(after[key] == before[key] for key in keys[2:40])
