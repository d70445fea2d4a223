import numpy as np
import pytest
from photos import photo, write_photos

from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import identity
from lt_bench.data.load import load_images
from lt_bench.data.readers import class_folders
from lt_bench.data.readers.class_folders import read_class_folders

FLAT = {"chat noir": 10, "собака": 4, "水": 2, "zebra": 1}


def test_a_split_is_made_where_there_is_none(tmp_path):
    data = load_images("folder", write_photos(tmp_path / "a", FLAT, suffix=".JPG"))
    assert data.class_names == tuple(sorted(FLAT))
    whole = sorted(path for split in data.splits.values() for path in split.paths)
    assert len(whole) == len(set(whole)) == 17
    counts = {name: np.bincount(split.labels, minlength=4) for name, split in data.splits.items()}
    assert (counts["train"] + counts["test"] + counts["val"]).tolist() == [10, 1, 4, 2]
    assert data.train_counts == tuple(counts["train"])
    assert counts["train"].min() >= 1
    assert counts["test"][[0, 2, 3]].min() >= 1  # a class of one image has none
    assert counts["val"][[0, 2]].min() >= 1
    assert "20 % test, 10 % val" in data.val_source
    again, other = load_images("folder", tmp_path / "a"), load_images("folder", tmp_path / "a", split_seed=1)
    assert (again.split_hash == data.split_hash, other.split_hash == data.split_hash) == (True, False)
    for split in data.splits.values():
        assert all(split.image(i).size == (24, 18) for i in range(len(split)))
        assert all(data.class_names[y] == path.split("/")[0] for path, y in zip(split.paths, split.labels, strict=True))


def test_given_splits(tmp_path):
    write_photos(tmp_path, {f"{split}/{c}": n for split, n in (("train", 10), ("valid", 2), ("test", 3)) for c in "ab"})
    splits, names, source = read_class_folders(tmp_path)
    assert names == ("a", "b")
    assert {name: len(images) for name, images in splits.items()} == {"train": 20, "val": 4, "test": 6}
    assert source == "the folder valid"


def test_train_and_val_alone(tmp_path):
    write_photos(tmp_path, {f"{split}/{c}": n for split, n in (("train", 10), ("val", 2)) for c in "ab"})
    splits, _, source = read_class_folders(tmp_path)
    assert all(path.startswith("val/") for path in splits["test"].paths)
    assert len(splits["test"]) == 4
    assert sorted(splits["train"].paths + splits["val"].paths) == sorted(f"train/{c}/{i}.png" for c in "ab" for i in range(10))
    assert set(splits["val"].labels) == {0, 1}
    assert "the folder val is the test set" in source
    assert not set(splits["train"].paths) & set(splits["val"].paths)


def test_links_are_followed_and_the_identity_is_by_name(tmp_path):
    write_photos(tmp_path / "a", {"x": 3, "y": 3})
    (tmp_path / "b").mkdir()
    for c in "xy":
        (tmp_path / "b" / c).symlink_to(tmp_path / "a" / c)
    first, second = (read_class_folders(tmp_path / name)[0] for name in "ab")
    assert identity(first) == identity(second)


def lay_out(root, counts=None, extra=(), links=()):
    root.mkdir(exist_ok=True)
    write_photos(root, counts or {})
    for path in extra:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir()
        elif path.endswith(".png"):
            photo().save(root / path)
        else:
            (root / path).write_text("x")
    for path in links:
        (root / path).symlink_to(root / "nowhere.png")
    return root


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"counts": {"": 3}}, "images lie directly in it .* give the folder above"),
        ({"counts": {"data/a": 2, "data/b": 2}}, r"folder 'data' holds folders, not images: the wrong level\? give .*data$"),
        ({"counts": {"a/x": 2, "b/y": 2}}, "folder 'a' holds folders, not images"),
        ({"counts": {"a": 2}}, r"only one class folder \('a'\)"),
        ({"counts": {"a": 2, "b": 2}, "extra": ["loose.png"]}, "loose.png lies beside the class folders"),
        ({"counts": {"a": 2, "b": 2, "b/more": 1}}, r"b: holds a folder \('more'\), expected images only; move its images up$"),
        ({"counts": {"a": 2, "a/x": 1, "b/more": 1}}, r"a: holds a folder \('x'\), .* \(so with 'b'\)$"),
        ({"counts": {"a": 2, "b": 2}, "extra": ["c/"]}, "class 'c' has no image to train on; add some, or move its folders elsewhere$"),
        ({"counts": {"a": 2, "b": 2}, "extra": [f"{c}/" for c in "cdefg"]}, r"class 'c' .* \(so with 'd', 'e', 'f', \.\.\.\)$"),
        ({"counts": {"a": 2, "b": 2}, "links": ["a/gone.png"]}, "gone.png: a link to a file that is not there"),
        ({"counts": {"train/a": 2, "test/a": 2, "test/b": 2}}, r"only one class folder \('a'\)"),
        ({"counts": {"train/a": 2, "train/b": 2, "test/a": 2, "test/B": 2}}, "folder 'B' is not one of the 2 classes of train"),
        ({"counts": {"train/a": 2, "train/b": 2}}, "has train but no test folder"),
        ({"counts": {"test/a": 2, "val/b": 2}}, "has test, val but no train folder"),
        ({"counts": {"a": 1, "b": 1}}, "no class has a second image"),
        ({}, "no class folders in it"),
    ],
)
def test_bad_layouts_are_one_line(tmp_path, layout, message):
    with pytest.raises(UserError, match=message) as error:
        load_images("folder", lay_out(tmp_path / "root", **layout))
    assert "\n" not in str(error.value)


def test_files_that_are_no_images_are_left_out_and_named(tmp_path):
    root = lay_out(tmp_path / "root", {"train/a": 2, "train/b": 2, "test/a": 2}, extra=["train/a/GT-a.csv", "test/a/notes.txt"])
    data = load_images("folder", root)
    assert data.no_images == ("test/a/notes.txt", "train/a/GT-a.csv")
    assert "no images by their names: 2 files in class folders (test/a/notes.txt, train/a/GT-a.csv)" in data.remarks[0]
    assert len(data.splits["train"]) + len(data.splits["val"]) == 4
    assert set(data.splits["test"].labels) == {0}  # class b has no test image
    assert (root / "train/a/GT-a.csv").exists()


def test_heic_is_read_where_it_can_be_and_refused_by_what_reads_it(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    root = lay_out(tmp_path / "root", {"a": 3, "b": 3})
    pillow_heif.from_pillow(photo(5)).save(root / "a" / "phone.HEIC", quality=-1)
    images = next(images for images in load_images("folder", root).splits.values() if "a/phone.HEIC" in images.paths)
    found = np.asarray(images.image(images.paths.index("a/phone.HEIC"))).astype(int)
    assert np.abs(found - np.asarray(photo(5))).mean() < 15  # colours of HEIC are coarser than pixels
    monkeypatch.setattr(class_folders, "EXTENSIONS", class_folders.EXTENSIONS - class_folders.HEIF)
    with pytest.raises(UserError, match=r"phone.HEIC: HEIC images are read after `pip install 'lt-bench\[heif\]'`; install it, or"):
        load_images("folder", root)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder; name the folder of the images with --data-dir"):
        load_images("folder", tmp_path / "none")


def test_what_systems_leave_behind_is_ignored(tmp_path):
    root = lay_out(tmp_path / "root", {"a": 2, "b": 2}, extra=["a/Thumbs.db", ".DS_Store", "README.md", "__MACOSX/"])
    assert load_images("folder", root).class_names == ("a", "b")
