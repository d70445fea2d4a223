import shlex

import pytest

from lt_bench.bench.planning import plan
from lt_bench.cli.request import parse
from lt_bench.core.errors import UserError
from lt_bench.features.manifest import read_manifest
from lt_bench.strategies.registry import find


@pytest.fixture
def manifest(tmp_path, make_cache):
    return read_manifest(make_cache(tmp_path / "if-50", dataset={"name": "cifar100_lt", "imbalance_factor": 50.0}))


def test_one_run_a_seed_and_one_for_what_has_no_randomness(manifest):
    assert [run.repetition for run in plan(find("los"), manifest, {}, [2, 0])] == [2, 0]
    assert [run.repetition for run in plan(find("tau_norm"), manifest, {}, [2, 5])] == [0]


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1, 2]])
def test_seeds_that_are_none(manifest, seeds):
    with pytest.raises(UserError, match="expected distinct numbers from 0"):
        plan(find("los"), manifest, {}, seeds)


def test_the_kind_says_where_hyperparameters_come_from(manifest):
    def kind(strategy, **given):
        return plan(find(strategy), manifest, given, [0])[0].tuning.kind

    assert kind("los") == "official"
    assert kind("balanced_softmax") == "inferred"  # released for IF 200 only
    assert kind("los", epsilon=0.98) == "official"  # saying what is so anyway changes nothing
    assert kind("los", epsilon=0.9) == "user"
    assert kind("d_ffds") == "inferred"
    assert kind("joint") == "official"


def test_a_setting_of_the_caches_data_set_is_resolved(manifest):
    (run,) = plan(find("d_ffds"), manifest, {}, [0])
    assert (run.hyperparameters["gamma_min"], run.hyperparameters["groups"]) == (1.5, 5)
    (said,) = plan(find("d_ffds"), manifest, {"gamma_min": 0.0}, [0])
    assert said.hyperparameters["gamma_min"] == 0.0


def test_the_command_says_a_length_and_an_offset_that_are_given(manifest):
    def command(strategy, **given):
        return shlex.split(plan(find(strategy), manifest, given, [0])[0].command)

    assert "--strategy.iterations" not in command("balanced_softmax")
    assert command("balanced_softmax", epochs=3)[-2:] == ["--strategy.epochs", "3"]
    assert command("balanced_softmax", iterations=7)[-2:] == ["--strategy.iterations", "7"]
    assert command("los", iterations=7)[-2:] == ["--strategy.iterations", "7"]
    assert command("weight_balancing_released", schedule_offset=0)[-2:] == ["--strategy.schedule_offset", "0"]
    assert "--strategy.schedule_offset" not in command("los", schedule_offset=0)
    for words in (command("balanced_softmax", epochs=3), command("weight_balancing_released", schedule_offset=0)):
        options = parse("run", words[2:])
        (again,) = plan(find(options.strategy.name), manifest, options.strategy.hyperparameters, [0])
        assert shlex.split(again.command) == words


def test_an_offset_of_a_data_set_can_be_turned_off(tmp_path, make_cache):
    manifest = read_manifest(make_cache(tmp_path / "imagenet", dataset={"name": "imagenet_lt", "imbalance_factor": 256.0}))
    (official,), (without,) = (plan(find("crt"), manifest, given, [0]) for given in ({}, {"schedule_offset": 0}))
    assert official.hyperparameters["schedule_offset"] == 1
    assert shlex.split(without.command)[-2:] == ["--strategy.schedule_offset", "0"]
    assert official.id != without.id


def test_the_identity_is_what_was_run(manifest, tmp_path, make_cache):
    (run,) = plan(find("los"), manifest, {}, [0])
    same = plan(find("los"), manifest, {"epsilon": 0.98}, [0])[0]
    others = [
        plan(find("los"), manifest, {"epsilon": 0.9}, [0])[0],
        plan(find("los"), manifest, {"epochs": 3}, [0])[0],
        plan(find("los"), manifest, {}, [1])[0],
        plan(find("lort"), manifest, {}, [0])[0],
        plan(find("los"), read_manifest(make_cache(tmp_path / "other", dtype="float16")), {}, [0])[0],
    ]
    assert same.id == run.id
    assert len({run.id, *(other.id for other in others)}) == 6


def test_the_command_says_every_hyperparameter_that_is_not_the_default(manifest):
    given = {"gamma_max": 2.5, "milestones": (3, 5), "nesterov": True, "curve": "linear"}
    (run,) = plan(find("d_ffds"), manifest, given, [3])
    options = parse("run", shlex.split(run.command)[2:])
    assert (options.dataset, options.cache, options.seeds) == ("cifar100_lt", "if-50", [3])
    assert options.strategy.hyperparameters == given
    assert plan(find("d_ffds"), manifest, options.strategy.hyperparameters, options.seeds)[0].id == run.id
