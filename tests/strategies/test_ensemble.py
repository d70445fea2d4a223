"""Ensembles: the average by hand, one identity, members of other kinds, tuned members."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lt_bench.bench.contract.check import check_one, checks_of
from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.bench.planning import plan
from lt_bench.bench.submission import tunings_of
from lt_bench.bench.tuned import tuned_choice, tuning_id, tuning_name
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import Averaged, head_from, head_parts
from lt_bench.core.seals import sealed
from lt_bench.features.manifest import read_manifest
from lt_bench.strategies.registry import find
from lt_bench.strategies.revisions import code_of

SHORT = {"los_epochs": 2, "los_lr": 0.1, "crt_epochs": 3, "crt_batch_size": 16}


@pytest.fixture
def manifest(small_cache):
    return read_manifest(small_cache)


@pytest.mark.parametrize("name", ["ensemble(lda+joint)", "ensemble(joint+ncm)"])
def test_an_ensemble_keeps_the_contract(name):
    assert [check_one(find(name), check).problem for check in checks_of(find(name))] == [None] * len(checks_of(find(name)))


def test_the_head_is_the_mean_of_its_members_fitted_alone():
    on = problem()
    members = [
        fit(on, [job(find("crt"), 1, epochs=3)], torch.float64)[0].head().inference_head(),
        fit(on, [job(find("los"), 1, epochs=2, batch_size=64, lr=0.1)], torch.float64)[0].head().inference_head(),
    ]
    head = fit(on, [job(find("ensemble(los+crt)"), 1, **SHORT)], torch.float64)[0].head()
    module = head.inference_head()
    assert type(module) is nn.Linear
    torch.testing.assert_close(module.weight, (members[0].weight + members[1].weight) / 2)
    torch.testing.assert_close(module.bias, (members[0].bias + members[1].bias) / 2)
    assert head.trained_parameters() == 2 * module.weight.numel() + 2 * module.bias.numel()


def test_members_that_are_not_linear_are_kept_side_by_side():
    on = problem()
    features = on.batch(6, torch.float32).features
    module = fit(on, [job(find("ensemble(ncm+joint+knn)"))])[0].head().inference_head()
    alone = [fit(on, [job(find(name))])[0].head().inference_head()(features) for name in ("joint", "knn", "ncm")]
    assert type(module) is Averaged
    torch.testing.assert_close(module(features), sum(alone) / 3)
    parts, tensors = head_parts(module) or ({}, {})
    again = head_from(json.loads(json.dumps(parts)), tensors)
    assert torch.equal(again(features), module(features))


def test_one_ensemble_has_one_identity_with_the_code_and_choices_of_its_members(manifest):
    one, other = (plan(find(name), manifest, {}, [0, 1]) for name in ("ensemble(los+crt)", " Ensemble( crt + LOS )"))
    assert [run.id for run in one] == [run.id for run in other]
    assert len({run.id for run in one}) == 2
    assert one[0].identity["strategy"] == "ensemble(crt+los)"
    codes = [code_of(find(name), {}).text for name in ("crt", "los")]
    assert one[0].identity["code"].endswith(f", crt {codes[0]}, los {codes[1]}")
    assert plan(find("ensemble(los+crt)"), manifest, {"los_epsilon": 0.5}, [0])[0].id != one[0].id
    assert len(plan(find("ensemble(lda+joint)"), manifest, {}, [0, 1])) == 1, "nothing is random in it"
    assert find("ensemble(los+crt)").resolve("cifar100_lt", 100.0)["los_lr"] == find("los").resolve("cifar100_lt", 100.0)["lr"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ensemble", "two strategies or more"),
        ("ensemble(los)", "two strategies or more"),
        ("ensemble(los+LOS)", "los is named twice"),
        ("ensemble(los+crtt)", "did you mean 'crt'"),
        ("ensemble(los+ensemble(crt+ncm))", "is an ensemble itself"),
    ],
)
def test_what_is_no_ensemble_is_one_line(name, said):
    with pytest.raises(UserError, match=said):
        find(name)


def test_a_hyperparameter_of_no_member_is_refused():
    with pytest.raises(UserError, match="did you mean 'los_lr'"):
        find("ensemble(los+crt)").resolve("", None, {"los_lrr": 1.0})


def test_an_ensemble_learns_from_validation_where_a_member_does():
    learns = [
        find(name).class_for(find(name).resolve(""))[0].trains_on_held_out for name in ("ensemble(val_probe+joint)", "ensemble(los+joint)")
    ]
    assert learns == [True, False]


def test_tuned_members_make_a_tuned_ensemble(manifest, tmp_path):
    ensemble = find("ensemble(los+joint)")
    with pytest.raises(UserError, match="los was not tuned on cache small; run `lt-bench tune --strategy los"):
        tuned_choice(ensemble, manifest, tmp_path)
    point = {"hyperparameters": {**find("los").resolve(""), "epsilon": 0.5}, "macro_accuracy": [0.4], "mean": 0.4}
    document = {
        "schema": 2, "strategy": "los", "code": code_of(find("los"), {}).text, "cache_key": manifest.key, "cache": manifest.name, "fixed": {},
        "selected_on": "val", "val_seen_by_backbone": False, "seeds": [0], "grid": [point], "choice": point["hyperparameters"], "macro_accuracy": 0.4,
        "command": "lt-bench tune --strategy los --cache small",
    }  # fmt: skip
    document["id"] = tuning_id(document)
    path = tmp_path / "tuning" / tuning_name(find("los"), manifest)
    path.parent.mkdir()
    path.write_text(json.dumps(sealed(document)))
    choice = tuned_choice(ensemble, manifest, tmp_path)
    assert choice is not None
    assert choice[0]["los_epsilon"] == 0.5
    assert not any(name.startswith("joint") for name in choice[0])
    assert (choice[1].kind, choice[1].grid_size, choice[1].tuning_id) == ("tuned", 1, document["id"])
    record: Any = SimpleNamespace(identity=SimpleNamespace(strategy=ensemble.name), tuning=choice[1])
    assert tunings_of(tmp_path / "embeddings" / "record.json", record) == {f"tuning/{path.name}": path}
    (run,) = plan(ensemble, manifest, choice[0], [0], choice[1])
    assert run.command.endswith("--seeds 0 --tuned")
    assert replace(run, tuning=replace(run.tuning, kind="user")).command.endswith("--strategy.los_epsilon 0.5")


def test_an_ensemble_runs_repeats_and_exports(cli, small_cache):
    assert small_cache
    done = cli("run", "--strategy", "ensemble(los+joint)", "--cache", "small", "--strategy.los-epochs", "1", "--seeds", "0,1")
    assert done.code == 0, done.err
    first, second = sorted(Path("results").glob("*/ensemble(joint+los)-*.json"))
    assert cli("verify", str(first)).code == 0
    assert cli("validate", str(second)).code == 0
    done = cli("export", "--record", str(first), "--head-only", "--out", "classifier")
    assert done.code == 0, done.err
    assert json.loads(Path("classifier/classifier.json").read_text(encoding="utf-8"))["head"]["kind"] == "linear"
