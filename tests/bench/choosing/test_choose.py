"""``lt-bench choose``: on rows that the backbone has not seen, never on the test set, honest, and the same after a kill."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import lt_bench as lt
from lt_bench.bench.choosing import fits as fits_of_strategies
from lt_bench.bench.choosing.choose import choose
from lt_bench.bench.choosing.ground import Ground, Split
from lt_bench.bench.choosing.groups import groups_of
from lt_bench.bench.options import ImageOptions
from lt_bench.core.seals import sealed
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.extraction.joined_images import listed_groups
from lt_bench.features.manifest import read_manifest
from lt_bench.leaderboard.choice.conclusion import sentences
from lt_bench.leaderboard.objective.objective import MACRO
from lt_bench.strategies.registry import find

K, D = 5, 6
COUNTS = np.array([60, 30, 18, 9, 1])
FAST = ("--accelerator", "cpu", "--budget", "3", "--folds", "3")
NAMES = ["<img src=x>", "=1+1", *"cde"]


def draw(counts, seed, informative=True):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts)
    return 2.0 * np.eye(K, D)[labels] * informative + rng.normal(size=(len(labels), D)), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache of foundation features with validation."""
    place = tmp_path_factory.mktemp("caches") / "ponds"
    lt.Cache.from_arrays(
        *draw(COUNTS, 1), test=draw([4] * K, 2), val=draw([12, 9, 6, 4, 0], 3), name="ponds", class_names=NAMES, directory=place
    )
    return place


@pytest.fixture(scope="module")
def bench(folder):
    return lt.open_cache(folder).bench("cpu")


def test_the_command_ends_in_a_decision_that_runs_as_printed(cli, folder, tmp_path):
    (folder / "test.safetensors").rename(folder / "away")  # the test set is never read
    line = ("choose", "--cache", str(folder), "--strategies", "ncm,lda,random_head", *FAST, "--out", "out")
    try:
        done = cli(*line)
    finally:
        (folder / "away").rename(folder / "test.safetensors")
    assert done.code == 0, done.err
    assert re.search(r"^ *(ncm|lda) .*taken", done.out, re.MULTILINE)
    assert "Take " in done.out
    assert "Nothing is known of classes without a held-out image: e." in done.out
    document = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert document["split"] == "val"
    assert document["take"]["strategy"] in ("ncm", "lda")
    guess = next(one for one in document["strategies"] if one["strategy"] == "random_head")
    assert guess["p"] < 0.05
    page = (tmp_path / "out" / "choice.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    table = done.out[done.out.index("ponds:") : done.out.index("Take ")]
    assert max(map(len, table.splitlines())) <= 80
    assert cli(*line).code == 0, "predictions are there, and its own files are replaced"
    (tmp_path / "out" / "choice.csv").write_text("of the user")
    assert "choice.csv: not a file that lt-bench wrote" in cli(*line).err
    run, export = document["command"].split(" && ")
    for command in (run, export):
        done = cli(*shlex.split(command)[1:])
        assert done.code == 0, done.err
    assert cli("validate", "results").code == 0


@pytest.mark.parametrize("split", ["val", "train"])
def test_killed_and_begun_again_it_is_the_same(bench, split, tmp_path, monkeypatch):
    entries = [find("ncm"), find("crt")]
    whole = choose(bench, entries, budget=2, folds=3, split=split, results=tmp_path / "whole")
    original, calls = fits_of_strategies.Fits._predictions, []

    def killed(self, watcher):
        calls.append(self.entry.name)
        if calls == ["ncm", "crt"]:
            raise KeyboardInterrupt
        return original(self, watcher)

    monkeypatch.setattr(fits_of_strategies.Fits, "_predictions", killed)
    results = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        choose(bench, entries, budget=2, folds=3, split=split, results=results)
    again = choose(bench, entries, budget=2, folds=3, split=split, results=results)
    assert calls == ["ncm", "crt", "crt"]
    assert {**again, "command": ""} == {**whole, "command": ""}
    (path,) = (results / "choices").glob("crt-*.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "predictions": document["predictions"][::-1]}))
    with pytest.raises(lt.UserError, match="altered"):
        choose(bench, entries, budget=2, folds=3, split=split, results=results)
    path.write_text(json.dumps(sealed({**document, "predictions": "x"})))
    with pytest.raises(lt.UserError, match="damaged"):
        choose(bench, entries, budget=2, folds=3, split=split, results=results)


def test_no_prediction_is_of_a_head_that_saw_the_row_or_the_fold(bench):
    ground = Ground.of(bench, "train", 4, None)
    covered = np.zeros((4, len(ground.labels)), int)
    for part in ground.parts:
        for row, outer in zip(part.rows, part.outer, strict=True):
            assert {int(ground.folds[row]), int(outer)} == set(part.left_out)
        covered[part.outer, part.rows] += 1
        rest = ground.without(part, find("joint"))
        assert rest.manifest.dataset.train_counts == tuple(torch.bincount(rest.split("train").labels, minlength=K).tolist())
        gone = set(bench.split("train").rows.tolist()) - set(rest.split("train").rows.tolist())
        assert gone == set(bench.split("train").rows[np.isin(ground.fold, part.left_out)].tolist())
        assert set(bench.split("train").rows[ground.held_out[part.rows]].tolist()) == gone
        head, whole = rest.cache.head(), bench.cache.head()
        assert head is not None
        assert whole is not None
        assert not torch.equal(head.weight, whole.weight)  # the stage-1 head is fitted anew
    assert (covered == 1).all()
    assert (ground.fold[bench.split("train").labels == K - 1] == -1).all()  # a class of one always trains


@pytest.mark.slow  # tests/leaderboard/choice holds the same of scores that are drawn
def test_it_is_honest_where_labels_say_nothing():
    estimates, best = [], []
    for seed in range(4):
        cache = lt.Cache.from_arrays(*draw([20] * K, seed, informative=False), test=draw([2] * K, 99), head=None)
        document = choose(cache.bench("cpu"), [find("lda"), find("ncm")], budget=12, folds=3)
        assert document["split"] == "train"
        estimates.append(document["expect"]["value"])
        best.append(document["strategies"][0]["best_point"])
    assert abs(np.mean(estimates) - 1 / K) < 0.05
    assert np.mean(best) > np.mean(estimates) + 0.02


def test_groups_stay_together_and_seeds_are_averaged(bench, folder):
    n = int(COUNTS.sum())
    groups = np.arange(n) // 3
    fold = Ground.of(bench, "train", 3, groups).fold
    assert all(len(set(fold[groups == one])) == 1 for one in set(groups))
    with pytest.raises(
        lt.UserError, match="val has 2 groups that may be apart, too few for 3 folds; hold out more groups for val, or --split train"
    ):
        Ground.of(bench, "val", 3, np.arange(31) % 2)
    with pytest.raises(lt.UserError, match="val has 4 groups that may be apart, too few for 5 folds; use fewer --folds, or --split train"):
        Ground.of(bench, "val", 5, np.arange(31) % 4)
    more = "add training images of other groups, or leave --split train out to choose on val"
    for apart, folds, helps in ((2, 3, more), (4, 5, "use fewer --folds, or leave --split train out to choose on val")):
        with pytest.raises(lt.UserError, match=f"train has {apart} groups that may be apart, too few for {folds} folds; {helps}$"):
            Ground.of(bench, "train", folds, np.arange(n) % apart)
    with pytest.raises(lt.UserError, match="one for each of the 118 rows of train"):
        Ground.of(bench, "train", 3, groups[1:])
    guess, by_group = (
        choose(bench, [find("ncm"), find("lda")], budget=1, folds=3, split="train", groups=of) for of in (None, np.arange(n) // 8)
    )
    widths = [np.diff(one["expect"]["interval"])[0] for one in (guess, by_group)]
    assert widths[1] > widths[0]  # the last group has images of two classes
    assert "take groups as the sample" in " ".join(sentences(by_group, MACRO))
    choice = lt.choose(lt.open_cache(folder), ["crt", "joint"], folds=3, budget=1, seeds=(0, 1), accelerator="cpu")
    assert choice.strategy in ("crt", "joint")
    assert choice.frame.strategy.tolist() == [one["strategy"] for one in choice.document["strategies"]]
    assert str(choice).startswith(f"Take {choice.strategy}")
    lt.fit(choice.strategy, lt.open_cache(folder), accelerator="cpu", **choice.hyperparameters)


def test_groups_are_those_of_the_images_that_the_cache_lists(folder, tmp_path):
    paths = [f"{'ab'[n % 2]}/{n}_frame.png" for n in range(31)]
    (tmp_path / "images.csv").write_text("split,row,path,label\n" + "".join(f"val,{n},{path},a\n" for n, path in enumerate(paths)))
    wanted = [f"t{n // 4}" for n in range(31)]

    cache = FeatureCache(tmp_path, read_manifest(folder))
    rows = [f"{path},0,{track}\n" for path, track in zip(paths, wanted, strict=True)]
    for order in (["new/first.png,0,t9\n", *rows], rows[::-1]):  # a row more, and another order: rows are known by their images
        (tmp_path / "all.csv").write_text("path,label,track\n" + "".join(order))
        assert groups_of(cache, "val", ImageOptions(data_dir=tmp_path / "all.csv", group_column="track")).tolist() == wanted
    (tmp_path / "all.csv").write_text("path,label,track\n" + "".join(rows[1:]))
    with pytest.raises(lt.UserError, match=r"has no row of a/0_frame\.png, an image of cache ponds"):
        groups_of(cache, "val", ImageOptions(data_dir=tmp_path / "all.csv", group_column="track"))
    with pytest.raises(lt.UserError, match="--group-column track: name the table that has the column with --data-dir"):
        groups_of(cache, "val", ImageOptions(group_column="track"))
    by_pattern = ImageOptions(group_pattern="(.)_frame")
    assert groups_of(cache, "val", by_pattern).tolist() == [str(n)[-1] for n in range(31)]
    with pytest.raises(lt.UserError, match="lists no images"):
        groups_of(lt.open_cache(folder), "val", by_pattern)
    assert groups_of(cache, "val", ImageOptions()) is None
    for one in (cache, lt.open_cache(folder)):  # split by image, or imported
        assert listed_groups(one, "val") is None
    head, *lines = (tmp_path / "images.csv").read_text().splitlines()
    (tmp_path / "images.csv").write_text("".join(f"{line},{end}\n" for line, end in zip([head, *lines], ["group", *wanted], strict=True)))
    listed = listed_groups(cache, "val")
    assert listed is not None
    assert listed.tolist() == wanted  # as the cache was split
    shutil.copytree(folder, tmp_path / "ponds")
    shutil.copy(tmp_path / "images.csv", tmp_path / "ponds")
    assert choose(lt.open_cache(tmp_path / "ponds").bench("cpu"), [find("ncm")], budget=1, folds=3)["by_group"]


def test_a_cache_that_was_split_by_groups_and_does_not_list_them_says_so(folder, bench):
    assert "split by groups" not in (plain := " ".join(sentences(choose(bench, [find("ncm")], budget=1, folds=3), MACRO)))
    command = "lt-bench extract --data-dir DIR --dataset table --group-column 'the track'"
    cache = lt.Cache(folder, replace(read_manifest(folder), command=f"{command} && lt-bench update EXPORT --data-dir DIR"))
    splits: tuple[tuple[Split, bool], ...] = (("val", False), ("train", True))
    for split, too_high in splits:
        (line,) = (
            line
            for line in sentences(choose(cache.bench("cpu"), [find("ncm")], budget=1, folds=3, split=split), MACRO)
            if "split by groups" in line
        )
        assert "intervals are too narrow" in line
        assert ("accuracies too high" in line) == too_high
        assert line.endswith(f"say `--group-column 'the track' --data-dir TABLE`, or extract again: {command} --name ponds-groups")
    known = choose(cache.bench("cpu"), [find("ncm")], budget=1, folds=3, groups=np.arange(31))
    assert "split by groups" not in " ".join(sentences(known, MACRO))
    assert "take groups as the sample" not in plain


def test_what_the_backbone_has_seen_chooses_nothing(cli, make_cache, small_cache, tmp_path):
    seen = make_cache(tmp_path / "seen", dataset={"val_seen_by_backbone": True})
    for line, words in (
        (("--cache", str(seen)), "nothing may choose here: the backbone was trained on its validation images, the backbone was trained on its training images"),
        (("--cache", str(seen), "--split", "val"), "--split val: the backbone was trained on its validation images, so they choose nothing"),
        (("--cache", "small", "--split", "train"), "--split train: the backbone was trained on its training images, so they choose nothing; leave --split train out to use val"),
        (("--cache", str(make_cache(tmp_path / "none", without=("val",)))), "it has no validation images"),
        (("--cache", "small", "--folds", "2"), "folds is 2, expected at least 3"),
        (("--cache", "small", "--budget", "0"), "budget is 0"),
        (("--cache", "small", "--strategies", "ncm,nothing"), "nothing"),
        (("--cache", "small", "--strategies", "crt,val_probe"), "val_probe learns from validation images, which choose here; leave it out"),
    ):  # fmt: skip
        done = cli("choose", *line)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert words in done.err


def test_usual_strategies_without_a_head_are_left_out(make_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.bench.choosing.choose.USUAL", ("joint", "ncm"))
    bare = open_cache(make_cache(tmp_path / "bare", without=("head",), transform={"evaluation": "imported features"}))
    document = choose(lt.Cache(bare.path, bare.manifest).bench("cpu"), budget=1, folds=3, split="val")
    assert "joint" in document["left_out"]
    assert [one["strategy"] for one in document["strategies"]] == ["ncm"]


def test_where_every_class_is_of_one_group_nothing_can_be_held_out(bench):
    with pytest.raises(lt.UserError, match="no row of train can be held out, since each is of the only group of a class"):
        Ground.of(bench, "train", 3, bench.split("train").labels.numpy())
