import json
import re
import shlex
import shutil
import statistics

import pytest

from lt_bench.bench.tuned import SCHEMA_VERSION, best_of, read_tuning, tuned_choice, tuning_id, tuning_name
from lt_bench.core.errors import UserError
from lt_bench.core.seals import sealed
from lt_bench.features.manifest import read_manifest
from lt_bench.strategies.registry import find
from lt_bench.strategies.revisions import code_of

SCORES = {0.1: [0.40, 0.42], 0.5: [0.45, 0.47], 0.9: [0.45, 0.47], 0.98: [0.30, 0.28]}


@pytest.fixture
def manifest(small_cache):
    return read_manifest(small_cache)


def document_of(manifest, **changes):
    """A tuning of los over four points, of which two are equally good."""
    grid = [{"hyperparameters": {"epsilon": e}, "macro_accuracy": s, "mean": statistics.fmean(s)} for e, s in SCORES.items()]
    document = {
        "schema": SCHEMA_VERSION, "strategy": "los", "code": "revision 1", "cache_key": manifest.key, "cache": manifest.name, "split_hash": "5" * 16,
        "selected_on": "val", "val_seen_by_backbone": False, "criterion": "macro accuracy", "fixed": {}, "seeds": [0, 1], "grid": grid,
        "choice": {"epsilon": 0.5}, "macro_accuracy": grid[1]["mean"], "environment": {"device": "cpu"}, "workers": 1,
        "command": f"lt-bench tune --strategy los --cache {manifest.name} --seeds 0,1", **changes,
    }  # fmt: skip
    return document | {"id": tuning_id(document)}


@pytest.fixture
def written(manifest, tmp_path):
    """Write a document, sealed, where ``--tuned`` looks for it; returns its path."""

    def write(document, seal=sealed):
        path = tmp_path / "tuning" / tuning_name(find("los"), manifest)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(seal(document), indent=1))
        return path

    return write


def test_a_tuning_is_found_in_the_results(manifest, tmp_path, written):
    assert tuned_choice(find("los"), manifest, tmp_path) is None
    document = document_of(manifest)
    written(document)
    found = tuned_choice(find("los"), manifest, tmp_path)
    assert found is not None
    choice, tuning = found
    assert choice == {"epsilon": 0.5}
    assert (tuning.kind, tuning.selected_on, tuning.grid_size, tuning.seeds, tuning.tuning_id) == (
        "tuned",
        "val",
        4,
        (0, 1),
        document["id"],
    )


def test_the_first_of_equal_points_is_chosen(manifest):
    assert best_of(document_of(manifest)["grid"]) == 1


EDITS = {
    "an epsilon never tried": {"choice": {"epsilon": 0.7}},
    "epochs 1": {"choice": {"epsilon": 0.5, "epochs": 1}},
    "the worst point": {"choice": {"epsilon": 0.98}, "macro_accuracy": 0.29},
    "the second of equal points": {"choice": {"epsilon": 0.9}},
    "another accuracy": {"macro_accuracy": 0.99},
    "another command": {"command": "lt-bench run --strategy los"},
    "chosen on test": {"selected_on": "test"},
    "seen validation": {"val_seen_by_backbone": True},
    "another seed": {"seeds": [0, 1, 2]},
    "a mean put higher": {"grid": [{"hyperparameters": {"epsilon": 0.5}, "macro_accuracy": [0.1, 0.1], "mean": 0.46}]},
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_tuning_is_refused(manifest, tmp_path, written, what):
    """As it is by its seal; with the seal put right by its id; and with both by what it contradicts."""
    document = sealed(document_of(manifest))
    path = written(document | EDITS[what], dict)
    for said, forge in (("altered after it was written", dict), ("its id is not that of its content", sealed)):
        path = written(document | EDITS[what], forge)
        with pytest.raises(UserError, match=said) as caught:
            tuned_choice(find("los"), manifest, tmp_path)
        assert str(caught.value).startswith(f"{path}: ")
    written(document_of(manifest, **EDITS[what]))
    with pytest.raises(UserError, match="so the file was altered; restore it from a copy, or move it away and run `lt-bench tune` again"):
        tuned_choice(find("los"), manifest, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("cache_key", "0" * 16), ("strategy", "crt"), ("code", "revision 0"), ("fixed", {"epochs": 3})]
)
def test_the_tuning_of_something_else_is_refused(manifest, tmp_path, written, name, value):
    written(document_of(manifest, **{name: value}))
    said = "the code of los changed since it was tuned" if name == "code" else f"its {name} is"
    again = " --seeds 0,1" if name == "code" else ""  # the recorded command, where it was of this strategy and cache
    with pytest.raises(
        UserError,
        match=rf"{said} .*{value if name != 'fixed' else ''}.*run `lt-bench tune --strategy los --cache {manifest.name}{again} --results {tmp_path}`",
    ):
        tuned_choice(find("los"), manifest, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema": 2}', '{"schema": 2, "choice": null, "grid": 1, "seal": ""}'])
def test_a_damaged_tuning_is_named(tmp_path, content):
    path = tmp_path / "los.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"los\.json: .*run `lt-bench tune` again") as caught:
        read_tuning(path)
    assert "\n" not in str(caught.value)


def test_a_sealed_tuning_without_its_parts_is_named(tmp_path):
    path = tmp_path / "los.json"
    path.write_text(json.dumps(sealed({"schema": 2, "choice": {}, "grid": []})))
    with pytest.raises(UserError, match="damaged tuning"):
        read_tuning(path)


def test_a_tuning_without_its_command_is_damaged(manifest, written):
    document = document_of(manifest)
    del document["command"]
    path = written(document | {"id": tuning_id(document)})
    with pytest.raises(UserError, match=r"damaged tuning \(KeyError\('command'\)\)"):
        read_tuning(path)


def test_an_earlier_tuning_names_the_way_out(tmp_path):
    path = tmp_path / "los.json"
    path.write_text('{"schema": 1}')
    with pytest.raises(UserError, match=r"`lt-bench migrate .*` brings it up to date"):
        read_tuning(path)


def _member(manifest, folder, name, key, **more):
    """A tuning of a member of an ensemble, written where ``--tuned`` looks for it."""
    points = document_of(manifest)["grid"]
    grid = [point | {"hyperparameters": {key: value}, "whole": point["mean"]} for point, value in zip(points, SCORES, strict=True)]
    if choices := more.get("choices"):
        more["standard_error"] = statistics.stdev(grid[position]["whole"] for position in choices)
    document = document_of(manifest, strategy=name, code=code_of(find(name), {}).text, grid=grid, choice={key: 0.5}, **more)
    path = folder / "tuning" / tuning_name(find(name), manifest)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(sealed(document)))


ALL_IMAGES = {"size": None, "profile": "balanced", "draws": 2, "images": 30}


def test_members_tuned_on_the_same_images_make_an_ensemble_whatever_their_standard_errors(manifest, tmp_path):
    _member(manifest, tmp_path, "los", "epsilon", validation=ALL_IMAGES, choices=[1, 0])
    _member(manifest, tmp_path, "tau_norm", "tau", validation=ALL_IMAGES, choices=[1, 3])
    assert tuned_choice(find("los"), manifest, tmp_path)[1].standard_error > 0
    choice, tuning = tuned_choice(find("ensemble(los+tau_norm)"), manifest, tmp_path)
    assert (tuning.validation, tuning.standard_error) == ("all 30 validation images", None)
    assert tuning.grid_size == 2 * len(SCORES)
    assert sorted(choice.values()) == [0.5, 0.5]


def test_a_member_tuned_before_images_were_counted_is_tuned_on_the_same(manifest, tmp_path):
    """As the shipped tunings are, which say nothing of validation: all images of the cache."""
    _member(manifest, tmp_path, "los", "epsilon")
    _member(manifest, tmp_path, "tau_norm", "tau", validation=ALL_IMAGES, choices=[1, 3])
    assert tuned_choice(find("ensemble(los+tau_norm)"), manifest, tmp_path)[1].grid_size == 2 * len(SCORES)


def test_the_seeds_of_a_choice_are_those_of_all_members(manifest, tmp_path):
    """The shipped tunings have one seed, and `tune` takes three by default."""
    _member(manifest, tmp_path, "los", "epsilon", seeds=[0, 1])
    _member(manifest, tmp_path, "tau_norm", "tau", seeds=[1, 2])
    assert tuned_choice(find("ensemble(los+tau_norm)"), manifest, tmp_path)[1].seeds == (0, 1, 2)


def test_members_that_were_tuned_on_other_images_are_named(manifest, tmp_path):
    _member(manifest, tmp_path, "los", "epsilon", validation=ALL_IMAGES, choices=[1, 0])
    _member(manifest, tmp_path, "tau_norm", "tau", validation=ALL_IMAGES | {"size": 20, "images": 20}, choices=[1, 3])
    said = (
        "los was tuned for macro, on all 30 validation images, and tau_norm for macro, on 20 balanced validation images; tune one of them"
    )
    with pytest.raises(UserError, match=re.escape(said)):
        tuned_choice(find("ensemble(los+tau_norm)"), manifest, tmp_path)


@pytest.mark.parametrize("strategy", ["tau_norm", "ensemble(tau_norm+lda)"])
def test_following_the_advice_leads_to_the_tuned_run(cli, small_cache, tmp_path, monkeypatch, strategy):
    """From a cache that only its path leads to, and results that are not in the usual place."""
    place = shutil.copytree(small_cache, tmp_path / "a place")
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "home"))
    run = ("run", "--strategy", strategy, "--cache", str(place), "--results", "other place", "--accelerator", "cpu", "--tuned")
    for _ in range(strategy.count("+") + 1):
        refused = cli(*run)
        assert refused.code == 2
        (advice,) = re.findall(r"was not tuned on cache small; run `lt-bench ([^`]*)` first", refused.err)
        done = cli(*shlex.split(advice))
        assert done.code == 0
        assert "use it with --tuned --results 'other place'" in done.out
    assert cli(*run).code == 0
