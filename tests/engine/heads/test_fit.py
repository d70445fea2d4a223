import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch.utils.data import DataLoader, TensorDataset

from lt_bench.bench.contract.subject import Problem, fit_plainly
from lt_bench.core.errors import UserError
from lt_bench.core.threads import FLOP_PER_THREAD, threads_for
from lt_bench.engine.heads import fit as fit_module
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.plain import training_views
from lt_bench.engine.heads.pool import Member
from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.engine.heads.stacks import HeadJob, pools
from lt_bench.engine.heads.trajectory import NormTrajectory
from lt_bench.features.cache import open_cache
from lt_bench.strategies.ce import CE
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import describe, find

SHORT = {"epochs": 3, "batch_size": 32}


class Adapting(CE):
    """With an optimizer of its own, so that a plain Trainer fits it."""

    name = "adapting"

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


@pytest.fixture(scope="module")
def cache(small_cache):
    return open_cache(small_cache)


@pytest.fixture(scope="module")
def train(cache):
    return cache.split("train")


def job(strategy, repetition=0, **changes):
    entry = find(strategy)
    return HeadJob(entry, entry.resolve("none", None, {**(SHORT if entry.fitting == "sgd" else {}), **changes}), repetition)


def fitted(cache, train, *jobs, dtype=torch.float64, callbacks=(), **more):
    """The jobs as one stack."""
    (result,) = fit_heads([jobs], facts_of(cache), train, Hardware("cpu"), dtype=dtype, callbacks=[callbacks], **more)
    return result


def differing(strategy, repetitions):
    """Jobs with another value of every float of the grid and of the rates for each head."""
    entry = find(strategy)
    floats = {h.name for h in entry.hyperparameters if h.type is float} | {"lr", "weight_decay", "momentum"}
    choices = {name: values for name, values in entry.grid.items() if name in floats} | {"momentum": (0.9, 0.5, 0.0)}
    return [
        job(strategy, repetition, **{name: values[head % len(values)] for name, values in choices.items()})
        for head, repetition in enumerate(repetitions)
    ]


# crt: class-aware order, random head; d_ffds: statistics over an epoch; gcl: noise; lade: a term of the whole batch; maxnorm: projection; lws: other parameters.
STACKED = ("los", "crt", "d_ffds", "weight_balancing", "gcl", "lade", "maxnorm", "lws", "meta_sampler")


@pytest.mark.parametrize("repetitions", [(0, 0, 1, 1), (0, 0, 1)], ids=["shared orders", "ragged orders"])
@pytest.mark.parametrize("strategy", STACKED)
def test_a_stack_is_its_heads(cache, train, strategy, repetitions):
    jobs = differing(strategy, repetitions)
    together = fitted(cache, train, *jobs)
    start = fitted(
        cache, train, *(dataclasses.replace(one, hyperparameters={**one.hyperparameters, "lr": 0.0, "weight_decay": 0.0}) for one in jobs)
    )
    moved = False
    for head, one in enumerate(jobs):
        alone = fitted(cache, train, one)
        for name, parameter in alone.strategy.named_parameters():
            stacked = together.strategy.get_parameter(name)[head]
            assert torch.allclose(stacked, parameter[0], rtol=0, atol=1e-6), (name, head)
            moved |= not torch.allclose(stacked, start.strategy.get_parameter(name)[head], atol=1e-5)
        for row, other in zip(together.history[head], alone.history[0], strict=True):
            assert row == pytest.approx(other, abs=1e-6)
    assert moved


def test_the_same_fit_twice_is_identical(cache, train):
    first, second = (fitted(cache, train, job("gcl", 0), job("gcl", 1), dtype=torch.float32) for _ in range(2))
    for name, parameter in first.strategy.named_parameters():
        assert torch.equal(parameter, second.strategy.get_parameter(name))
    assert first.history == second.history


def test_repetitions_differ_by_order_and_initial_head(cache, train):
    both = fitted(cache, train, job("ce", 0), job("ce", 1))
    assert not torch.allclose(both.strategy.weight[0], both.strategy.weight[1], atol=1e-7)
    random = fitted(cache, train, job("crt", 0, lr=0.0), job("crt", 1, lr=0.0))
    assert not torch.allclose(random.strategy.weight[0], random.strategy.weight[1], atol=1e-2)


def test_history(cache, train):
    result = fitted(cache, train, job("ce", lr=0.1), job("ce", lr=0.01))
    assert result.steps == 3 * 5  # 145 samples in batches of 32
    assert [row["epoch"] for row in result.history[0]] == [0, 1, 2]
    assert [row["lr"] for row in result.history[1]] == pytest.approx([0.01, 0.0075, 0.0025])
    assert result.history[0][2]["loss"] < result.history[0][0]["loss"]
    assert result.seconds > 0


def test_one_step_by_hand(cache, train):
    """A batch of everything, plain SGD: the parameters after one step against torch's cross-entropy."""
    whole = job("ce", epochs=1, batch_size=len(train), lr=0.5, momentum=0.0, weight_decay=0.01, views="plain")
    result = fitted(cache, train, whole)
    head = cache.head()
    weight, bias = head.weight.double().requires_grad_(), head.bias.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(train.view("plain").double() @ weight.T + bias, train.labels)
    loss.backward()
    assert torch.allclose(result.strategy.weight[0], weight - 0.5 * (weight.grad + 0.01 * weight), rtol=0, atol=1e-12)
    assert torch.allclose(result.strategy.bias[0], bias - 0.5 * (bias.grad + 0.01 * bias), rtol=0, atol=1e-12)
    assert result.history[0][0]["loss"] == pytest.approx(float(loss.detach()), abs=1e-12)


def test_strategies_that_fit_nothing_skip_the_trainer(cache, train, monkeypatch):
    monkeypatch.setattr(fit_module, "Trainer", None)
    for name in ("joint", "tau_norm", "logit_adjustment", "ncm"):
        result = fitted(cache, train, job(name))
        assert (result.history, result.steps) == ([[]], 0)


def test_a_diverged_head_is_refused_by_name_and_the_others_are_not(cache, train):
    result = fitted(cache, train, job("ce", lr=0.01), job("ce", lr=1e300, weight_decay=1.0))
    result.check_finite(0)
    with pytest.raises(UserError, match=r"ce: the fit diverged, .* use a smaller lr than 1e\+300"):
        result.check_finite(1)


def test_views(train):
    assert train.views == ("plain", "aug1", "aug2")
    assert training_views(train, "plain") == (0,)
    assert training_views(train, "augmented") == (1, 2)
    assert training_views(train, "all") == (0, 1, 2)
    only_plain = dataclasses.replace(train, views=("plain",), blocks=(train.view("plain"),))
    assert training_views(only_plain, "augmented") == (0,)


def test_a_fit_reads_only_the_views_it_asks_for(cache, train):
    poisoned = train.blocks[0].clone()
    poisoned[: len(train)] = torch.nan
    bad = dataclasses.replace(train, blocks=(poisoned,))
    fitted(cache, bad, job("ce", views="augmented")).check_finite(0)
    with pytest.raises(UserError, match="diverged"):
        fitted(cache, bad, job("ce", views="plain")).check_finite(0)


class Broken(RuntimeError):
    pass


class Dies(Callback):
    """Breaks off as an epoch begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise Broken


class Saves(Checkpoint):
    """Saves a checkpoint after the second epoch."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")
@pytest.mark.parametrize("strategy", ["d_ffds", "gcl"])
def test_killed_and_resumed_ends_as_if_nothing_had_happened(cache, train, strategy, tmp_path, monkeypatch):
    jobs, path, update = [job(strategy, repetition, epochs=5) for repetition in (0, 1)], tmp_path / "last.ckpt", Member.update
    whole, trajectory = fitted(cache, train, *jobs, callbacks=[NormTrajectory()]), NormTrajectory()

    def dies(self):
        """In the middle of the third epoch."""
        if len(self.rows) == 2 and self.optimizer.broken_off == 2:
            raise Broken
        self.optimizer.broken_off += len(self.rows) == 2
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(HeadSGD, "broken_off", 0, raising=False)
        patch.setattr(Member, "update", dies)
        with pytest.raises(Broken):
            fitted(cache, train, *jobs, callbacks=[trajectory, Saves(path)])
    assert {"strategies.0.weight", "strategies.0.bias"} <= set(torch.load(path, weights_only=True)["state_dict"])
    resumed = fitted(cache, train, *jobs, callbacks=[trajectory, Saves(path)], resume=path)
    for name, tensor in whole.strategy.state_dict().items():
        assert torch.allclose(tensor, resumed.strategy.state_dict()[name], rtol=0, atol=1e-12, equal_nan=True), name
    assert (resumed.history, resumed.steps) == (whole.history, whole.steps)
    for head in (0, 1):
        for name, values in whole.trajectory.arrays(head).items():
            np.testing.assert_allclose(resumed.trajectory.arrays(head)[name], values, rtol=0, atol=1e-12, err_msg=name)


def budget(strategy, repetition=0, steps=8):
    """A job that ends at a step."""
    entry = find(strategy)
    return HeadJob(entry, entry.resolve("none", None, {"batch_size": 32, "iterations": steps, "views": "plain"}), repetition)


@pytest.mark.parametrize("strategy", ["balanced_softmax", "marc", "meta_sampler"])
def test_a_budget_in_steps_ends_at_its_step_and_where_the_plain_fit_ends(cache, train, strategy):
    a_whole_epoch = -(-len(train) // 32)
    assert a_whole_epoch == 5
    result = fitted(cache, train, budget(strategy))
    assert result.steps == 8
    assert [row["epoch"] for row in result.history[0]] == [0, 1]
    plain, rows = fit_plainly(Problem(facts_of(cache), train), budget(strategy), torch.float64)
    for row, other in zip(result.history[0], rows, strict=True):
        assert row == pytest.approx(other, abs=1e-9)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(result.head().state_dict()[name], tensor, rtol=0, atol=1e-9, msg=name)


def test_a_users_own_trainer_takes_the_budget_as_max_steps(cache, train):
    strategy = find("balanced_softmax").load()(facts_of(cache), iterations=8, batch_size=32)
    trainer = Trainer(
        max_steps=strategy.recipe.iterations, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    rows = TensorDataset(train.view("plain").float(), train.labels, torch.arange(len(train)))
    trainer.fit(strategy, DataLoader(rows, batch_size=32, shuffle=True))
    assert (trainer.global_step, strategy.recipe.epochs) == (8, 2)


def test_a_stack_and_a_pool_end_at_the_step_of_the_budget(cache, train):
    jobs = [budget("balanced_softmax", repetition) for repetition in (0, 1)]
    others = [
        HeadJob(find("ce"), find("ce").resolve("none", None, {"batch_size": 32, "iterations": 8, "views": "plain"}), one) for one in (0, 1)
    ]
    assert pools([jobs, others], 8) == [[jobs, others]]
    pool = fit_heads([jobs, others], facts_of(cache), train, Hardware("cpu"), dtype=torch.float64)
    assert [one.steps for one in pool] == [8, 8]
    for number, alone in enumerate(jobs):
        torch.testing.assert_close(pool[0].head(number).weight, fitted(cache, train, alone).head().weight, rtol=0, atol=1e-9)
    assert len(pools([[jobs[0]], [job("ce")]], 8)) == 2, "another length is another pool"


def test_a_budget_is_resumed_to_its_step(cache, train, tmp_path):
    path = tmp_path / "last.ckpt"
    whole = fitted(cache, train, budget("balanced_softmax", steps=13), callbacks=[Saves(path)])
    resumed = fitted(cache, train, budget("balanced_softmax", steps=13), resume=path)
    assert (resumed.steps, resumed.history) == (whole.steps, whole.history) == (13, whole.history)
    torch.testing.assert_close(resumed.strategy.weight, whole.strategy.weight, rtol=0, atol=1e-12)


def test_an_error_of_the_strategy_comes_through(cache, train):
    with pytest.raises(Broken):
        fitted(cache, train, job("ce"), callbacks=[Dies()])


@pytest.mark.parametrize("strategy", ["ce", Adapting], ids=["fast", "plain"])
def test_ctrl_c_is_a_keyboard_interrupt_and_the_next_one_too(cache, train, strategy, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    interrupts = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    monkeypatch.setattr(Strategy, "project", interrupts)
    entry = find(strategy) if isinstance(strategy, str) else describe(strategy)
    one = HeadJob(entry, entry.resolve("none", None, SHORT), 0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fitted(cache, train, one)
    assert signal.getsignal(signal.SIGINT) is before


def test_hardware_that_is_not_there():
    with pytest.raises(UserError, match="accelerator 'tpu' is not one of auto, cpu, gpu"):
        Hardware("tpu")
    with pytest.raises(UserError, match="devices is 0, expected at least 1"):
        Hardware("cpu", 0)
    assert Hardware("cpu").device == torch.device("cpu")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Hardware("auto").device == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA device is available"):
        Hardware("gpu")


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Hardware("gpu", 2).device == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Hardware("auto", 2).device == torch.device("cuda", 1)
    with pytest.raises(UserError, match="devices is 3, and this machine has 2"):
        Hardware("gpu", 3)


def test_threads_are_few_for_small_products_and_given_back(monkeypatch):
    counts = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: counts[-1])
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    with threads_for(0.01 * FLOP_PER_THREAD):
        assert counts[-1] == 1
    assert counts[-1] == 4
    with threads_for(2.5 * FLOP_PER_THREAD):
        assert counts[-1] == 2
    with threads_for(100 * FLOP_PER_THREAD):
        assert counts[-1] == 4
