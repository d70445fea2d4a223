import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_image_files import coloured, encode, write_cifar10, write_parquet

from lt_bench.core.errors import UserError
from lt_bench.data.readers.parquet import open_table
from lt_bench.data.readers.small_images import load_small_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cifar10(tmp_path_factory.mktemp("data") / "cifar10").parent


def test_decoding_is_exact(tmp_path):
    labels = np.arange(300) % 7
    images = coloured(labels, 7, seed=1, size=9)
    write_parquet(tmp_path / "a.parquet", images, labels, names=list("abcdefg"))
    table = open_table(tmp_path / "a.parquet")
    assert table.class_names == tuple("abcdefg")
    assert np.array_equal(table.labels, labels)
    rows = np.array([299, 0, 17])
    assert np.array_equal(table.decode(rows, threads=2), images[rows].transpose(0, 3, 1, 2))
    assert np.array_equal(table.decode(), images.transpose(0, 3, 1, 2))


def test_columns_are_selectable(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    pq.write_table(pa.table({"picture": [encode(image)], "kind": [3]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column image or img, it has picture, kind; name it with --image-column"):
        open_table(tmp_path / "a.parquet")
    assert open_table(tmp_path / "a.parquet", "picture", "kind").decode().shape == (1, 3, 4, 4)
    with pytest.raises(UserError, match="holds int64, expected encoded images"):
        open_table(tmp_path / "a.parquet", "kind", "kind")


def test_grey_and_palette_images_become_rgb(tmp_path):
    from io import BytesIO

    from PIL import Image

    grey = Image.fromarray(np.full((4, 4), 90, np.uint8))
    data = []
    for image in (grey, grey.convert("P")):
        file = BytesIO()
        image.save(file, "PNG")
        data.append(file.getvalue())
    pq.write_table(pa.table({"image": data, "label": [0, 1]}), tmp_path / "a.parquet")
    assert (open_table(tmp_path / "a.parquet").decode() == 90).all()


def test_subset_val_and_test(folder):
    data = load_small_images("cifar10_lt", folder, imbalance_factor=8)
    assert data.train_counts[0] == 24
    assert data.train_counts[-1] == 3
    assert np.bincount(data.splits["train"].labels).tolist() == list(data.train_counts)
    assert {name: len(split) for name, split in data.splits.items() if name != "train"} == {"val": 30, "test": 40}
    assert data.splits["train"].images.shape == (sum(data.train_counts), 3, 32, 32)
    assert data.val_source == "val.parquet"
    assert data.class_names[0] == "airplane"


def test_validation_outside_the_subset(folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").write_bytes((folder / "cifar10" / f"{split}.parquet").read_bytes())
    data = load_small_images("cifar10_lt", tmp_path, imbalance_factor=8)
    train, val = data.splits["train"].rows, data.splits["val"].rows
    assert set(train).isdisjoint(val)
    assert len(set(train) | set(val)) == 240
    assert 0 not in data.splits["val"].labels


def test_every_image_that_is_in_neither_train_nor_test_validates(folder):
    """Those of the validation file first, then those outside the subset; train, test and the name of the split stay."""
    usual = load_small_images("cifar10_lt", folder, imbalance_factor=8)
    data = load_small_images("cifar10_lt", folder, imbalance_factor=8, val_per_class="all")
    outside = 240 - sum(data.train_counts)
    val = data.splits["val"]
    assert len(val) == 30 + outside
    assert np.bincount(val.labels).tolist() == [3 + 24 - n for n in data.train_counts]
    assert val.labels.tolist() == sorted(val.labels)
    assert val.rows[:4].tolist() == [0, 1, 2, 3]  # all of class 0 is trained on but the file's
    sources = {split: open_table(folder / "cifar10" / f"{split}.parquet") for split in ("val", "train")}
    for image, label, row in zip(val.images, val.labels, val.rows, strict=True):
        source, own = ("val", row) if row < 30 else ("train", row - 30)
        assert np.array_equal(image, sources[source].decode(np.array([own]))[0])
        assert label == sources[source].labels[own]
    for split in ("train", "test"):
        assert np.array_equal(data.splits[split].rows, usual.splits[split].rows)
        assert np.array_equal(data.splits[split].images, usual.splits[split].images)
    assert data.val_source == "all of val.parquet and train.parquet outside the subset"
    assert (data.split_hash, usual.val_hash) == (usual.split_hash, "")
    fewer = load_small_images("cifar10_lt", folder, imbalance_factor=8, val_per_class=5)
    assert np.bincount(fewer.splits["val"].labels).tolist() == [min(5, 27 - n) for n in data.train_counts]
    assert set(fewer.splits["val"].rows) < set(val.rows)
    assert len({fewer.val_hash, data.val_hash, ""}) == 3


def test_a_class_that_is_all_trained_on_has_no_validation_image(folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").write_bytes((folder / "cifar10" / f"{split}.parquet").read_bytes())
    data = load_small_images("cifar10_lt", tmp_path, imbalance_factor=8, val_per_class="all")
    assert np.bincount(data.splits["val"].labels).tolist() == [24 - n for n in data.train_counts]
    assert 0 not in data.splits["val"].labels
    assert sorted([*data.splits["train"].rows, *data.splits["val"].rows]) == [*range(240)]
    for per_class, message in (("all", "none is left for validation"), (0, "--val-per-class is 0, expected a whole number from 1")):
        with pytest.raises(UserError, match=message):
            load_small_images("cifar10_lt", tmp_path, imbalance_factor=1 if per_class else 8, val_per_class=per_class)


def test_pixels_of_train_and_test_and_repeated_ones_do_not_validate(folder, tmp_path):
    """A validation file that holds a training image, a test image and one of its own twice, all under another label: each stands once, the first."""
    tables = {split: open_table(folder / "cifar10" / f"{split}.parquet") for split in ("train", "val", "test")}
    pixels = tables["val"].decode()
    pixels[27], pixels[28], pixels[29] = tables["train"].decode(np.array([0]))[0], tables["test"].decode(np.array([0]))[0], pixels[0]
    write_parquet(tmp_path / "val.parquet", pixels.transpose(0, 2, 3, 1), tables["val"].labels)
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").write_bytes((folder / "cifar10" / f"{split}.parquet").read_bytes())
    data = load_small_images("cifar10_lt", tmp_path, imbalance_factor=8, val_per_class="all")
    assert {27, 28, 29}.isdisjoint(data.splits["val"].rows)
    assert len(data.splits["val"]) == 27 + 240 - sum(data.train_counts)
    assert data.val_source.endswith("outside the subset, without 3 whose pixels are in train, in test or there twice")


def test_split_hash_tells_subsets_apart(folder):
    hashes = {load_small_images("cifar10_lt", folder, imbalance_factor=f).split_hash for f in (8, 12)}
    assert len(hashes) == 2
    assert load_small_images("cifar10_lt", folder, imbalance_factor=8).split_hash in hashes


def test_seed0_needs_the_official_order(folder):
    with pytest.raises(UserError, match="not in the official row order"):
        load_small_images("cifar10_lt", folder, imbalance_factor=8, selection="seed0")


def test_seed0_on_the_official_order(tmp_path):
    generator = np.random.default_rng(3)
    labels = np.concatenate(
        [[6, 9, 9, 4, 1, 1, 2, 7, 8, 3], generator.permutation(np.repeat(np.arange(10), [10, 8, 9, 9, 9, 10, 9, 9, 9, 8]))]
    )
    write_parquet(tmp_path / "train.parquet", coloured(labels, 10, 0, size=4), labels)
    write_parquet(tmp_path / "test.parquet", coloured(np.arange(10), 10, 1, size=4), np.arange(10))
    data = load_small_images("cifar10_lt", tmp_path, imbalance_factor=5, selection="seed0")
    order = np.random.RandomState(0).permutation(10)
    assert data.splits["train"].rows[:10].tolist() == np.flatnonzero(labels == 0)[order].tolist()


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"no train.parquet and test.parquet .* download cifar-10-python.tar.gz"):
        load_small_images("cifar10_lt", tmp_path)


def test_other_layouts_are_refused(tmp_path):
    with pytest.raises(UserError, match="imagenet_lt is not a set of small images"):
        load_small_images("imagenet_lt", tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([None, b"x"], [0, 1], "row 0 has no image"),
        ([b"no image", b"x"], [0, 1], "row 0 is not a readable image"),
        ([encode(np.zeros((4, 4, 3), np.uint8)), encode(np.zeros((4, 5, 3), np.uint8))], [0, 1], "row 1 is 5x4 pixels, row 0 4x4"),
        ([b"x", b"x"], [-1, 1], "row 0 has label -1"),
        ([b"x", b"x"], [None, 1], "1 rows have no label"),
        ([b"x", b"x"], [0.5, 1], "expected integers"),
    ],
)
def test_garbled_files_are_named(tmp_path, images, labels, message):
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": labels}), tmp_path / "bad.parquet")
    with pytest.raises(UserError, match=f"bad.parquet: .*{message}"):
        open_table(tmp_path / "bad.parquet").decode()


def test_not_parquet(tmp_path):
    (tmp_path / "bad.parquet").write_text("hello")
    with pytest.raises(UserError, match="not a readable parquet file"):
        open_table(tmp_path / "bad.parquet")


def test_labels_from_one(tmp_path):
    labels = np.repeat(np.arange(1, 11), 2)
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", coloured(labels - 1, 10, 0, size=4), labels)
    with pytest.raises(UserError, match=r"labels 1..10, expected 0..9 \(labels from 1\?\)"):
        load_small_images("cifar10_lt", tmp_path, imbalance_factor=2)
