"""Axes of a suite: every combination of their values, over slots of a composition and over hyper-parameters."""

import csv
import json

import pytest

from benchmarks import slots as study
from lt_bench.bench.suite.run import combinations, read_suite
from lt_bench.core.errors import UserError
from lt_bench.features.locate import shipped
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find

SUITE = """
caches: [{cache: small}]
strategies:
  - joint
  - name: compose
    epochs: 2
    batch_size: 16
    axes: {target: [one_hot, smooth(0.9)], transform: [identity, my_shift.Shift(2)], sampler: [instance, class_aware]}
seeds: [0, 1]
"""
OWN = '''
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Transform


class Shift(Transform):
    """``T(z)_y = z_y - by``."""

    by: float = hyper(1.0, low=0, high=9, help="taken from the true logit")

    def __call__(self, logits, labels):
        shifted = logits.clone()
        shifted[range(len(labels)), labels] -= self.by
        return shifted
'''


def test_every_combination_is_run_and_the_board_names_the_axes(cli, small_cache, tmp_path):
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "my_shift.py").write_text(OWN)
    done = cli("bench", "suite.yaml", "--accelerator", "cpu", "--workers", "1")
    assert done.code == 0, done.err
    records = [one for one in Store(tmp_path / "results").records() if one.strategy.name == "compose"]
    assert len(records) == 2 * 2 * 2 * 2
    assert {one.identity.hyperparameters["epochs"] for one in records} == {2}
    rows = [row["row"] for row in json.loads(cli("leaderboard", "--json", "--formats", "csv").out)["rows"]]
    assert len(rows) == len(set(rows)) == 9
    assert "compose (user) [sampler=class_aware(run=4), target=smooth(epsilon=0.9), transform=my_shift.Shift(by=2.0)]" in rows
    assert cli("bench", "suite.yaml", "--accelerator", "cpu", "--workers", "1").code == 0, "nothing is left to run"

    of = study.study(study.load_records(tmp_path / "results"))
    assert of.correct.shape == (2, 2, 2, 2, 42)
    assert sum(study.shares(of.metrics["accuracy"].mean(-1)).values()) == pytest.approx(1)
    effect, _, _ = of.contrast(study.weights_of((2, 2, 2), {1: study.difference(2, 1)}))
    own = of.correct.mean(axis=(0, 2, 3, 4))
    assert effect == pytest.approx(100 * (own[1] - own[0]), abs=1e-4)
    assert len(list(csv.reader([",".join(row.values()) for row in study.compositions(of)]))) == 8


def test_axes_are_those_of_any_hyper_parameter():
    assert combinations("los") == [{"name": "los"}]
    assert combinations({"name": "los", "lr": 0.1, "axes": {"epsilon": [0.1, 0.2], "epochs": [5]}}) == [
        {"name": "los", "lr": 0.1, "epsilon": 0.1, "epochs": 5},
        {"name": "los", "lr": 0.1, "epsilon": 0.2, "epochs": 5},
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "los", "axes": [0.1]}, "axes: expected lists of values"),
        ({"name": "los", "axes": {"epsilon": 0.1}}, "axes: expected lists of values"),
        ({"name": "los", "axes": {"epsilon": []}}, "axes: expected lists of values"),
        ({"name": "los", "epsilon": 0.3, "axes": {"epsilon": [0.1]}}, "epsilon is an axis and has the value 0.3 too"),
    ],
)
def test_what_axes_cannot_be(item, message):
    with pytest.raises(UserError, match=message):
        combinations(item)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("{targt: [one_hot]}", "compose has no hyper-parameter 'targt' (did you mean 'target'?)"),
        ("{target: [smoth(0.1)]}", "target has no entry 'smoth' (did you mean 'smooth'?)"),
        ("{sampler: [class_aware(runs=3)]}", "sampler class_aware has no parameter 'runs' (did you mean 'run'?)"),
    ],
)
def test_mistakes_of_axes_are_one_line_and_nothing_is_run(cli, small_cache, tmp_path, axes, message):
    (tmp_path / "suite.yaml").write_text(f"caches: [{{cache: small}}]\nstrategies: [joint, {{name: compose, axes: {axes}}}]\n")
    done = cli("bench", "suite.yaml", "--accelerator", "cpu", "--workers", "1")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not list((tmp_path / "results").glob("*/*.json"))


def test_the_shipped_suite_over_slots_is_48_compositions():
    suite = read_suite(shipped("suites") / "slots.yaml")
    assert isinstance(suite.strategies, list)
    given = [one for item in suite.strategies for one in combinations(item)]
    compose = find("compose")
    resolved = [compose.resolve("cifar100_lt", 100, {key: value for key, value in one.items() if key != "name"}) for one in given]
    assert len({json.dumps(one) for one in resolved}) == 48
