"""Strategies fitted side by side are fitted as each would be alone."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from lt_bench.engine.heads import fit as fit_module
from lt_bench.engine.heads.best_epoch import BestTestEpoch
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.pool import may_be_pooled
from lt_bench.engine.heads.stacks import HeadJob, is_stacked
from lt_bench.engine.heads.trajectory import NormTrajectory
from lt_bench.features.cache import Head, open_cache
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.registry import find, strategy_names

SHORT = {"epochs": 3, "batch_size": 32, "lr": 0.01, "views": "all"}


@pytest.fixture(scope="module")
def cache(small_cache):
    return open_cache(small_cache)


def job(name, repetition, **changes):
    entry = find(name)
    return HeadJob(entry, entry.resolve("none", None, {**SHORT, **changes}), repetition)


def pooled_names():
    """Registered strategies in natural order whose heads can be pooled."""
    facts, names = Facts(3, (4, 3), Head(torch.zeros(2, 3), torch.zeros(2)), (0,)), []
    for name in strategy_names():
        entry = find(name)
        if is_stacked(entry) and entry.sampler == "instance" and may_be_pooled(entry.load()(facts)):
            names.append(name)
    return names


def test_everything_that_can_be_is_fitted_side_by_side_as_alone(cache):
    names = pooled_names()
    assert {"los", "ce", "d_ffds", "lade", "ib", "maxnorm"} <= set(names)
    assert not {"cosine", "ldam", "meta_sampler", "lws"} & set(names)  # other inputs, another step, a head that is not fitted
    train, facts = cache.split("train"), facts_of(cache)
    stacks = [[job(name, 0), job(name, 1)] for name in names]
    fits = fit_heads(stacks, facts, train, Hardware("cpu"), dtype=torch.float64)
    for name, stack, fitted in zip(names, stacks, fits, strict=True):
        (alone,) = fit_heads([stack], facts, train, Hardware("cpu"), dtype=torch.float64)
        for parameter, own in alone.strategy.named_parameters():
            torch.testing.assert_close(
                fitted.strategy.get_parameter(parameter).detach(), own.detach(), rtol=0, atol=1e-9, msg=f"{name} {parameter}"
            )
        assert fitted.steps == alone.steps
        for head in (0, 1):
            for row, other in zip(fitted.history[head], alone.history[head], strict=True):
                assert row == pytest.approx(other, abs=1e-9), name
        assert not torch.equal(fitted.strategy.weight[0], fitted.strategy.weight[1]), name
        assert fitted.seconds > 0


def test_what_a_callback_sees_is_its_strategy(cache):
    train, test, facts = cache.split("train"), cache.split("test"), facts_of(cache)
    counts = cache.manifest.dataset.train_counts

    def sent():
        return [NormTrajectory(), BestTestEpoch(lambda: test.view("plain"), test.labels, counts)]

    stacks = [[job(name, repetition, lr=0.05) for repetition in (0, 1)] for name in ("ce", "maxnorm")]
    fits = fit_heads(stacks, facts, train, Hardware("cpu"), callbacks=[sent(), sent()], dtype=torch.float64)
    for stack, fitted in zip(stacks, fits, strict=True):
        (alone,) = fit_heads([stack], facts, train, Hardware("cpu"), callbacks=[sent()], dtype=torch.float64)
        best, expected = fitted.callbacks[1], alone.callbacks[1]
        assert isinstance(best, BestTestEpoch)
        assert isinstance(expected, BestTestEpoch)
        assert fitted.trajectory is not None
        assert alone.trajectory is not None
        for head in (0, 1):
            assert best.best[head] == pytest.approx(expected.best[head], nan_ok=True)
            measured, before = fitted.trajectory.arrays(head), alone.trajectory.arrays(head)
            assert measured["course/epoch"].tolist() == [0, 1, 2, 3]
            for name, values in measured.items():
                np.testing.assert_allclose(values, before[name], atol=1e-9, err_msg=name)


def test_a_captured_pool_is_an_eager_pool(cache, monkeypatch):
    """Here a step is only handed on, so that no GPU is needed."""
    train, facts, sizes = cache.split("train"), facts_of(cache), []

    def handed_on(step):
        def run(size):
            sizes.append(size)
            step(size)

        return run

    for names, is_captured in ((("ce", "los", "d_ffds"), True), (("ce", "seql"), False)):
        sizes.clear()
        stacks = [[job(name, 0), job(name, 1)] for name in names]
        eager = fit_heads(stacks, facts, train, Hardware("cpu"), dtype=torch.float64)
        with monkeypatch.context() as patch:
            patch.setattr(fit_module, "capture_on", lambda hardware, split: handed_on)
            captured = fit_heads(stacks, facts, train, Hardware("cpu"), dtype=torch.float64)
        assert sizes == ([32, 32, 32, 32, 17] * 3 if is_captured else [])
        for one, other in zip(eager, captured, strict=True):
            torch.testing.assert_close(one.strategy.weight, other.strategy.weight, rtol=1e-5, atol=1e-6)  # rates on a device are float32


def test_one_whose_head_is_not_fitted_is_fitted_apart(cache, monkeypatch):
    train, facts = cache.split("train"), facts_of(cache)
    monkeypatch.setattr(fit_module, "may_be_pooled", lambda strategy: strategy.name != "los")
    stacks = [[job(name, 0)] for name in ("los", "ce", "focal")]
    for stack, fitted in zip(stacks, fit_heads(stacks, facts, train, Hardware("cpu")), strict=True):
        assert fitted.strategy.name == stack[0].entry.name
        torch.testing.assert_close(fitted.strategy.weight, fit_heads([stack], facts, train, Hardware("cpu"))[0].strategy.weight)


def test_a_strategy_with_hooks_of_its_own_is_not_pooled():
    class Hooked(find("ce").load()):
        name = "hooked"

        def on_train_start(self):
            self.bias.data.zero_()

    facts = Facts(3, (4, 3), Head(torch.zeros(2, 3), torch.zeros(2)), (0,))
    assert may_be_pooled(find("ce").load()(facts))
    assert not may_be_pooled(Hooked(facts))


def test_parameters_keep_their_place_from_before_begin(cache, monkeypatch):
    """Weights that ``begin`` remembers follow their training."""
    seen = []
    ce = find("ce").load()
    monkeypatch.setattr(ce, "begin", lambda self, train: seen.append((self, self.weight.data)))
    fit_heads([[job("ce", 0)], [job("los", 0)]], facts_of(cache), cache.split("train"), Hardware("cpu"))
    ((strategy, before),) = seen
    assert before.data_ptr() == strategy.weight.data_ptr()


def test_a_callback_hears_of_the_start_and_of_an_exception(cache):
    class Told(Callback):
        def __init__(self):
            self.told = []

        def on_train_start(self, trainer, pl_module):
            self.told.append(("start", type(pl_module).name))

        def on_train_epoch_end(self, trainer, pl_module):
            raise OSError("a disk that is full")

        def on_exception(self, trainer, pl_module, exception):
            self.told.append(("exception", type(pl_module).name))

    told = Told()
    with pytest.raises(OSError, match="full"):
        fit_heads([[job("ce", 0)]], facts_of(cache), cache.split("train"), Hardware("cpu"), callbacks=[[told]])
    assert told.told == [("start", "ce"), ("exception", "ce")]
