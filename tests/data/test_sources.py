"""Tables, list files, iNaturalist's JSON, Tiny-ImageNet and CIFAR's own files."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from photos import photo, write_photos
from PIL import Image
from small_image_files import coloured, encode

from lt_bench.core.errors import UserError
from lt_bench.data import load
from lt_bench.data.load import load_images
from lt_bench.data.readers.list_files import folder_names
from lt_bench.data.readers.small_images import load_small_images
from lt_bench.data.specs import dataset_spec


@pytest.fixture
def root(tmp_path):
    return write_photos(tmp_path, {"im": 12})


def table(root, rows, name="t.csv", columns=("path", "label", "split")):
    frame = pd.DataFrame(rows, columns=columns[: len(rows[0])])
    (frame.to_csv if name.endswith("csv") else frame.to_parquet)(root / name, index=False)
    return root / name


ROWS = [(f"im/{i}.png", "ñ x" if i % 3 else "b", "train" if i < 6 else "val" if i < 8 else "test") for i in range(12)]


def test_paths_may_be_relative_to_another_folder(tmp_path):
    root = write_photos(tmp_path / "images", {"im": 12})
    (tmp_path / "lists").mkdir()
    path = table(tmp_path / "lists", [(f"im/{i}.png", "ab"[i % 2]) for i in range(12)], columns=("path", "label"))
    with pytest.raises(
        UserError, match=r"12 of 12 images are absent.*; where they are relative to another folder, name it with --image-root"
    ):
        load_images("table", path)
    data = load_images("table", path, image_root=root)
    assert data.splits["train"].image(0).size == (24, 18)
    with pytest.raises(UserError, match=r"nowhere: no such folder; .* --image-root"):
        load_images("table", path, image_root=tmp_path / "nowhere")
    with pytest.raises(UserError, match="--image-root is for the images of a table"):
        load_images("folder", root, image_root=root)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables(root, name):
    data = load_images("table", table(root, ROWS, name))
    assert data.class_names == ("b", "ñ x")
    assert {split: images.rows.tolist() for split, images in data.splits.items()} == {
        "train": [*range(6)],
        "val": [6, 7],
        "test": [8, 9, 10, 11],
    }
    assert data.splits["test"].labels.tolist() == [1, 0, 1, 1]
    assert data.splits["train"].image(3).size == (24, 18)
    whole = load_images("table", table(root, [row[:2] for row in ROWS], name))
    assert sorted(np.concatenate([images.rows for images in whole.splits.values()])) == [*range(12)]
    numbered = table(root, [(path, int(label == "b")) for path, label, _ in ROWS], name, ("file", "kind"))
    assert load_images("table", numbered, image_column="file", label_column="kind").class_names == ("0", "1")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROWS[2]], "line 14 repeats line 4: im/2.png"),
        ([*ROWS, (ROWS[2][0], "b", "test")], r"line 14 repeats line 4 with another label \(1 and 0\)"),
        ([*ROWS, ("im/3.PNG", "b", "test")], r"1 of 13 images are absent, .* \(there is 3.png: upper or lower case\?\)"),
        ([*ROWS, ("im/99.png", "b", "test")], "1 of 13 images are absent"),
        ([(p, y, "dev") for p, y, _ in ROWS], "line 2 has split 'dev', expected train, val or test"),
        ([(p, y, "train") for p, y, _ in ROWS], "no row has split test"),
        ([(p, y, None if i == 3 else s) for i, (p, y, s) in enumerate(ROWS)], "line 5 has no split"),
        ([*ROWS, ("./im/../im/2.png", "b", "test")], "line 14 repeats line 4"),
        ([(p, -(i % 2), s) for i, (p, _, s) in enumerate(ROWS)], r"labels -1\.\.0, expected 0\.\.1"),
        ([(p, None, s) for p, _, s in ROWS], "line 2 has no label"),
        ([(p, "one", s) for p, _, s in ROWS], "only one class"),
        ([(p, s, s) for p, _, s in ROWS], "class 'test' has no training row"),
        ([("im/0.png",)], "no column label"),
    ],
)
def test_bad_tables_are_one_line(root, rows, message):
    with pytest.raises(UserError, match=message) as error:
        load_images("table", table(root, rows))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (("0", "1", "01"), ("0", "01", "1")),
        (("0e1", "1e0", "2e0"), ("0e1", "1e0", "2e0")),
        (("cat", "cat ", "Cat"), ("Cat", "cat", "cat ")),
        (("1", "2", "3"), ("1", "2", "3")),
        (("1", "90", "13"), ("1", "13", "90")),
        (("0", "10", "9"), ("0", "9", "10")),
        (("0.5", "1.5", "1.50"), ("0.5", "1.5", "1.50")),
    ],
)
def test_labels_are_what_is_written(root, written, names):
    rows = [(path, written[i % 3], split) for i, (path, _, split) in enumerate(ROWS)]
    data = load_images("table", table(root, rows))
    assert data.class_names == names
    for split in data.splits.values():
        assert [names[y] for y in split.labels] == [written[row % 3] for row in split.rows]


def test_file_names_that_are_numbers(tmp_path):
    for i in range(12):
        photo(i).save(tmp_path / f"{i:04d}", "PNG")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{i:04d},{i % 2}\n" for i in range(12)))
    data = load_images("table", tmp_path / "t.csv")
    assert {path for images in data.splits.values() for path in images.paths} == {f"{i:04d}" for i in range(12)}


def test_tables_as_spreadsheets_and_scripts_write_them(root):
    plain = load_images("table", table(root, ROWS))
    (root / "semicolons.csv").write_text("\ufeff" + (root / "t.csv").read_text().replace(",", ";"))
    assert load_images("table", root / "semicolons.csv").split_hash == plain.split_hash
    absolute = table(root, [(str(root / path), label, split) for path, label, split in ROWS], "a.csv")
    assert load_images("table", absolute).split_hash == plain.split_hash
    floats = table(root, [(path, float(label == "b"), split) for path, label, split in ROWS], "f.csv")
    assert load_images("table", floats).class_names == ("0", "1")
    (root / "latin.csv").write_bytes("path,label\nim/0.png,é\n".encode("latin1"))
    with pytest.raises(UserError, match=r"latin\.csv: not UTF-8 text"):
        load_images("table", root / "latin.csv")
    (root / "t.xlsx").write_text("x")
    with pytest.raises(UserError, match=r"t\.xlsx: not a table by its name, expected \.csv"):
        load_images("table", root / "t.xlsx")


def test_a_folder_in_place_of_a_table(root):
    table(root, ROWS)
    with pytest.raises(
        UserError,
        match=r"has no train, val or test table, and needs train and test .*; or give one table, of which a split is made: .*t.csv",
    ):
        load_images("table", root)


def test_a_table_for_each_split(root):
    """Their rows are those of one table with a column of splits; what is missing is named."""
    whole = load_images("table", table(root, ROWS))
    for split in ("train", "validation", "test"):
        rows = [row for row in ROWS if row[2] == {"validation": "val"}.get(split, split)]
        table(root, rows, f"{split}.csv")
    (root / "t.csv").unlink()
    several = load_images("table", root)
    assert several.split_hash == whole.split_hash
    assert several.val_source == "rows of split val"
    with pytest.raises(UserError, match="each of its tables is a split; leave --split-column out"):
        load_images("table", root, split_column="split")
    table(root, ROWS[:1], "train.tsv")
    with pytest.raises(UserError, match=r"train\.csv and train\.tsv are both of split train"):
        load_images("table", root)
    (root / "train.tsv").unlink()
    (root / "test.csv").rename(root / "other.csv")
    with pytest.raises(UserError, match=r"has train\.csv, validation\.csv, and needs test as a table: test\.parquet or test\.csv"):
        load_images("table", root)


def test_parts_of_parquet_as_the_hub_writes_them(tmp_path):
    """With the class names of their ClassLabel, and the images within."""
    whole = pq.read_table(embedded(tmp_path / "all.parquet"))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, rows in (("train-00000-of-00002", slice(0, 4)), ("train-00001-of-00002", slice(4, 8)), ("test-00000-of-00001", slice(8, 12))):
        pq.write_table(whole.slice(rows.start, rows.stop - rows.start), tmp_path / "hub" / "data" / f"{name}.parquet")
    data = load_images("table", tmp_path / "hub")
    assert data.class_names == ("ñ x", "b")
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 6, "val": 2, "test": 4}
    alone = load_images("table", tmp_path / "all.parquet")
    bytes_of = {digest: images.source(i) for images in alone.splits.values() for i, digest in enumerate(images.paths)}
    for images in data.splits.values():
        for i, digest in enumerate(images.paths):
            assert images.source(i) == bytes_of[digest]
    renamed = whole.replace_schema_metadata({})
    pq.write_table(renamed.slice(8, 4), tmp_path / "hub" / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(UserError, match="its metadata names other classes than that of train-00000"):
        load_images("table", tmp_path / "hub")


def embedded(path, kind="struct", labels=None, **columns):
    """A parquet file that holds its twelve images, of different sizes, as the Hugging Face hub writes them."""
    images = [encode(np.asarray(photo(i, size=(20 + i, 18)))) for i in range(12)]
    values = [{"bytes": data, "path": None} for data in images] if kind == "struct" else images
    table = pa.table({"image": values, "label": [i % 2 for i in range(12)] if labels is None else labels, **columns})
    names = {"info": {"features": {"label": {"names": ["ñ x", "b"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), path, row_group_size=5)
    return path


@pytest.mark.parametrize("kind", ["struct", "bytes"])
def test_tables_that_hold_their_images(tmp_path, kind):
    data = load_images("table", embedded(tmp_path / "t.parquet", kind))
    assert data.class_names == ("ñ x", "b")
    assert sorted(np.concatenate([images.rows for images in data.splits.values()])) == [*range(12)]
    test = data.splits["test"]
    assert [test.image(i).size for i in range(len(test))] == [(20 + row, 18) for row in test.rows]
    assert np.array_equal(np.asarray(test.image(1)), np.asarray(photo(int(test.rows[1]), size=(20 + int(test.rows[1]), 18))))
    again = load_images("table", embedded(tmp_path / "again.parquet", kind))
    assert (again.split_hash, load_images("table", tmp_path / "t.parquet", split_seed=1).split_hash != again.split_hash) == (
        data.split_hash,
        True,
    )
    frame = (
        pd.read_parquet(tmp_path / "t.parquet")
        .rename(columns={"image": "picture", "label": "kind"})
        .assign(part=["train", "test", "val"] * 4)
    )
    frame.to_parquet(tmp_path / "named.parquet", index=False)
    named = load_images("table", tmp_path / "named.parquet", image_column="picture", label_column="kind", split_column="part")
    assert {split: images.rows.tolist() for split, images in named.splits.items()} == {
        "train": [0, 3, 6, 9], "test": [1, 4, 7, 10], "val": [2, 5, 8, 11]
    }  # fmt: skip


def test_bad_tables_that_hold_their_images(tmp_path):
    path = embedded(tmp_path / "t.parquet", labels=["a", "b"] * 6)
    assert load_images("table", path).class_names == ("a", "b")
    frame = pd.read_parquet(path)
    for change, message in (
        ({3: None}, "row 3 has no image"),
        ({3: {"bytes": None, "path": "3.png"}}, "row 3 has no image"),
        ({5: frame.image[0]}, r"row 5 holds the image of row 0 again with another label \(0 and 1\)"),
        ({4: frame.image[0]}, r"row 4 holds the image of row 0 again; every image stands once"),
    ):
        bad = frame.assign(image=[change.get(i, value) for i, value in enumerate(frame.image)])
        bad.to_parquet(tmp_path / "bad.parquet", index=False)
        with pytest.raises(UserError, match=message):
            load_images("table", tmp_path / "bad.parquet")
    with pytest.raises(UserError, match="no column part, it has label; name it with --split-column"):
        load_images("table", path, split_column="part")
    with pytest.raises(UserError, match="no column picture, it has image, label; name it with --image-column"):
        load_images("table", path, image_column="picture")
    frame.assign(image=[{"bytes": b"x" * (i + 1), "path": ""} for i in range(12)]).to_parquet(tmp_path / "text.parquet", index=False)
    with pytest.raises(UserError, match=r"text.parquet: row \d+: not an image; mend it, or leave such images out"):
        load_images("table", tmp_path / "text.parquet").splits["train"].image(0)


@pytest.fixture
def small(monkeypatch):
    """The specs of the large benchmarks with two classes."""

    def spec(name):
        return replace(dataset_spec(name), num_classes=2, counts_file=None, n_val=None, n_test=None)

    monkeypatch.setattr(load, "dataset_spec", spec)


LISTS = {"train": "im/0.png 0\nim/1.png 1\nim/2.png 1\n", "val": "im/3.png 0\n", "test": "im/5.png 1\nim/4.png 0\n"}


def lists(root, changes=(), stem="ImageNet_LT"):
    for split, text in {**LISTS, **dict(changes)}.items():
        (root / f"{stem}_{split}.txt").write_text(text)
    return root


def test_list_files(root, small):
    data = load_images("imagenet_lt", lists(root))
    assert data.train_counts == (1, 2)
    assert data.splits["test"].paths == ("im/5.png", "im/4.png")
    assert data.splits["test"].labels.tolist() == [1, 0]
    assert (data.val_source, data.imbalance_factor) == ("ImageNet_LT_val.txt", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "im/0.png 1\nim/1.png 2\n"}, r"labels 1..2, expected 0..1 \(labels from 1\?\)"),
        ({"train": "im/0.png 0\nim/1.png\n"}, "line 2 is not `path label`: im/1.png"),
        ({"train": "im/0.png 0\nim/1.png 01\n"}, "line 2 has the label 01, expected 0, 1, 2"),
        ({"train": "im/0.png 0\nim/1.png --1\n"}, "line 2 is not `path label`"),
        ({"train": f"im/0.png 0\nim/1.png {10**30}\n"}, "line 2 has the label 1000"),
        ({"val": "im/0.png 0\n"}, "the lists of imagenet_lt together: line 4 repeats line 1"),
        ({"val": "im/77.png 0\n"}, "imagenet_lt val: 1 of 1 images are absent"),
        ({"val": ""}, "lists no image"),
    ],
)
def test_bad_lists_are_one_line(root, small, changes, message):
    with pytest.raises(UserError, match=message) as error:
        load_images("imagenet_lt", lists(root, changes))
    assert "\n" not in str(error.value)


def test_other_counts_than_the_benchmarks(root):
    with pytest.raises(UserError, match="3 training images listed, expected 115,846; class 0 has 1, expected 50"):
        load_images("imagenet_lt", lists(root))


def test_nothing_of_a_benchmark_is_there(root):
    for name in ("imagenet_lt", "inat2018", "tiny_imagenet_lt"):
        with pytest.raises(UserError, match=f"nothing of {name} is there; `lt-bench data check {name} --data-dir .*` says what it needs"):
            load_images(name, root)


def test_names_from_folders():
    places = [f"data_256/{letter}/{name}/1.jpg" for letter, name in (("a", "airport"), ("b", "bar"), ("b", "barn/outdoor"))]
    images = load.ImageList(None, tuple(places), np.arange(3), np.arange(3))  # pyright: ignore[reportArgumentType]
    assert folder_names(images, 3) == ("airport", "bar", "barn/outdoor")
    same = load.ImageList(None, ("train/1.jpg", "train/2.jpg"), np.arange(2), np.arange(2))  # pyright: ignore[reportArgumentType]
    assert folder_names(same, 2) == ("0", "1")


def test_inaturalist(root, small):
    for split, ids in {"train": [5, 3, 8], "val": [1]}.items():
        document = {
            "images": [{"id": i, "file_name": f"im/{i}.png"} for i in sorted(ids)],
            "annotations": [{"image_id": i, "category_id": i % 2} for i in ids],
            "categories": [{"id": 1, "name": "Rana"}, {"id": 0, "name": "Bufo"}],
        }
        (root / f"{split}2018.json").write_text(json.dumps(document))
    data = load_images("inat2018", root)
    assert data.class_names == ("Bufo", "Rana")
    assert data.splits["train"].paths == ("im/5.png", "im/3.png", "im/8.png")
    assert set(data.splits) == {"train", "test"}
    by_list = lists(root, {"train": "im/8.png 0\nim/5.png 1\nim/3.png 1\n", "val": "im/1.png 1\n"}, stem="iNaturalist18")
    assert load_images("inat2018", by_list).split_hash == data.split_hash
    (root / "iNaturalist18_train.txt").unlink()
    (root / "train2018.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="not iNaturalist's layout"):
        load_images("inat2018", root)
    for label in ("01", 1.7, True):
        document = {"images": [{"id": 5, "file_name": "im/5.png"}], "annotations": [{"image_id": 5, "category_id": label}]}
        (root / "train2018.json").write_text(json.dumps(document))
        with pytest.raises(UserError, match=f"category id {label!r} is no whole number"):
            load_images("inat2018", root)


def test_tiny_imagenet(tmp_path, monkeypatch):
    spec = replace(dataset_spec("tiny_imagenet_lt"), num_classes=3, n_max=6)
    monkeypatch.setattr(load, "dataset_spec", lambda _: spec)
    root = write_photos(tmp_path / "tiny-imagenet-200", {f"train/{wnid}/images": 6 for wnid in ("n02", "n01", "n03")}, suffix=".JPEG")
    (root / "val" / "images").mkdir(parents=True)
    for i in range(3):
        photo(i).save(root / "val" / "images" / f"val_{i}.JPEG")
    (root / "val" / "val_annotations.txt").write_text("".join(f"val_{i}.JPEG\tn0{3 - i}\t0\t0\t1\t1\n" for i in range(3)))
    (root / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane\nn03\tgoldfish\n")
    data = load_images("tiny_imagenet_lt", tmp_path, imbalance_factor=3, selection="seed0")
    assert data.class_names == ("crane (n01)", "crane (n02)", "goldfish")
    assert data.train_counts == (6, 3, 2)
    assert data.splits["test"].labels.tolist() == [2, 1, 0]
    order = np.random.RandomState(0).permutation(6)
    assert data.splits["train"].rows[:6].tolist() == order.tolist()
    assert not set(data.splits["val"].paths) & set(data.splits["train"].paths)
    assert len(data.splits["val"]) == 7
    fewer = load_images("tiny_imagenet_lt", tmp_path, imbalance_factor=3, selection="seed0", val_per_class=3)
    assert fewer.splits["val"].labels.tolist() == [1, 1, 1, 2, 2, 2]  # all of the first class is trained on
    assert set(fewer.splits["val"].paths) < set(data.splits["val"].paths)
    assert (fewer.splits["train"].paths, fewer.split_hash) == (data.splits["train"].paths, data.split_hash)
    assert (data.val_hash, bool(fewer.val_hash), fewer.val_source) == ("", True, "up to 3 a class of train outside the subset")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn09\n")
    with pytest.raises(UserError, match="line 1 names class 'n09'"):
        load_images("tiny_imagenet_lt", tmp_path, imbalance_factor=3)


def test_subset_folders(tmp_path, monkeypatch):
    spec = replace(dataset_spec("ictext_lt"), num_classes=2, n_max=6)
    monkeypatch.setattr(load, "dataset_spec", lambda _: spec)
    write_photos(tmp_path, {"train/A": 7, "train/B": 8, "test/A": 1, "test/B": 1})
    assert load_images("ictext_lt", tmp_path, imbalance_factor=3).train_counts == (6, 2)
    assert load_images("ictext_lt", tmp_path, imbalance_factor=18).train_counts == (7, 8)
    with pytest.raises(UserError, match="every image is in the training subset or in test, so none is left for validation"):
        load_images("ictext_lt", tmp_path, imbalance_factor=18, val_per_class="all")
    write_photos(tmp_path, {"val/A": 2, "val/B": 1})
    data = load_images("ictext_lt", tmp_path, imbalance_factor=3, val_per_class="all")
    val = data.splits["val"]
    assert [path.rpartition("/")[0] for path in val.paths] == ["val/A", "val/A", "train/A", "val/B", *["train/B"] * 6]
    assert val.rows.tolist() == [0, 1, 3 + 6, 2, *(3 + 7 + i for i in range(2, 8))]
    assert load_images("ictext_lt", tmp_path, imbalance_factor=3).split_hash == data.split_hash
    assert data.val_source == "all of val and train outside the subset"


def test_more_validation_images_need_a_source_of_which_a_subset_is_drawn(root):
    with pytest.raises(
        UserError, match="--val-per-class is for data of which a subset is drawn, and table is not one of them; leave it out"
    ):
        load_images("table", table(root, ROWS), val_per_class="all")


OFFICIAL = np.concatenate([[6, 9, 9, 4, 1, 1, 2, 7, 8, 3], np.repeat(np.arange(10), [10, 8, 9, 9, 9, 10, 9, 9, 9, 8])])


def test_cifar_pickles(tmp_path):
    images = coloured(OFFICIAL, 10, 0)
    flat = images.transpose(0, 3, 1, 2).reshape(-1, 3072)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(5):
        part = slice(20 * i, 20 * i + 20)
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps({b"data": flat[part], b"labels": OFFICIAL[part].tolist()}, protocol=2))
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": flat[:20], b"labels": OFFICIAL[:20].tolist()}, protocol=2))
    data = load_small_images("cifar10_lt", tmp_path, imbalance_factor=5, selection="seed0")
    train = data.splits["train"]
    assert np.array_equal(train.images, images[train.rows].transpose(0, 3, 1, 2))
    assert train.rows[:10].tolist() == np.flatnonzero(OFFICIAL == 0)[np.random.RandomState(0).permutation(10)].tolist()
    assert set(train.rows).isdisjoint(data.splits["val"].rows)
    unseen = load_small_images("cifar10_lt", tmp_path, imbalance_factor=5, selection="seed0", val_per_class="all").splits["val"]
    assert sorted(unseen.rows) == sorted({*range(20, 100)} - {*train.rows.tolist()})  # the first 20 are the test set too
    assert np.array_equal(unseen.images, images[unseen.rows].transpose(0, 3, 1, 2))


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Image.open, ("x",))

    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test"):
        (tmp_path / "cifar-100-python" / name).write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(UserError, match=r"names PIL\.Image\.open, which a CIFAR file does not"):
        load_small_images("cifar100_lt", tmp_path)


def test_cifar_class_folders(tmp_path):
    names = dataset_spec("cifar10_lt").class_names()
    root = write_photos(tmp_path, {f"{split}/{c}": n for split, n in (("train", 4), ("test", 1)) for c in names}, size=(32, 32))
    data = load_small_images("cifar10_lt", root, imbalance_factor=4)
    assert (data.class_names, data.train_counts[0], data.train_counts[-1]) == (names, 4, 1)
    with pytest.raises(UserError, match="not in the official row order"):
        load_small_images("cifar10_lt", root, imbalance_factor=4, selection="seed0")
    photo(size=(31, 32)).save(root / "train" / "airplane" / "0.png")
    with pytest.raises(UserError, match=r"airplane/1.png: 32x32 pixels, expected 31x32"):
        load_small_images("cifar10_lt", root, imbalance_factor=4)
