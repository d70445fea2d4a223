import numpy as np
import pytest
from extracting import extract_from
from photos import photo

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.cli.main import main
from lt_bench.data.hold_out import shares_in, words
from lt_bench.data.load import load_images
from lt_bench.data.split_remarks import far_shares, lacking_validation

HELD = "held out: " + words({"test": 0.2, "val": 0.1}, 0)


def test_shares_are_read_as_they_are_said():
    assert shares_in(HELD) == {"test": 0.2, "val": 0.1}
    assert shares_in("held out of train: " + words({"val": 0.125}, 3, "groups of the pattern 9 % test")) == {"val": 0.125}
    assert shares_in("rows of split val") == {}


def test_classes_without_validation_images_are_counted_and_named():
    counts, trained, names = np.array([3, 0, 0, 0, 0, 0]), [9, 9, 9, 9, 9, 0], tuple("abcdef")
    assert lacking_validation(counts, trained, names).startswith(
        "validation has images of 1 of 5 classes, none of 'b', 'c', 'd' and 1 more: "
    )
    assert lacking_validation(np.array([1, 1, 1, 1, 1, 0]), trained, names) == ""


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"train": 138, "val": 24, "test": 90}, "90 of 252 images are in test (36%) where about 20% were meant: the 40 groups stay whole"),
        ({"train": 200, "test": 52}, "0 of 252 images are in val (0%) where about 10% were meant: the 40 groups stay whole"),
        ({"train": 1750, "val": 260, "test": 510}, ""),
        ({"train": 6, "val": 0, "test": 4}, ""),  # as chance leaves ten images
    ],
)  # fmt: skip
def test_shares_far_from_what_was_meant(sizes, said):
    assert far_shares(sizes, HELD, 40) == said
    assert far_shares(sizes, "rows of split val", 40) == ""


def test_a_split_by_large_groups_is_warned_of_where_data_are_checked_and_extracted(tmp_path, capsys):
    """Eight classes of two tracks and four of three: those of two give one to test, and few to validation."""
    for k in range(12):
        (tmp_path / "photos" / f"sign {k:02}").mkdir(parents=True)
        for track in range(2 if k < 8 else 3):
            for frame in range(10):
                photo(100 * k + 10 * track + frame).save(tmp_path / "photos" / f"sign {k:02}" / f"{k}{track}_{frame}.png")
    pattern = r"/(\d+)_"
    data = load_images("folder", tmp_path / "photos", group_pattern=pattern)
    of_val = set(data.splits["val"].labels.tolist()) if "val" in data.splits else set()
    test = len(data.splits["test"])
    assert 0 < len(of_val) < 12
    assert test >= 100
    lacking, far = data.remarks
    assert lacking.startswith(f"validation has images of {len(of_val)} of 12 classes, none of 'sign ")
    assert far.startswith(f"{test} of 280 images are in test ({test / 280:.0%}) where about 20% were meant")
    assert far.endswith(
        "the 28 groups stay whole; to mend it: more and smaller groups, another --split-seed, or a split of your own (folders train, val and test)"
    )
    assert load_images("folder", tmp_path / "photos").remarks == ()
    assert main(["data", "check", "folder", "--data-dir", str(tmp_path / "photos"), "--group-pattern", pattern]) == 0
    checked = " ".join(capsys.readouterr().out.split())
    save_weights(build_backbone("resnet20", 12), tmp_path / "w.safetensors")
    extract_from(
        dataset="folder", data_dir=tmp_path / "photos", backbone="resnet20", weights=tmp_path / "w.safetensors", out=tmp_path / "cache", views=0,
        accelerator="cpu", workers=0, group_pattern=pattern, progress=True,
    )  # fmt: skip
    extracted = " ".join(capsys.readouterr().err.split())
    for remark in data.remarks:
        assert remark in checked
        assert remark in extracted
