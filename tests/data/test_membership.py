"""Splits that are made of a user's own images: by content, or by group."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from photos import photo, write_photos
from small_image_files import encode

from lt_bench.core.errors import UserError
from lt_bench.data.load import load_images


def members(data):
    return {path: split for split, images in data.splits.items() for path in images.paths}


def test_a_folder_or_an_image_more_moves_nobody(tmp_path):
    root = write_photos(tmp_path / "photos", {"cat": 40, "dog": 30, "eel": 20})
    before = members(load_images("folder", root))
    write_photos(tmp_path / "more", {"ant": 12}, size=(20, 18))  # of other contents than those that are there
    shutil.move(tmp_path / "more" / "ant", root / "ant")  # the first class now: all labels change
    photo(9000).save(root / "dog" / "0000.png")  # the first of its class
    after = members(load_images("folder", root))
    assert {path: after[path] for path in before} == before
    for i in range(40):
        (root / "cat" / f"{i}.png").rename(root / "cat" / f"renamed {i}.png")
    renamed = members(load_images("folder", root))
    assert [renamed[f"cat/renamed {i}.png"] for i in range(40)] == [before[f"cat/{i}.png"] for i in range(40)]


def test_equal_images_stay_together(tmp_path):
    root = write_photos(tmp_path, {"cat": 30, "dog": 30})
    for i in range(30):
        shutil.copy(root / "cat" / f"{i}.png", root / "cat" / f"copy {i}.png")
    split = members(load_images("folder", root))
    assert all(split[f"cat/{i}.png"] == split[f"cat/copy {i}.png"] for i in range(30))


def write_tracks(root, tracks=8, frames=4, classes="ab"):
    """``<class>/<track>_<frame>.png``; tracks are numbered anew in each class."""
    for c in classes:
        (root / c).mkdir(parents=True)
        for track in range(tracks):
            for frame in range(frames):
                photo(1000 * classes.index(c) + frames * track + frame).save(root / c / f"{track:03}_{frame}.png")
    return root


def test_a_pattern_keeps_tracks_together(tmp_path):
    root = write_tracks(tmp_path / "flat")
    data = load_images("folder", root, group_pattern=r"^(.*)_\d")
    split = members(data)
    tracks = {}
    for path, name in split.items():
        tracks.setdefault(path.rpartition("_")[0], set()).add(name)
    assert len(tracks) == 16
    assert all(len(names) == 1 for names in tracks.values())
    assert set(split.values()) == {"train", "val", "test"}
    assert "groups of the pattern ^(.*)_" in data.val_source
    assert load_images("folder", root).split_hash != data.split_hash
    (root / "c").mkdir()
    for track in range(5):
        photo(track).save(root / "c" / f"{track}_0.png")
    again = members(load_images("folder", root, group_pattern=r"^(.*)_\d"))
    assert {path: again[path] for path in split} == split


def test_a_class_of_one_group_trains_and_is_named(tmp_path):
    root = write_tracks(tmp_path / "flat")
    for name, tracks in (("c", ["000"]), ("d", ["000", "001"])):
        (root / name).mkdir()
        for i, track in enumerate(tracks):
            photo(5000 + i + ord(name)).save(root / name / f"{track}_0.png")
            photo(6000 + i + ord(name)).save(root / name / f"{track}_1.png")
    data = load_images("folder", root, group_pattern=r"^(.*)_\d")
    of_classes = {name: {split for path, split in members(data).items() if path.startswith(name)} for name in "acd"}
    assert of_classes == {"a": {"train", "val", "test"}, "c": {"train"}, "d": {"train", "test"}}
    assert data.remarks[0] == ("1 class trains and is not measured, since all images of it are of one group: 'c'")
    assert data.remarks[1].startswith("validation has images of 2 of 4 classes, none of 'c', 'd': ")
    assert "one group" not in " ".join(load_images("folder", root).remarks)
    shutil.move(root / "d" / "001_0.png", tmp_path)
    shutil.move(root / "d" / "001_1.png", tmp_path)
    again = load_images("folder", root, group_pattern=r"^(.*)_\d").remarks
    assert again[0] == ("2 classes train and are not measured, since all images of each are of one group: 'c', 'd'")


def test_a_table_with_classes_of_one_group(tmp_path):
    frame = pd.read_parquet(tracks_table(tmp_path / "t.parquet"))
    frame.loc[frame["label"] == 2, "track"] = "alone"
    frame.to_parquet(tmp_path / "t.parquet")
    data = load_images("table", tmp_path / "t.parquet", group_column="track")
    assert [2 in images.labels for images in data.splits.values()].count(True) == 1
    assert 2 in data.splits["train"].labels
    assert data.remarks[0].endswith("are of one group: '2'")
    frame.assign(track=frame["label"].astype(str)).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no group can be held out, since each is one that a class trains on"):
        load_images("table", tmp_path / "t.parquet", group_column="track")


def test_given_folders_and_groups(tmp_path):
    write_tracks(tmp_path / "train", tracks=6)
    write_tracks(tmp_path / "test", tracks=6)
    with pytest.raises(UserError, match=r"12 groups of the pattern .* have images in train and in test, the first is 'a/000'") as error:
        load_images("folder", tmp_path, group_pattern=r"^(.*)_\d")
    assert "\n" not in str(error.value)
    for path in sorted((tmp_path / "test").glob("*/*")):
        path.rename(path.with_name(f"9{path.name}"))
    data = load_images("folder", tmp_path, group_pattern=r"^(.*)_\d")
    tracks = {split: {path.rpartition("_")[0] for path in images.paths} for split, images in data.splits.items()}
    assert not tracks["train"] & tracks["val"]
    assert {len(images) for split, images in data.splits.items() if split == "test"} == {48}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\d+", r"--group-pattern \(\\d\+ is not a regular expression"),
        (r"\d+_", "has 0 groups in parentheses, expected one"),
        (r"(\d+)_(\d)", "has 2 groups in parentheses, expected one"),
        (r"(track\d+)", "is not found in 64 of 64 paths, the first is a/000_0.png; it is searched in CLASS/FILE"),
        (r"(00\d)_[123]", "is not found in 16 of 64 paths"),
        (r"^(.)/", "no group can be held out.*all images of class 'a' are of one group, 'a'"),
    ],
)
def test_bad_patterns_are_one_line(tmp_path, pattern, message):
    root = write_tracks(tmp_path / "root")
    with pytest.raises(UserError, match=message) as error:
        load_images("folder", root, group_pattern=pattern)
    assert "\n" not in str(error.value)


def tracks_table(path, split=None):
    images = [{"bytes": encode(np.asarray(photo(i))), "path": None} for i in range(60)]
    columns = {"image": images, "label": [i % 3 for i in range(60)], "track": [f"t{i // 6}" for i in range(60)]}
    pq.write_table(pa.table(columns | ({} if split is None else {"split": split})), path)
    return path


def test_a_column_keeps_tracks_together(tmp_path):
    data = load_images("table", tracks_table(tmp_path / "t.parquet"), group_column="track")
    tracks = [set((images.rows // 6).tolist()) for images in data.splits.values()]
    assert sum(map(len, tracks)) == 10
    assert len(data.splits) == 3
    assert "groups of the column track" in data.val_source
    frame = pd.DataFrame(
        {"path": [f"im/{i}.png" for i in range(60)], "label": [i % 3 for i in range(60)], "track": [i // 6 for i in range(60)]}
    )
    write_photos(tmp_path, {"im": 60})
    frame.to_csv(tmp_path / "t.csv", index=False)
    listed = load_images("table", tmp_path / "t.csv", group_column="track")
    assert sum(len(set((images.rows // 6).tolist())) for images in listed.splits.values()) == 10


def test_bad_groups_of_tables_are_one_line(tmp_path):
    path = tracks_table(tmp_path / "t.parquet", ["train", "test"] * 30)
    for column, pattern, message in (
        ("patient", None, "no column patient, it has label, track, split; name it with --group-column"),
        ("track", None, "10 groups of the column track have images in train and in test, the first is 't0'"),
        (None, "(x)", "--group-pattern is for the images of class folders, and table is not one"),
    ):
        with pytest.raises(UserError, match=message):
            load_images("table", path, group_column=column, group_pattern=pattern)
    frame = pd.read_parquet(tracks_table(path)).assign(track=[None, *["a", "b"] * 29, "c"])
    frame.to_parquet(path)
    with pytest.raises(UserError, match="line 2 has no track; every image needs a group"):
        load_images("table", path, group_column="track")
    with pytest.raises(UserError, match="--group-column is for the images of a table, and cifar10_lt is not one"):
        load_images("cifar10_lt", path, group_column="track")
