import hashlib

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.data.profiles import profile_counts
from lt_bench.data.splits import (
    fingerprint,
    first_positions,
    image_rows,
    listed_rows,
    rows_outside,
    seed0_positions,
    select_rows,
    split_hash,
)

# strategies.md 2.3: builder A, positions within the class's file-order index.
GOLDEN = {
    (10, 5000): {10: "0573a4c0bac922de", 50: "d7d316d044462dcf", 100: "d6c951e44243e61a", 200: "55ed4883d7782fbe"},
    (100, 500): {10: "bfcd8e97aec64e16", 50: "057d546842016943", 100: "2f421d63fdc8f7e5", 200: "ae3efc333edba80c"},
    (200, 500): {10: "7aec2d142b384bc5", 50: "11fab97d29e7dcd3", 100: "5df37cc69e860e38", 200: "b215909589b0f784"},
}
FIRST_FIVE = {
    (10, 5000): {0: [398, 3833, 4836, 4572, 636], 1: [597, 332, 521, 3935, 4800], 9: [2204, 3816, 2206, 2507, 1926]},
    (100, 500): {0: [90, 254, 283, 445, 461], 1: [277, 307, 436, 88, 261], 99: [348, 153, 363, 361, 299]},
    (200, 500): {199: [211, 366, 215, 352, 297]},
}


@pytest.mark.parametrize(("K", "n_max"), GOLDEN)
def test_seed0_has_the_published_fingerprints(K, n_max):
    found = {
        factor: fingerprint(seed0_positions([n_max] * K, profile_counts("exponential", n_max, factor, K))) for factor in GOLDEN[K, n_max]
    }
    assert found == GOLDEN[K, n_max]
    whole = seed0_positions([n_max] * K, [n_max] * K)
    assert {c: whole[c][:5].tolist() for c in FIRST_FIVE[K, n_max]} == FIRST_FIVE[K, n_max]


def test_seed0_leaves_the_global_generator_alone(monkeypatch):
    for name in ("seed", "shuffle", "permutation"):
        monkeypatch.delattr(np.random, name)
    assert [len(p) for p in seed0_positions([10, 10], [10, 1])] == [10, 1]


def test_first_takes_source_order_class_after_class():
    labels = np.array([1, 0, 1, 0, 2, 0, 2])
    assert select_rows(labels, [2, 1, 1], "first").tolist() == [1, 3, 0, 4]
    assert [p.tolist() for p in first_positions([3, 2, 2], [2, 1, 1])] == [[0, 1], [0], [0]]


def test_seed0_maps_positions_to_rows():
    labels = np.tile(np.arange(3), 50)
    rows = select_rows(labels, [50, 5, 1], "seed0")
    positions = seed0_positions([50, 50, 50], [50, 5, 1])
    assert rows.tolist() == [int(3 * p + c) for c, chosen in enumerate(positions) for p in chosen]


def test_an_imbalanced_source_is_refused():
    labels = np.repeat([0, 1], [10, 4])
    with pytest.raises(UserError, match="class 1 has 4 images, the profile wants 5"):
        select_rows(labels, [10, 5], "first")
    with pytest.raises(UserError, match="needs the balanced original"):
        select_rows(labels, [10, 2], "seed0")


def test_rows_outside_never_touch_the_training_rows():
    labels = np.repeat([0, 1, 2], [10, 10, 10])
    used = select_rows(labels, [10, 8, 2], "first")
    rest = rows_outside(labels, used, 3)
    assert rest.tolist() == [18, 19, 22, 23, 24]


def test_split_hash_is_content():
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    labels = np.array([0, 0, 1, 1, 2, 2])
    rows = image_rows(images, labels)
    shuffled = [rows[i] for i in (3, 1, 0, 2, 5, 4)]
    whole = split_hash({"train": rows[:4], "test": rows[4:]})
    assert split_hash({"test": rows[4:], "train": shuffled[:4]}) == whole
    other = images.copy()
    other[0, 0, 0, 0] ^= 1
    assert split_hash({"train": image_rows(other, labels)[:4], "test": rows[4:]}) != whole
    assert split_hash({"train": image_rows(images, labels[::-1])[:4], "test": rows[4:]}) != whole
    assert split_hash({"train": rows[:3], "test": rows[3:]}) != whole


def test_split_hash_against_a_plain_calculation():
    rows = listed_rows(["b/2.jpg", "a/1.jpg"], [1, 0])
    expected = sorted(hashlib.sha256(y.to_bytes(4, "little") + p.encode()).digest() for p, y in (("a/1.jpg", 0), ("b/2.jpg", 1)))
    assert split_hash({"train": rows}) == hashlib.sha256(b"train:2\n" + b"".join(expected)).hexdigest()[:16]
