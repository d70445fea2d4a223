import json
import re

import numpy as np
import pytest
from photos import photo, write_photos
from PIL import Image
from small_image_files import write_cifar10

from lt_bench.cli.main import main
from lt_bench.data import check as data_check
from lt_bench.data import membership, repeated
from lt_bench.data.specs import DatasetSpec, NeededFile


def check(capsys, *arguments):
    code = main(["data", "check", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err.count("\n") == (code != 0)
    return code, out, err


def test_before_any_image_is_there(capsys, tmp_path):
    code, out, err = check(capsys, "imagenet_lt")
    assert (code, "ILSVRC2012_img_train.tar" in out, "--data-dir DIR" in err) == (2, True, True)
    code, out, err = check(capsys, "imagenet_lt", "--data-dir", tmp_path)
    assert "5 of what imagenet_lt needs are missing: ImageNet_LT_train.txt" in err
    assert code == 2


def test_a_folder_that_is_complete(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"a b": 10, "ц": 4})
    code, out, err = check(capsys, "folder", "--data-dir", root)
    assert (code, err) == (0, "")
    assert "2 classes of 7 to 2 training images (3.5 times)" in out
    assert "split hash: " in out
    assert "train: 8 of 9 decoded, 24 pixels wide" in out


def test_the_next_command_has_the_choices_that_were_checked(capsys, tmp_path):
    write_cifar10(tmp_path)
    code, out, _ = check(capsys, "cifar10_lt", "--data-dir", tmp_path, "--imbalance-factor", 5, "--profile", "step")
    assert code == 0
    assert (
        f"next: lt-bench run --strategy crt --dataset cifar10_lt --data-dir {tmp_path} --imbalance-factor 5 --profile step --backbone"
        in out
    )


def test_a_broken_image(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"a": 10, "b": 4})
    (root / "a" / "3.png").write_text("hello")
    code, _, err = check(capsys, "folder", "--data-dir", root, "--decode", -1)
    assert code == 2
    assert "a/3.png: not an image" in err


def test_all_broken_images_are_named_and_the_rest_is_looked_at(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"a": 12, "b": 8})
    for name in ("a/3.png", "a/7.png", "b/2.png", "b/5.png"):
        (root / name).write_bytes((root / name).read_bytes()[:80] if name[0] == "a" else b"")
    code, out, err = check(capsys, "folder", "--data-dir", root, "--decode", -1)
    assert code == 2
    assert "4 images cannot be decoded: " in err
    assert all(name in out + err for name in ("a/3.png", "a/7.png", "b/2.png", "b/5.png"))
    assert "near-identical images" in out
    assert "complete" not in out


def test_a_truncated_image_beyond_those_that_are_tried_is_found_by_the_look_at_all(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"train/a": 12, "train/b": 8, "val/a": 2, "test/a": 2}, suffix=".jpg", size=(50, 40))
    cut = [root / "train" / name for name in ("a/1.jpg", "a/9.jpg", "b/3.jpg", "b/4.jpg")]
    for path in cut:
        path.write_bytes(path.read_bytes()[:-300])
    code, out, err = check(capsys, "folder", "--data-dir", root, "--decode", 1)
    assert code == 2
    assert "4 images cannot be decoded: " in err
    assert sum(str(path) in err for path in cut) == 3
    assert all(f"{path}: cannot be decoded" in out + err for path in cut)
    assert "train: 1 of 20 decoded" in out
    assert "complete" not in out
    for path in cut[1:]:
        path.unlink()
    code, out, err = check(capsys, "folder", "--data-dir", root, "--decode", 1)
    assert (code, err.count(str(cut[0]))) == (2, 1)
    assert "mend it, or leave such images out with --skip-broken" in err


def test_a_folder_without_a_place_is_one_line(capsys):
    code, out, err = check(capsys, "folder")
    assert (code, "needed" in out, "give --data-dir DIR" in err) == (2, False, True)


def test_what_is_noticed_is_there_for_programs(cli, tmp_path):
    root = write_photos(tmp_path / "mine", {"train/a": 6, "train/b": 5, "val/a": 1, "test/a": 3})
    (root / "test" / "a" / "copy.png").write_bytes((root / "train" / "a" / "0.png").read_bytes())
    (root / "train" / "b" / "list.csv").write_text("x")
    Image.new("RGB", (9, 9), "white").save(root / "train" / "b" / "white.png")
    Image.new("RGB", (9, 9), (7, 7, 9)).save(root / "train" / "b" / "dark.png")
    document = json.loads(cli("data", "check", "folder", "--data-dir", str(root), "--json").out)
    assert document["repeated_images"]["test in train"] == 1
    assert document["repeated_with_another_label"]["test in train"] == 0
    (pair,) = document["repeated_pairs"]
    assert (pair["name"], pair["other_name"]) == (str(root / "test" / "a" / "copy.png"), str(root / "train" / "a" / "0.png"))
    assert document["near_identical_to_training"]["test"] == 1
    assert document["constant_images"] == {"train": 2, "val": 0, "test": 0}
    assert document["left_out"] == ["train/b/list.csv"]
    said = cli("data", "check", "folder", "--data-dir", str(root)).out
    assert "few-shot accuracy on test will rest on 4 images of 1 class:" in said
    assert re.search(r"train +13 +0 / 0 / 13 +2", said)
    assert f"next: lt-bench choose --dataset folder --data-dir {root}" in said
    assert "2 of 13 train images are of one colour" in said
    assert "1 class without a test image and so without an accuracy: b" in said


def make_small_lists(monkeypatch, root):
    """ImageNet-LT as four images of two classes, of which the lists are written."""
    spec = DatasetSpec(
        "imagenet_lt", "Small", "two classes", "lists", num_classes=2, n_test=1, needs=(NeededFile("train", "big.tar"),), folder="x", obtain="ask"
    )  # fmt: skip
    monkeypatch.setattr(data_check, "dataset_spec", lambda _: spec)
    monkeypatch.setattr("lt_bench.data.load.dataset_spec", lambda _: spec)
    (root / "train").mkdir()
    for split, lines in {"train": "train/1.png 0\ntrain/2.png 1\n", "val": "train/3.png 0\n", "test": "train/4.png 1\n"}.items():
        (root / f"ImageNet_LT_{split}.txt").write_text(lines)


def test_the_images_of_a_benchmark_are_compared_on_request(capsys, tmp_path, monkeypatch):
    make_small_lists(monkeypatch, tmp_path)
    for i, picture in enumerate((1, 2, 3, 1), 1):
        photo(picture).save(tmp_path / "train" / f"{i}.png")
    hashed = []
    monkeypatch.setattr(repeated, "contents", lambda images: (hashed.append(images), membership.contents(images))[1])
    code, out, _ = check(capsys, "imagenet_lt", "--data-dir", tmp_path)
    assert code == 0
    assert "were not looked for; --decode -1 does" in out
    assert hashed == []
    code, out, _ = check(capsys, "imagenet_lt", "--data-dir", tmp_path, "--decode", -1)
    assert "OVERLAP: 1 of 1 test images are also training images" in out
    assert len(hashed) == 3


def test_lists_whose_images_are_not_all_there(capsys, tmp_path, monkeypatch):
    make_small_lists(monkeypatch, tmp_path)
    photo().save(tmp_path / "train" / "1.png")
    code, out, err = check(capsys, "imagenet_lt", "--data-dir", tmp_path)
    assert code == 2
    assert "train: 2 images listed, 1 there; the first absent one is train/2.png" in out
    assert "imagenet_lt train: 1 of 2 images are absent, the first is" in err
    assert "they come from big.tar" in err


@pytest.mark.parametrize(
    ("arguments", "message"), [(["data", "chek"], "there is `lt-bench data check NAME"), (["data", "check"], "needs the name")]
)
def test_wrong_use(capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_copy_that_is_filed_under_another_class_is_named_first(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"train/cat": 8, "train/dog": 6, "val/cat": 2, "test/cat": 2, "test/dog": 2})
    train = root / "train"
    for one, other in {"cat/0": "cat/x0", "cat/1": "cat/x1", "cat/2": "cat/x2", "dog/3": "dog/x3", "cat/5": "dog/x5"}.items():
        (train / f"{other}.png").write_bytes((train / f"{one}.png").read_bytes())
    code, out, _ = check(capsys, "folder", "--data-dir", root)
    assert code == 0
    lines = out.splitlines()
    at = lines.index("5 of 19 training images repeat another of the same split, 1 of them with another label (is one wrong?)")
    assert lines[at + 1] == f"  {train}/dog/x5.png, labelled dog, is {train}/cat/5.png, labelled cat"
    assert lines[at + 2] == f"  {train}/cat/x0.png is {train}/cat/0.png"
    assert sum(" is " in line for line in lines[at + 1 :] if line.startswith("  ")) == 3


def test_repeats_against_a_plain_search():
    generator = np.random.default_rng(0)
    hashes = {split: generator.integers(0, 60, n).astype(np.uint64) for split, n in {"train": 50, "val": 20, "test": 0}.items()}
    labels = {split: generator.integers(0, 3, rows.size) for split, rows in hashes.items()}
    found = repeated.repeated(hashes, labels)
    lists = {split: rows.tolist() for split, rows in hashes.items()}
    within = {split: [i for i, value in enumerate(rows) if value in rows[:i]] for split, rows in lists.items()}
    inside = [i for i, value in enumerate(lists["val"]) if value in lists["train"]]
    assert found.counts == {s: len(rows) for s, rows in within.items()} | {
        "val in train": len(inside),
        "test in val": 0,
        "test in train": 0,
    }
    differ = [i for i in inside if labels["val"][i] != labels["train"][lists["train"].index(lists["val"][i])]]
    assert found.relabelled["val in train"] == len(differ) > 0
    assert [pair.row for pair in found.pairs["val in train"]] == (differ + [i for i in inside if i not in differ])[: repeated.FIRST]
    assert all(hashes[p.split][p.row] == hashes[p.other_split][p.other_row] for pairs in found.pairs.values() for p in pairs)


def test_the_same_image_in_training_and_test_and_names_that_are_nearly_the_same(capsys, tmp_path):
    root = write_photos(tmp_path / "mine", {"train/cat": 6, "train/Cat": 4, "test/cat": 2, "test/Cat": 2})
    clean = check(capsys, "folder", "--data-dir", root)[1]
    assert "OVERLAP" not in clean
    (root / "test" / "cat" / "copy.png").write_bytes(next((root / "train" / "cat").iterdir()).read_bytes())
    code, out, _ = check(capsys, "folder", "--data-dir", root)
    assert code == 0
    assert "OVERLAP: 1 of 5 test images are also training images; what is measured there was trained on" in out
    assert "classes that differ only in case or spaces: 'Cat', 'cat'" in out
