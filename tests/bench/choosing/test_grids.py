"""``lt-bench budgets``: curves from every point of a grid on a user's cache, which go on after a kill."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.bench.choosing import grids
from lt_bench.bench.choosing.grids import GridFits
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.features.manifest import IMAGES, MANIFEST_NAME, read_manifest
from lt_bench.leaderboard.choice.nested import FAILED
from lt_bench.leaderboard.objective.objective import MACRO
from lt_bench.strategies.registry import find

BUDGETS = ("budgets", "--accelerator", "cpu")
STRATEGIES, CACHE = ("--strategies", "tau_norm,joint"), ("--cache", "small")
LINE = (*BUDGETS, *CACHE, *STRATEGIES)


@pytest.fixture
def bench(small_cache):
    return CacheSource(open_cache(small_cache), Hardware("cpu", 1))


def test_the_curve_ends_at_what_tune_chooses(bench, small_cache):
    worth = GridFits.of(find("tau_norm"), bench, [0]).worth(MACRO, Watcher())
    cache = lt.open_cache(small_cache)
    tuned = lt.tune("tau_norm", cache, seeds=0, accelerator="cpu")
    (run,) = lt.fit("tau_norm", cache, seeds=0, accelerator="cpu", **tuned.best)
    assert worth.expected(len(worth)) == pytest.approx(run.metrics["test"]["macro_accuracy"])
    assert len(worth) == len(tuned.document["grid"])
    assert len(set(worth.test.tolist())) > 1


def test_a_user_gets_table_and_picture_and_nothing_is_fitted_twice(cli, small_cache, tmp_path, monkeypatch):
    done = cli(*LINE, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    curves = {one["strategy"]: one for one in found["curves"]}
    assert (curves["joint"]["grid"], len(set(curves["joint"]["expected_test"]))) == (1, 1)
    assert len(found["budgets"]) == curves["tau_norm"]["grid"]
    written = {path.name for path in (tmp_path / "budgets").iterdir()}
    assert written == {"budgets.csv", "BUDGETS.md", "budgets.svg", "budgets.png", "budgets.pdf"}

    held = cli("validate", "results")
    assert (held.code, "2 kept predictions" in held.out) == (0, True)

    def fits_again(*_):
        raise AssertionError("fitted twice")

    monkeypatch.setattr(GridFits, "_fitted_predictions", fits_again)
    again = cli(*LINE, "--budget", "2")
    assert again.code == 0, again.err
    assert "n = 2" in again.out
    assert "n = 5" not in again.out
    kept = next((tmp_path / "results" / "choices").glob("tau_norm-*.json"))
    kept.write_text(kept.read_text().replace('"seeds": [', '"seeds": [9,', 1))
    assert "run `lt-bench budgets` again" in cli(*LINE).err


def test_what_test_images_resolve_stands_below_the_table(cli, small_cache, tmp_path):
    assert cli(*LINE).code == 0
    text = (tmp_path / "budgets" / "BUDGETS.md").read_text()
    ahead, low, high = (
        float(one)
        for one in re.search(r"is (\S+) points ahead of \S+ on 42 test images .95 % over images: (\S+) to (\S+)\);", text).groups()
    )
    cache = lt.open_cache(small_cache)
    tuned = lt.tune("tau_norm", cache, seeds=0, accelerator="cpu")
    labels = cache.split("test").labels.numpy()
    runs = (lt.fit("tau_norm", cache, accelerator="cpu", **tuned.best)[0], lt.fit("joint", cache, accelerator="cpu")[0])
    apart = np.subtract(*(run.predict(cache.split("test").view("plain").numpy()) == labels for run in runs), dtype=float)
    of_class = [apart[labels == k] for k in range(6)]
    assert ahead == pytest.approx(100 * abs(np.mean([of.mean() for of in of_class])), abs=0.006)
    error = 100 * np.sqrt(sum(of.var(ddof=1) / len(of) for of in of_class)) / 6
    assert low + high == pytest.approx(2 * ahead, abs=0.02)
    assert 1.9 * error < (high - low) / 2 < 3.5 * error


def test_the_first_two_are_compared_over_groups_where_the_cache_lists_them(cli, small_cache, tmp_path):
    grouped = shutil.copytree(small_cache, tmp_path / "grouped")
    manifest = replace(read_manifest(grouped), command="lt-bench extract --data-dir DIR --group-column track")
    (grouped / MANIFEST_NAME).write_text(manifest.to_json())

    def line(*groups):
        if groups:
            (grouped / IMAGES).write_text(
                "\n".join(["split,path,label,content,group", *(f"test,{n}.png,0,{n},{g}" for n, g in enumerate(groups))])
            )
        return json.loads(cli(*BUDGETS, *STRATEGIES, "--cache", str(grouped), "--json").out)["first_two"]

    def ends(text):
        return [float(one) for one in re.search(r": (\S+) to ([^),]+)[),]", text).groups()]

    unlisted, alone, threes = line(), line(*range(42)), line(*(n // 3 for n in range(42)))
    assert "(95 % over images: " in unlisted
    assert ", too narrow: they come in groups, which the cache does not list)" in unlisted
    assert "on 42 test images (95 % over 42 groups of them: " in alone
    assert ends(alone) == pytest.approx(ends(unlisted), abs=0.011)
    assert "on 42 test images (95 % over 14 groups of them: " in threes
    assert ends(threes) != pytest.approx(ends(unlisted), abs=0.5)
    assert "too narrow" not in alone + threes


def test_two_of_several_are_picked_on_these_images_and_two_of_two_are_not(cli, small_cache):
    said = {
        strategies: json.loads(cli(*BUDGETS, *CACHE, "--strategies", strategies, "--json").out)["first_two"]
        for strategies in ("joint", "tau_norm,joint", "tau_norm,joint,ncm")
    }
    assert said["joint"] is None
    assert "picked" not in said["tau_norm,joint"]
    assert "), both picked on these images, which flatters; the table is" in said["tau_norm,joint,ncm"]


def test_a_diverged_point_is_the_last(bench, monkeypatch):
    fits = GridFits.of(find("tau_norm"), bench, [0, 1])
    val, test = (len(bench.split(view)) for view in grids.VIEWS)
    labels = [bench.split(view).labels.cpu().numpy() for view in grids.VIEWS]
    both = np.zeros((len(fits.points), 2, val + test), np.int32)
    both[0] = np.concatenate(labels)  # all right
    both[0, 1] = FAILED  # with one of two seeds
    monkeypatch.setattr(GridFits, "_fitted_predictions", lambda *_: both)
    worth = fits.worth(MACRO, Watcher())
    assert worth.test[0] == pytest.approx(0.5)
    both[0] = FAILED
    assert GridFits.worth(fits, MACRO, Watcher()).test[-1] == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--strategies", "val_probe"), "learns from validation images"),
        ((*STRATEGIES, "--budget", "0"), "--budget 0: expected at least 1 point"),
        ((*STRATEGIES, "--objective", "best"), "--objective best: expected macro, micro, shots"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(cli, small_cache, more, said):
    refused = cli(*BUDGETS, *CACHE, *more)
    assert (refused.code, refused.err.count("\n"), said in refused.err) == (2, 1, True)


def test_a_cache_without_validation_is_refused(cli, tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "bare"
    lt.Cache.from_arrays(
        5 * rng.normal(size=(20, 4)), np.arange(20) % 2, test=(rng.normal(size=(4, 4)), np.arange(4) % 2), name="bare", directory=place
    )
    refused = cli("budgets", "--cache", str(place), "--strategies", "ncm", "--accelerator", "cpu")
    assert (refused.code, "no validation split" in refused.err) == (2, True)
    with pytest.raises(UserError, match="learns from validation"):
        GridFits.of(find("val_probe"), CacheSource(open_cache(place), Hardware("cpu", 1)), [0])
