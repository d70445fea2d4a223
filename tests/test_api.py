"""``import lt_bench as lt``: caches of arrays, fits, tunings, evaluations and boards in Python."""

import copy
import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import lt_bench as lt
from lt_bench.results.store import Store

SHORT = {"epochs": 2, "accelerator": "cpu"}


def rows(n, seed=0, K=3, D=4, counts=None):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts or n // K)
    return np.eye(K, D)[labels] * 2 + generator.normal(size=(len(labels), D)), labels


@pytest.fixture
def cache():
    return lt.Cache.from_arrays(*rows(0, counts=(60, 20, 5)), val=rows(30, 1), test=rows(60, 2), class_names=("a", "b", "c"))


@pytest.fixture(autouse=True)
def silent(capsys, tmp_path, monkeypatch):
    """Nothing is printed, and nothing written into the current folder."""
    monkeypatch.chdir(tmp_path)
    yield
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_import_costs_milliseconds_and_names_what_there_is():
    code = "import sys, lt_bench as lt; assert {*lt.__all__} <= {*dir(lt)}; lt.Recipe; assert not {'torch', 'numpy', 'pandas'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(callable(getattr(lt, name)) for name in lt.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = lt.nothing_of_the_kind


@pytest.mark.parametrize(("strategy", "own"), [("los", {"epsilon": 0.9, "lr": 1}), ("crt", {}), ("joint", {})])
def test_numbers_are_those_of_the_command_line(cli, small_cache, tmp_path, strategy, own):
    own |= {} if strategy == "joint" else {"epochs": 2}
    runs = lt.fit(strategy, lt.open_cache("small"), seeds=range(2), accelerator="cpu", results=tmp_path / "api", **own)
    words = [word for name, value in own.items() for word in (f"--strategy.{name}", str(value))]
    assert cli("run", "--strategy", strategy, "--cache", "small", "--seeds", "0,1", "--accelerator", "cpu", *words).code == 0
    assert {run.record.id for run in runs} == {record.id for record in Store("results").records()}
    for run in runs:
        shell = Store("results").load(run.record.id)
        assert json.dumps(run.metrics, sort_keys=True) == json.dumps(shell.metrics, sort_keys=True)  # NaN equals itself
        assert run.record.training.history == shell.training.history
        assert Store("api").load(run.record.id).command == shell.command
    assert Store("api").validate() == []


class MyHead(lt.Strategy):
    """A margin for rare classes."""

    name = "my_head"
    margin: float = lt.hyper(1.0, low=0, high=10, grid=(0.0, 2.0), help="taken from the true logit of rare classes")

    def transform(self, logits, labels):
        margin = self.margin * self.class_counts.clamp_min(1).to(logits) ** -0.25
        return logits - one_hot(labels, logits.shape[-1]) * margin[labels].unsqueeze(-1)


def test_a_class_of_a_cell_is_fitted_tuned_and_stands_on_the_board(cache):
    class Local(MyHead):
        """Defined where it is used."""

        name = "local"

    tuning = lt.tune(Local, cache, seeds=[0], **SHORT)
    assert set(tuning.best) == {"epochs", "margin"}
    assert list(tuning.frame.columns) == ["epochs", "margin", "macro_accuracy", "seed 0"]
    assert tuning.frame["macro_accuracy"].is_monotonic_decreasing
    runs = lt.fit(Local, cache, seeds=(0, 1), **SHORT) + lt.fit(MyHead, cache, margin=np.float32(0.5), **SHORT)
    runs += lt.fit(lt.compose(target="smooth(0.9)", epochs=2), cache, accelerator="cpu")
    assert isinstance(runs[1:], lt.Runs)
    frame = lt.leaderboard(runs).frame
    assert sorted(frame["n"]) == [1, 1, 2]
    assert set(frame["strategy"]) == {f"{__name__}.MyHead", "compose", *(run.record.identity.strategy for run in runs[:2])}
    assert len(runs.frame) == 4


def test_a_tuning_is_a_choice_and_says_so(cache):
    tuning = lt.tune("focal", cache, seeds=(0, 1), grid={"gamma": (1, 2)}, results="results", **SHORT | {"epochs": 1})
    assert [*tuning.frame["gamma"].sort_values()] == [1.0, 2.0]
    with pytest.raises(lt.UserError, match=r"fixed by hand.*\*\*tuning.best"):
        lt.fit("focal", cache, tuned=tuning)
    chosen = lt.tune("focal", cache, seeds=[0], grid={"gamma": (1, 2), "epochs": (1,)}, accelerator="cpu", results="results")
    (run,) = lt.fit("focal", cache, tuned=chosen, accelerator="cpu")
    (again,) = lt.fit("focal", cache, tuned=True, accelerator="cpu", results="results")
    assert run.record.id == again.record.id
    assert (run.record.tuning.kind, run.record.tuning.grid_size, run.record.tuning.tuning_id) == ("tuned", 2, chosen.document["id"])
    assert {name: run.record.identity.hyperparameters[name] for name in chosen.best} == chosen.best
    with pytest.raises(lt.UserError, match="a tuning of focal on cache arrays; tune ce on this one"):
        lt.fit("ce", cache, tuned=chosen)
    with pytest.raises(lt.UserError, match="gamma was given too"):
        lt.fit("focal", cache, tuned=chosen, gamma=1.0)
    with pytest.raises(lt.UserError, match=r"ldam was not tuned on cache arrays; pass tuned=lt.tune"):
        lt.fit("ldam", cache, tuned=True)


def test_a_run_predicts_and_is_evaluated(cache):
    (run,) = lt.fit("los", cache, **SHORT)
    X, y = rows(60, 2)
    assert run.predict(X).tolist() == run.arrays["test_predictions"].tolist()
    assert (run.predict(torch.from_numpy(X)) == y).mean() == pytest.approx(run.metrics["test"]["accuracy"])
    assert run.logits(X[:2]).shape == (2, 3)
    assert run.classes == ("a", "b", "c")
    assert "los, seed 0" in repr(run)
    for split in ("train", "val", "test"):
        of_head = {name: value for name, value in run.metrics[split].items() if name != "feature_collapse"}  # a fact of the cache
        assert lt.evaluate(run, cache, split, accelerator="cpu") == pytest.approx(of_head, nan_ok=True)
    head = torch.nn.Linear(4, 3).double()
    before = copy.deepcopy(head.state_dict())
    accuracy = (torch.from_numpy(X) @ head.weight.T + head.bias).argmax(1).numpy() == y
    assert lt.evaluate(head, cache, accelerator="cpu")["accuracy"] == pytest.approx(accuracy.mean())
    assert all(torch.equal(value, before[name]) and value.dtype == torch.float64 for name, value in head.state_dict().items())
    with pytest.raises(lt.UserError, match=r"does not take features \(N, 4\) of cache arrays"):
        lt.evaluate(torch.nn.Linear(5, 3), cache)
    with pytest.raises(lt.UserError, match=r"logits \(2, 5\) of 2 rows of cache arrays, expected \(2, 3\)"):
        lt.evaluate(torch.nn.Linear(4, 5), cache)
    with pytest.raises(lt.UserError, match=r"features of shape \(2, 3\), expected \(N, 4\)"):
        run.predict(np.zeros((2, 3)))


@pytest.mark.parametrize(("error", "rows"), [(torch.OutOfMemoryError, 0), (RuntimeError, 2)])
def test_an_error_that_is_none_of_shapes_is_let_through(cache, error, rows):
    class Head(torch.nn.Linear):
        def forward(self, features):
            if len(features) > rows:
                raise error("CUDA out of memory")
            return super().forward(features)

    with pytest.raises(error, match="CUDA out of memory"):
        lt.evaluate(Head(4, 3), cache, accelerator="cpu")


def test_a_fitted_stage_1_head_is_the_optimum_of_its_objective():
    X, y = rows(0, counts=(60, 20, 5))
    cache = lt.Cache.from_arrays(X, y, test=rows(30, 2))
    head, features = cache.head(), torch.from_numpy(X)
    strength = float(re.search(r"ridge (\d+)", cache.manifest.backbone.stage1)[1])
    ridge = strength * features.var(0, correction=0).mean() / len(y)
    weight, bias = (tensor.double().requires_grad_() for tensor in (head.weight, head.bias))
    loss = torch.nn.functional.cross_entropy(features @ weight.T + bias, torch.from_numpy(y)) + ridge / 2 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 1e-5
    assert bias.grad.abs().max() < 1e-5
    assert "chosen on held-out parts" in cache.manifest.backbone.stage1
    assert "chosen on validation" in lt.Cache.from_arrays(X, y, val=rows(30, 1), test=rows(30, 2)).manifest.backbone.stage1


def test_a_cache_of_arrays_holds_what_was_given_and_is_gone_with_the_object(tmp_path):
    X, y = rows(30)
    views = np.stack([X, X + 1])
    weight, bias = np.ones((3, 4)), np.arange(3.0)
    cache = lt.Cache.from_arrays(views, torch.from_numpy(y), test=(torch.from_numpy(X), y), head=(weight, bias), name="mine")
    assert cache.manifest.views == {"train": ("plain", "aug1"), "test": ("plain",)}
    assert torch.equal(cache.split("train").view("aug1"), torch.from_numpy(X + 1).float())
    assert torch.equal(cache.head().bias, torch.arange(3.0))
    place = cache.path
    assert place.is_dir()
    del cache
    assert not place.exists()
    stays = lt.Cache.from_arrays(X, y, test=(X, y), head=None, directory=tmp_path / "cache")
    assert lt.open_cache(tmp_path / "cache").key == stays.key
    assert lt.open_cache(f"{tmp_path}/cache") == stays
    (run,) = lt.fit("ncm", stays, accelerator="cpu")
    assert run.metrics["test"]["accuracy"] > 0.5


def test_an_int_as_seeds_is_that_repetition(cache):
    assert [run.record.identity.seed for run in lt.fit("ce", cache, seeds=3, **SHORT)] == [3]
    assert [run.record.identity.seed for run in lt.fit("ce", cache, seeds=range(2), **SHORT)] == [0, 1]
    numbers = (np.int64(3), torch.tensor(3), np.array([3]), (seed for seed in (np.uint8(3),)))
    for seeds in numbers:
        assert [type(run.record.identity.seed) for run in lt.fit("ncm", cache, seeds=seeds, accelerator="cpu")] == [int]
    chosen = lt.tune("tau_norm", cache, seeds=np.int64(0), draws=np.int64(2), val_size=np.int64(20), accelerator="cpu")
    assert json.dumps(chosen.document)
    for seeds in (0.5, (0, 1.5), "ab"):
        with pytest.raises(lt.UserError, match="seeds: expected a whole number"):
            lt.fit("ncm", cache, seeds=seeds)


def test_what_cannot_be_done_is_one_line(cache):
    X, y = rows(30)
    headless = lt.Cache.from_arrays(X, y, test=(X, y), head=None)
    for wrong, message in (
        (lambda: lt.open_cache("nowhere"), "no cache 'nowhere'"),
        (lambda: lt.fit("loss", cache), r"unknown strategy 'loss' \(did you mean 'los'\?\)"),
        (lambda: lt.fit(dict, cache), "builtins.dict is not a lt_bench.Strategy"),
        (lambda: lt.fit("los", cache, epsilom=1.0), "no hyper-parameter 'epsilom'"),
        (lambda: lt.fit("los", cache, epsilon="much"), "los: .*epsilon.*much"),
        (lambda: lt.fit("los", cache, seeds=()), "expected distinct numbers from 0"),
        (lambda: lt.fit("joint", cache, best_test_epoch=True), "there are no epochs in joint"),
        (lambda: lt.fit("ce", headless, accelerator="cpu"), "there is none"),
        (lambda: lt.fit("ce", cache, lr=1e38, weight_decay=1e38, **SHORT), "diverged"),
        (lambda: lt.tune("los", headless), "no validation split"),
        (lambda: lt.tune("joint", cache), "joint has nothing to tune"),
        (lambda: lt.tune("los", cache, grid={"epsilom": (0.5,)}), "no hyper-parameter 'epsilom'"),
        (lambda: lt.evaluate(torch.nn.Linear(4, 3), headless, "val"), "has no val split"),
        (lambda: lt.Cache.from_arrays(X, y[:-1], test=(X, y)), "train: labels have shape"),
        (lambda: lt.Cache.from_arrays(X, y, test=(X * np.nan, y), head=None), "test/features/plain: NaN or infinity"),
        (lambda: lt.Cache.from_arrays(X, y, test=(X, y), head="fitt"), "head is 'fitt', expected 'fit', a pair"),
        (lambda: lt.Cache.from_arrays(X, y, test=(X, y), head=(np.ones((X.shape[1], 3)), np.zeros(3))), "transpose it"),
        (lambda: lt.leaderboard([]), "no records"),
        (lambda: lt.load_classifier("nowhere"), "not an exported classifier"),
    ):
        with pytest.raises(lt.UserError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)


def test_a_stage_1_head_that_stopped_before_its_optimum_is_a_warning(monkeypatch):
    monkeypatch.setattr("lt_bench.bench.linear_head.CONVERGED", 0.0)
    with pytest.warns(UserWarning, match="stage-1 head: logistic regression .* stopped before its optimum"):
        lt.Cache.from_arrays(*rows(0, counts=(60, 20, 5)), test=rows(30, 2))


def test_what_is_odd_about_a_fit_is_a_warning(cache):
    with pytest.warns(UserWarning, match="the solver stopped at a gradient norm") as caught:
        lt.fit("convex_la", cache, iterations=1, ridge=1e-6, accelerator="cpu")
    assert [one.filename for one in caught if "the solver stopped" in str(one.message)] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lt.fit("crt", cache, best_test_epoch=True, analysis=True, **SHORT | {"epochs": 30})
