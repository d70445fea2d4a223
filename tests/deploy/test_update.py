"""``lt-bench update``: new images join, earlier ones stay where they were and are not extracted again, and both classifiers meet the same test images."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from photos import photo, write_photos
from scipy.stats import ttest_1samp

from lt_bench.backbones.registry import build_backbone
from lt_bench.backbones.weights import save_weights
from lt_bench.bench.options import ExtractOptions, UpdateOptions
from lt_bench.bench.options.recorded import options_in
from lt_bench.core.errors import UserError
from lt_bench.deploy import update as updating
from lt_bench.deploy import update_inputs
from lt_bench.deploy.files import read_description
from lt_bench.deploy.old_and_new import _comparison, recommendation
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction import extract as extraction
from lt_bench.features.extraction.joined_images import CachedImages
from lt_bench.leaderboard.objective.objective import MICRO
from lt_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("light_resnet20")

COUNTS = {"cat": 24, "dog": 12, "owl": 6}
CPU = ("--accelerator", "cpu")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "caches"


@pytest.fixture
def forwards(monkeypatch):
    """Images that went through the backbone, all views counted, by extraction."""
    seen, call = [], extraction._Forward.__call__

    def counted(self, images, flip):
        seen.append(len(images))
        return call(self, images, flip)

    monkeypatch.setattr(extraction._Forward, "__call__", counted)
    return seen


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(build_backbone("resnet20", 3), path)
    return "--weights", str(path)


def exported(cli, results, weights, *images):
    """The directory of the export of nearest class means on these images."""
    done = cli("run", "--strategy", "ncm", *images, *CPU, "--backbone", "resnet20", *weights)
    assert done.code == 0, done.err
    (record,) = Store(results).paths()
    assert cli("export", "--record", str(record), "--out", "export", "--head-only").code == 0


def listed(directory):
    """The rows of a cache by path: split, label, and features of the plain view."""
    cache = open_cache(directory)
    features = {split: cache.split(split).view("plain") for split in cache.manifest.views}
    rows, counts = {}, dict.fromkeys(features, 0)
    for row in csv.DictReader((directory / "images.csv").open(encoding="utf-8")):
        rows[row["path"]] = row["split"], row["label"], features[row["split"]][counts[row["split"]]]
        counts[row["split"]] += 1
    return rows


def test_a_folder_with_new_images(cli, home, weights, forwards, tmp_path, monkeypatch):
    root = write_photos(tmp_path / "photos", COUNTS)
    exported(cli, tmp_path / "results", weights, "--dataset", "folder", "--data-dir", str(root))
    (before,) = home.iterdir()
    old, first = listed(before), {path.name: path.read_bytes() for path in (tmp_path / "export").iterdir()}
    (root / "cat" / "broken.png").write_bytes(b"no image")
    nothing = cli("update", "export", "--data-dir", str(root), *weights, *CPU)
    assert nothing.code == 2
    assert "broken.png: " in nothing.err
    assert "mend it, or leave such images out with --skip-broken" in nothing.err
    nothing = cli("update", "export", "--data-dir", str(root), *weights, *CPU, "--skip-broken")
    assert nothing.code == 2
    assert "so there is nothing to update" in nothing.err  # it counts as none
    (root / "cat" / "broken.png").unlink()

    write_photos(tmp_path / "new", {"ant": 9, "cat": 7, "dog": 5})
    for image in sorted((tmp_path / "new").rglob("*.png")):
        (root / image.parent.name).mkdir(exist_ok=True)
        photo(hash((image.parent.name, image.stem)) % 10**6).save(root / image.parent.name / f"0 new {image.name}")
    gone = next(path for path, (split, label, _) in old.items() if split == "train" and label == "cat")
    (root / gone).unlink()
    renamed, other = [path for path, (split, label, _) in old.items() if split == "train" and label == "dog"][:2]
    (root / renamed).rename(root / "dog" / "renamed.png")
    (root / other).rename(root / "owl" / "was a dog.png")
    forwards.clear()
    done = cli("update", "export", "--data-dir", str(root), *weights, *CPU, "--json")
    assert done.code == 0, done.err
    assert sum(forwards) == 21
    found = json.loads(done.out)
    assert sum(found["changes"]["joined"].values()) == 21
    assert found["changes"]["removed"] == {"train": 1, "val": 0, "test": 0}
    assert (found["changes"]["relabelled"], found["changes"]["stayed"]) == (1, 0)
    assert found["changes"]["new_classes"] == ["ant"]
    assert "1 class new: ant" in done.err
    new = listed(home / found["cache"].rpartition("/")[2])
    names = {renamed: "dog/renamed.png", other: "owl/was a dog.png"}
    for path, (split, label, features) in old.items():
        if path != gone:
            now = new[names.get(path, path)]
            assert now[0] == split
            assert torch.equal(now[2], features)
            assert now[1] == ("owl" if path == other else label)
    assert len(new) == len(old) - 1 + 21
    assert {split for split, label, _ in new.values() if label == "ant"} == {"train", "val", "test"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "export").iterdir()} == first

    earlier, everything = found["comparisons"]
    tests = {path: row for path, row in new.items() if row[0] == "test"}
    assert (earlier["count"], everything["count"]) == (sum(row[0] == "test" for row in old.values()), len(tests))
    assert everything["unnamed"] == sum(label == "ant" for _, label, _ in tests.values())
    labels = np.array([label for _, label, _ in tests.values()])
    np.savez(tmp_path / "test.npz", features=torch.stack([features for *_, features in tests.values()]).numpy())
    for name, export in (("earlier", "export"), ("new", found["directory"])):
        assert cli("predict", export, "test.npz", "--out", "p.csv", *CPU).code == 0
        right = pd.Series(pd.read_csv(tmp_path / "p.csv")["class"].to_numpy() == labels)
        assert everything[name] == pytest.approx(right.mean() if found["objective"] == "micro" else right.groupby(labels).mean().mean())
    cache = open_cache(home / found["cache"].rpartition("/")[2])
    assert cache.manifest.command == f"{open_cache(before).manifest.command} && lt-bench update export --data-dir DIR"
    assert options_in(cache.manifest.command, ExtractOptions) == options_in(open_cache(before).manifest.command, ExtractOptions)
    monkeypatch.setattr(
        updating,
        "read_description",
        lambda path: {**(read := read_description(path)), "provenance": {**read["provenance"], "code": "then"}},
    )
    again = cli("update", "export", "--data-dir", str(root), *weights, *CPU)
    assert again.code == 0
    assert "the code of ncm has changed since the export (then, now revision" in again.err
    assert sum(forwards) == 21
    assert found["recommendation"] in again.out
    assert len(Store(tmp_path / "results").paths()) == 2


def test_a_table_by_group_killed_half_way(cli, home, weights, forwards, tmp_path, monkeypatch):
    """New images of a known track join its split; what a killed call extracted is not extracted again."""
    rows = []
    for k, (label, tracks) in enumerate((("a", 8), ("b", 6))):
        for track in range(tracks):
            for frame in range(4):
                photo(1000 * k + 10 * track + frame).save(tmp_path / f"{label}{track}_{frame}.png")
                rows.append((f"{label}{track}_{frame}.png", label, f"{label}{track}"))
    table, images = tmp_path / "t.csv", ("--dataset", "table", "--group-column", "track")
    first = pd.DataFrame(rows, columns=pd.Index(["path", "label", "track"]))
    first[~first["path"].str.endswith("3.png")].to_csv(table, index=False)
    assert cli("run", "--strategy", "ncm", *images, "--data-dir", str(table), *CPU, "--backbone", "resnet20", *weights).code == 0
    (record,) = Store(tmp_path / "results").paths()
    assert cli("export", "--record", str(record), "--out", "export", "--head-only").code == 0
    (before,) = home.iterdir()
    old = listed(before)
    splits = {track: split for path, (split, *_) in old.items() for track in [path.partition("_")[0]]}
    one, two = (next(track for track, split in splits.items() if split == name) for name in ("train", "test"))
    shutil.copy(tmp_path / f"{one}_0.png", tmp_path / f"{two}_9.png")  # a file that two tracks share moves neither
    copied = pd.DataFrame([(f"{two}_9.png", two[0], two)], columns=first.columns)
    pd.concat([copied, first]).to_csv(table, index=False)
    forwards.clear()
    monkeypatch.setattr(extraction, "SHARD_VIEWS", 12)
    write = extraction.Resumable.write

    def killed(self, split, start, *more):
        if split == "test":
            raise KeyboardInterrupt
        write(self, split, start, *more)

    monkeypatch.setattr(extraction.Resumable, "write", killed)
    words = ("update", "export", "--data-dir", str(table), *weights, *CPU, "--out", "next", "--json")
    assert cli(*words).code == 130
    assert sum(forwards) == 15
    monkeypatch.setattr(extraction.Resumable, "write", write)
    forwards.clear()
    done = cli(*words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    new = listed(home / found["cache"].rpartition("/")[2])
    in_test = sum(split == "test" and path.endswith(("3.png", "9.png")) for path, (split, *_) in new.items())
    assert sum(forwards) == in_test < 15
    assert sum(found["changes"]["joined"].values()) == 15
    assert new[f"{two}_9.png"][0] == "test"
    assert all(torch.equal(new[path][2], features) for path, (_, _, features) in old.items())
    split_of_track = {}
    for path, (split, *_) in new.items():
        split_of_track.setdefault(path.partition("_")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in split_of_track.values())
    assert found["comparisons"][1]["count"] == sum(split == "test" for split, *_ in new.values())
    assert cli(*words[:-2], "export").code == 2
    first.loc[first["path"] == f"{one}_0.png", "track"] = two
    first.assign(track=first["track"].replace({one: "new", two: "new"})).to_csv(table, index=False)
    mixed = cli(*words[:-2], "third")
    assert mixed.code == 2
    assert "have images in train and in test, the first is 'new'" in mixed.err


def test_a_folder_by_pattern_takes_the_groups_of_the_export(cli, home, weights, tmp_path):
    """Tracks stay together without the pattern being given again; a class of one track trains, also where it is new."""
    root = tmp_path / "photos"

    def write(label, track, frames):
        (root / label).mkdir(parents=True, exist_ok=True)
        for frame in frames:
            photo(1000 * ord(label) + 10 * track + frame).save(root / label / f"{track}_{frame}.png")

    for label, tracks in (("a", 8), ("b", 6), ("c", 1)):
        for track in range(tracks):
            write(label, track, range(3))
    exported(cli, tmp_path / "results", weights, "--dataset", "folder", "--data-dir", str(root), "--group-pattern", r"^(.*)_\d")
    (before,) = home.iterdir()
    old = {path.rpartition("_")[0]: split for path, (split, *_) in listed(before).items()}
    assert old["c/0"] == "train"
    for label, tracks in (("a", 9), ("b", 6), ("c", 1), ("d", 1)):
        for track in range(tracks):
            write(label, track, (3, 4))
    done = cli("update", "export", "--data-dir", str(root), *weights, *CPU, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert sum(found["changes"]["joined"].values()) == 2 * 17
    new = {}
    for path, (split, *_) in listed(home / found["cache"].rpartition("/")[2]).items():
        new.setdefault(path.rpartition("_")[0], set()).add(split)
    assert {track: new[track] for track in old} == {track: {split} for track, split in old.items()}
    assert len(new["a/8"]) == 1
    assert new["d/0"] == {"train"}
    assert "2 classes train and are not measured, since all images of each are of one group: 'c', 'd'" in done.err
    assert "--group-pattern '^(.*)_" in open_cache(home / found["cache"].rpartition("/")[2]).manifest.command


def test_the_interval_is_the_paired_t_test_and_decides():
    labels = np.zeros(400, int)
    same = np.zeros(400, int)
    same[:40] = 1
    worse = same.copy()
    worse[40:80] = 1
    one = _comparison("test images", MICRO, labels, [worse, same], np.zeros(400, bool), 2)
    difference = (same == 0).astype(float) - (worse == 0)
    interval = ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high), abs=2e-4)
    assert (
        recommendation([one], MICRO)
        == f"the new classifier is better by 10.00 points [{100 * one.low:.2f}, {100 * one.high:.2f}] on test images: take it"
    )
    back = _comparison("test images", MICRO, labels, [same, worse], np.zeros(400, bool), 2)
    assert "is worse by 10.00 points [-" in recommendation([back], MICRO)
    swapped = same[::-1].copy()
    alike = _comparison("test images", MICRO, labels, [same, swapped], np.zeros(400, bool), 2)
    assert "cannot be told apart" in recommendation([alike], MICRO)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("update",), "update needs an export and the images"),
        (("update", "nowhere", "--data-dir", "."), "not an exported classifier"),
        (("update", "nowhere", "--data-dir", "gone"), "gone: no such place"),
    ],
)
def test_what_is_missing_is_named(cli, words, message):
    done = cli(*words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_cache_of_rounded_features_is_refused(make_cache, tmp_path, monkeypatch):
    cache = open_cache(make_cache(tmp_path / "cache", dtype="affine8", dataset={"name": "folder"}))
    monkeypatch.setattr(update_inputs, "cache_by_key", lambda *_: cache)
    told = {"head": {"kind": "linear"}, "provenance": {"cache": {"key": "", "name": ""}, "command": ""}}
    with pytest.raises(UserError, match=r"would round the earlier ones again; extract all images anew with .* --dtype float32"):
        update_inputs.cache_of(told, UpdateOptions(export=tmp_path, weights=tmp_path))


def test_a_cache_without_contents_is_refused(make_cache, tmp_path):
    with pytest.raises(UserError, match="keeps no contents of its images"):
        CachedImages.of(open_cache(make_cache(tmp_path / "cache")))


@pytest.mark.parametrize("split", ["train", "of another name"])
def test_a_list_of_other_images_than_the_features_is_refused(split, make_cache, tmp_path):
    folder = make_cache(tmp_path / "cache")
    (folder / "images.csv").write_text(f"split,path,label,content\n{split},a.png,oak,0123\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"lists .*'{split}': 1.* the file was altered"):
        CachedImages.of(open_cache(folder))
