"""Health of fits: each way to go wrong shows its sign, and healthy fits show none."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lt_bench as lt
from lt_bench.bench.execute import fit_and_measure
from lt_bench.bench.health import is_guessing, signs_of_fit
from lt_bench.bench.planning import plan
from lt_bench.core.errors import UserError
from lt_bench.engine.evaluate import evaluate
from lt_bench.results.health import DIVERGENCE
from lt_bench.results.store import Store
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import find, strategy_names


class PlainlyCE(Strategy):
    """``l_i = CE``, by a training step of its own, so that a plain Trainer fits it."""

    name = "plainly_ce"

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)


def scaled(arrays, factor):
    return {name: factor * tensor for name, tensor in arrays().items() if "/features/" in name}


@pytest.fixture
def health(arrays, make_cache, tmp_path):
    """The signs of one fit on a small cache with arrays of its own; the warnings say each."""

    def of(strategy, changed=None, **hyperparameters):
        path = make_cache(tmp_path / f"c{len(list(tmp_path.iterdir()))}", changed or {})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (run,) = lt.fit(strategy, lt.open_cache(path), accelerator="cpu", **hyperparameters)
        said = [str(one.message) for one in caught if "the fit looks wrong" in str(one.message)]
        signs = run.record.training.health
        assert len(said) == bool(signs)
        return signs

    return of


@pytest.mark.parametrize("strategy", ["ce", PlainlyCE])
def test_a_rate_of_1e9_is_seen_in_every_way_of_fitting(health, strategy):
    for rate in (1e9, 1e30):
        assert health(strategy, lr=rate, epochs=3, weight_decay=0.0)["logits_blown_up"] > rate / 1e3
    assert health(strategy, lr=0.01, epochs=3) == {}


def test_a_fit_whose_parameters_are_not_finite_is_no_run(cli, small_cache, tmp_path):
    done = cli("run", "--strategy", "ce", "--cache", "small", "--strategy.lr", "1e38", "--accelerator", "cpu")
    assert done.code == 2
    assert "the fit diverged" in done.err
    assert not list((tmp_path / "results").rglob("*.json"))


@pytest.mark.parametrize("factor", [1e4, 0.01])
def test_features_of_another_scale_are_said_where_the_rates_are_the_recipes(health, arrays, factor):
    length = float(np.linalg.norm(arrays()["train/features/plain"], axis=1).mean())
    assert health("balanced_softmax", scaled(arrays, factor), epochs=2)["scale"] == pytest.approx(factor * length, rel=1e-3)
    assert "scale" not in health("balanced_softmax", scaled(arrays, factor), epochs=2, lr=0.1 / factor**2)
    assert "scale" not in health("cosine", scaled(arrays, factor), epochs=2)
    assert "scale" not in health("ncm", scaled(arrays, factor))


def test_features_that_are_all_zero(health, arrays):
    nothing = scaled(arrays, 0.0)
    nothing["train/features/plain"][0, 0] = 1e-20  # all the same are refused before
    signs = health("ce", nothing, epochs=3)
    assert set(signs) == {"chance", "test_chance", "one_class", "stage1_chance", "scale"}
    assert signs["chance"] == pytest.approx(1 / 6)
    assert signs["one_class"] == 0


@pytest.mark.parametrize("strategy", ["joint", "los", "tau_norm"])
def test_a_stage1_head_at_chance(health, strategy):
    no_head = {"head/weight": torch.zeros(6, 8), "head/bias": torch.zeros(6)}
    assert health(strategy, no_head)["stage1_chance"] == pytest.approx(1 / 6)
    assert "stage1_chance" not in health("ncm", no_head)


def test_one_class_is_predicted(health):
    bias = torch.tensor([0.0, 0, 0, 0, 1e4, 0])
    signs = health("joint", {"head/bias": bias})
    assert signs["one_class"] == 4
    assert {"chance", "test_chance", "stage1_chance"} < set(signs)


@pytest.mark.parametrize("strategy", ["ce", "disalign", PlainlyCE])
def test_weights_that_never_change(health, strategy):
    assert health(strategy, lr=0.0, epochs=1)["unchanged"] > 0


def test_a_head_of_a_stack_is_judged_by_itself(cli, small_cache):
    cache = lt.open_cache(small_cache)
    bench = cache.bench("cpu")
    planned = [plan(find("ce"), cache.manifest, {"lr": rate, "epochs": 1}, [0])[0] for rate in (0.0, 0.1, 1e9)]
    measured = {one.run.hyperparameters["lr"]: one.record.training.health for one in fit_and_measure(bench, planned)}
    assert list(measured[0.0]) == ["unchanged"]
    assert measured[0.1] == {}
    assert "logits_blown_up" in measured[1e9]


def test_a_solver_that_stopped_early(health):
    assert health("convex_la", iterations=1, ridge=1e-6)["unconverged"] > 1e-3
    assert health("convex_la") == {}


def test_healthy_fits_show_nothing(health):
    for strategy in ("ce", "los", "d_ffds", "ldam_drw", "weight_balancing", "joint", "ncm", "multiplicative_la", "lade"):
        assert health(strategy) == {}, strategy


COURSE = DIVERGENCE | {"loss_risen", "unchanged", "no_gradient", "unconverged"}
"""Signs of a course that went wrong; heads of the small cache may be no better than guessing where their course was right."""


@pytest.mark.slow
@pytest.mark.parametrize("name", strategy_names())
def test_no_course_by_its_own_recipe_is_called_wrong(health, name):
    assert not COURSE & health(name).keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in strategy_names() if "lr" in find(name).types() and find(name).fitting == "sgd"])
def test_a_rate_that_diverges_is_seen_in_every_strategy_with_a_rate(health, name):
    try:
        signs = health(name, lr=1e9, epochs=3)
    except UserError as error:
        assert "the fit diverged" in str(error)  # noqa: PT017
    else:
        assert (COURSE | {"chance", "one_class"}) & signs.keys()  # logits of cosines cannot blow up


def course(losses, K=10):
    """The signs of a fit with these losses."""
    strategy = SimpleNamespace(facts=SimpleNamespace(num_classes=K), solved=None, named_parameters=lambda: [])
    return signs_of_fit(SimpleNamespace(history=[[{"loss": loss} for loss in losses]], strategy=strategy, steps=0), 0)


def test_the_course_of_the_loss():
    assert course([2.3, 1.0, 0.1]) == {}
    assert course([0.079, 0.19]) == {}  # re-weighted in the second part, as by D-FFDS
    assert course([0.5, 0.9]) == {}  # strong decay of a head that began at its optimum
    assert course([8.2, 9.9]) == {}
    assert course([2.0, 5.0]) == {"loss_risen": 5.0}
    assert course([0.1, 40.0]) == {"loss_risen": 40.0}
    assert course([0.1, math.nan, 0.1]) == {"loss_not_finite": 2}
    assert course([0.1, math.inf]) == {"loss_not_finite": 2}
    assert course([]) == {}


def guesses(predicted, labels, K):
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), K).float()
    return is_guessing(evaluate(torch.nn.Identity(), (logits,), torch.tensor(labels), (1,) * K))


def test_chance_is_what_guessing_gives():
    labels = [0] * 90 + [1] * 10
    assert guesses([0] * 100, labels, 2)
    assert guesses(([0, 1] * 50), labels, 2)
    assert not guesses([0] * 90 + [1] * 3 + [0] * 7, labels, 2)
    assert not guesses([0] * 91 + [1] * 9, labels, 2)
    long_tail = [0] * 60 + [1] * 40 + [2] * 5 + [3]
    assert not guesses([0] * 60 + [1] * 40 + [0] * 6, long_tail, 4)  # two classes of four, but right on most
    many = np.random.default_rng(0).integers(100, size=5000)
    assert guesses(np.random.default_rng(1).integers(100, size=5000).tolist(), many.tolist(), 100)
    assert not guesses(np.where(np.arange(5000) % 25 == 0, many, (many + 1) % 100).tolist(), many.tolist(), 100)  # 4 % of 100 classes


def test_run_warns_once_a_strategy_and_bench_counts(cli, small_cache, tmp_path):
    bad = (
        "run",
        "--strategy",
        "ce",
        "--cache",
        "small",
        "--accelerator",
        "cpu",
        "--seeds",
        "0,1",
        "--strategy.lr",
        "1e9",
        "--strategy.epochs",
        "2",
    )
    for _ in range(2):  # recorded before or not
        done = cli(*bad)
        (line,) = done.err.splitlines()
        assert line.startswith("lt-bench: ce (user), seeds 0, 1: the fit looks wrong: the logits blew up")
    assert "(unhealthy: logits_blown_up)" in cli("leaderboard").out
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "strategies:\n- {name: ce, lr: 1.0e+9, epochs: 2}\n- {name: la_loss, epochs: 2}\ncaches: [{cache: small}]\nseeds: [0, 1]\n"
    )
    done = cli("bench", str(suite), "--accelerator", "cpu", "--workers", "1")
    assert "lt-bench: 2 of 4 fits look wrong, and `lt-bench leaderboard` marks their rows: ce" in done.err


def test_an_infinite_figure_is_recorded(cli, small_cache, tmp_path, monkeypatch):
    """Finite parameters under which logits overflow."""
    done = cli("run", "--strategy", "ce", "--cache", "small", "--accelerator", "cpu", "--strategy.lr", "1e37", "--strategy.epochs", "1")
    (record,) = Store(tmp_path / "results").records()
    assert (done.code, "the fit looks wrong" in done.err) == (0, True)
    assert {"loss_not_finite", "logits_blown_up"} & set(record.training.health)


@pytest.mark.slow
def test_every_registered_strategy_is_healthy_on_the_shipped_cache():
    """With the recipes' own settings, where only the length of the fit is cut; the solvers of the convex losses stop early and say so."""
    cache = lt.open_cache("cifar100_lt-if100-resnet10s2")
    for name in (name for name in strategy_names() if find(name).family != "control"):  # some of those guess
        short = {"epochs": 2} if find(name).fitting == "sgd" else {}
        (run,) = lt.fit(name, cache, accelerator="cpu", **short)
        assert set(run.record.training.health) - {"unconverged"} == set(), name
