"""A plain Trainer is the definition of a fit: the engine's fast fit ends where it ends, for the registered strategies and for classes of a user's own."""

import os
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from lt_bench.core.seeds import derive_seed
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.plain import Batches, BatchRows, epoch_order, fit_plain
from lt_bench.engine.heads.stacks import HeadJob, is_stacked
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Facts, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.los import LOS
from lt_bench.strategies.registry import describe, find, strategy_names
from tests.two import run_two

COUNTS, DIM = (40, 17, 9, 4, 1), 4
VIEWS = ("plain", "aug1", "aug2")
SHORT = {"epochs": 4, "batch_size": 12, "lr": 0.05, "views": "plain"}
STEPS = 4 * 6  # 71 samples


def data():
    """Training data in no order of classes, with three views."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    blocks = [torch.randn(len(labels), DIM, generator=generator).relu() for _ in VIEWS]
    head = Head(torch.randn(len(COUNTS), DIM, generator=generator), torch.randn(len(COUNTS), generator=generator))
    return Facts(DIM, COUNTS, head), FeatureSplit("train", VIEWS, (torch.cat(blocks),), labels, torch.arange(len(labels)))


def job(entry, repetition=0, **changes):
    return HeadJob(entry, entry.resolve("none", None, {**SHORT, **changes}), repetition)


def plainly(one, facts, train):
    """The head that a plain Trainer fits on the batches of the job."""
    entry, repetition = one.entry, one.repetition
    cls, given = entry.class_for(one.hyperparameters)
    strategy = cls(replace(facts, init_seed=derive_seed("init", repetition)), **given).double()
    strategy.draws.seed((repetition,))
    rows, steps, _ = fit_plain(strategy, train, repetition)
    return strategy, rows, steps


TRAINED = [name for name in strategy_names() if find(name).fitting == "sgd"]


@pytest.mark.parametrize("name", TRAINED)
def test_the_fast_fit_is_the_plain_fit(name):
    facts, train = data()
    one = job(find(name), 3)
    (fitted,) = fit_heads([[one]], facts, train, dtype=torch.float64)
    strategy, rows, steps = plainly(one, facts, train)
    assert fitted.steps == steps >= STEPS
    fast = fitted.head()
    moved = False
    for parameter, value in strategy.named_parameters():
        torch.testing.assert_close(fast.get_parameter(parameter), value, rtol=1e-9, atol=1e-9, msg=f"{name} {parameter}")
        moved |= value.requires_grad
    assert moved
    for row, other in zip(fitted.history[0], rows, strict=True):
        assert row["epoch"] == other["epoch"]
        assert row["lr"] == pytest.approx(other["lr"], rel=1e-12) or strategy.relative_rates()  # the plain one is of the first parameter
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-9, abs=1e-9)


class Tempered(Strategy):
    """Divides logits by a temperature; written for one head."""

    name = "tempered_by_user"
    recipe = Recipe(lr=0.05, epochs=4, batch_size=12)
    temperature: float = hyper(2.0, low=0.1, high=10)

    def transform(self, logits, labels):
        return logits / self.temperature


class Adapting(Strategy):
    """A trained scale and offset of its own, and a class weight made of the mean loss of the epoch before; written for one head."""

    name = "adapting_by_user"
    recipe = Recipe(lr=0.05, epochs=4, batch_size=12)

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.scale, self.offset = torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.zeros(facts.num_classes))
        self.register_buffer("total", torch.zeros(facts.num_classes, dtype=torch.float64))
        self.class_weight = torch.ones(facts.num_classes, dtype=torch.float64)

    def transform(self, logits, labels):
        return self.scale * logits + self.offset

    def observe(self, logits, batch):
        losses = self.kernel(self.transform(logits, batch.labels), batch.labels)
        self.total.index_add_(0, batch.labels, losses.detach().double())

    def statistics(self):
        return [self.total]

    def end_epoch(self, epoch):
        mean = self.total / self.class_counts
        self.class_weight = mean / mean.mean()
        self.total.zero_()


class Remembering(Strategy):
    """Weighs a sample by a moving average of its own losses; written for one head."""

    name = "remembering_by_user"
    recipe = Recipe(lr=0.05, epochs=4, batch_size=12)

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.register_buffer("memory", torch.ones(facts.num_samples, dtype=torch.float64))

    def sample_weight(self, logits, batch):
        return self.memory[batch.rows].to(logits)

    def observe(self, logits, batch):
        self.memory[batch.rows] = 0.5 * self.memory[batch.rows] + 0.5 * self.kernel(logits, batch.labels).double()


class WithAdam(Strategy):
    """Has an optimizer of its own."""

    name = "with_adam_by_user"
    recipe = Recipe(lr=0.05, epochs=4, batch_size=12)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.recipe.rate("lr"))


@pytest.mark.parametrize("cls", [Tempered, Adapting, Remembering, WithAdam])
def test_a_class_of_the_users_own_is_fitted_as_a_plain_trainer_fits_it(cls):
    facts, train = data()
    entry = describe(cls)
    assert not is_stacked(entry)
    jobs = [job(entry, repetition) for repetition in (0, 1)]
    fits = fit_heads([[one] for one in jobs], facts, train, dtype=torch.float64)
    for one, fitted in zip(jobs, fits, strict=True):
        strategy, rows, steps = plainly(one, facts, train)
        assert fitted.steps == steps == STEPS
        for name, value in strategy.state_dict().items():
            torch.testing.assert_close(fitted.head().state_dict()[name], value, rtol=0, atol=1e-9)
        assert [row["loss"] for row in fitted.history[0]] == pytest.approx([row["loss"] for row in rows], rel=1e-9)
        assert fitted.history[0][-1]["loss"] < fitted.history[0][0]["loss"] or cls is Remembering  # its weights change beside
        logits = fitted.head().inference_head()(train.view("plain").double())
        assert logits.shape == (len(train), len(COUNTS))
    assert not torch.equal(fits[0].strategy.weight, fits[1].strategy.weight)


def test_an_optimizer_of_ones_own_ends_where_a_trainer_of_ones_own_ends():
    facts, train = data()
    one = job(describe(WithAdam))
    (fitted,) = fit_heads([[one]], facts, train, dtype=torch.float64)
    weight, bias = facts.head.weight.double().requires_grad_(), facts.head.bias.double().requires_grad_()
    adam, strategy = torch.optim.Adam([weight, bias], 0.05), WithAdam(facts, **one.hyperparameters)
    batches, order = Batches(train, torch.float64), epoch_order(strategy, train, (0,))
    for epoch in range(4):
        rows = BatchRows(order, 12)
        rows.set_epoch(epoch)
        for index in rows:
            features, labels, _ = batches[index]
            adam.zero_grad()
            torch.nn.functional.cross_entropy(features @ weight.T + bias, labels).backward()
            adam.step()
    torch.testing.assert_close(fitted.strategy.weight.detach(), weight.detach(), rtol=0, atol=1e-9)
    torch.testing.assert_close(fitted.strategy.bias.detach(), bias.detach(), rtol=0, atol=1e-9)


def test_a_class_that_is_stackable_and_has_an_optimizer_of_its_own_is_no_stack():
    class LOSWithAdam(LOS):
        name = "los_with_adam"

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    facts, train = data()
    entry = describe(LOSWithAdam)
    assert not is_stacked(entry)
    (fitted,) = fit_heads([[job(entry)]], facts, train, dtype=torch.float64)
    assert fitted.strategy.heads is None
    assert fitted.steps == STEPS
    assert not torch.allclose(fitted.strategy.weight, facts.head.weight.double(), atol=1e-3)


SEEN: list[torch.Tensor] = []


def check_rows(strategy, batch):
    """Labels are those of the rows, and features those of a view of the sample."""
    train = strategy.training_data
    assert torch.equal(batch.labels, train.labels[batch.rows])
    assert int(batch.rows.max()) < len(train)
    views = torch.stack([train.view(view)[batch.rows] for view in train.views]).to(batch.features)
    assert bool((views == strategy.per_head(batch.features)).all(-1).any(0).all())
    SEEN.append(batch.rows.flatten().clone())


class OneHead(Strategy):
    """Checks its rows, for one head."""

    name = "rows_of_one_head"
    recipe = Recipe(lr=0.05, epochs=2, batch_size=12)

    def observe(self, logits, batch):
        check_rows(self, batch)


class Stacked(OneHead):
    """Checks its rows, in a stack."""

    name = "rows_of_a_stack"
    stackable = True


@pytest.mark.parametrize("views", ["plain", "augmented", "all"])
@pytest.mark.parametrize("cls", [OneHead, Stacked])
def test_rows_are_the_numbers_of_the_samples(cls, views):
    facts, train = data()
    SEEN.clear()
    one = job(describe(cls), epochs=2, views=views)
    heads = [job(one.entry, repetition, epochs=2, views=views) for repetition in (0, 0, 1, 1)] if cls is Stacked else [one]
    (fitted,) = fit_heads([heads], facts, train)
    assert fitted.steps == 2 * 6
    assert torch.equal(torch.cat(SEEN).sort().values, torch.arange(len(train)).repeat_interleave(2 * len(heads)))


def test_rows_are_the_numbers_of_the_samples_in_the_plain_fit():
    facts, train = data()
    SEEN.clear()
    plainly(job(describe(OneHead), epochs=2, views="all"), facts, train)
    once, again = SEEN[-6:], SEEN[-12:-6]
    assert torch.equal(torch.cat(once).sort().values, torch.arange(len(train)))
    assert torch.equal(torch.cat(again).sort().values, torch.arange(len(train)))


def on_processes(devices):
    """Rows that each class saw, and the heads of the classes whose state is the same on all processes."""
    facts, train = data()
    rows, heads = {}, {}
    for cls in (OneHead, Stacked):
        SEEN.clear()
        fit_heads([[job(describe(cls), epochs=2, views="all")]], facts, train, Hardware("cpu", devices), dtype=torch.float64)
        rows[cls.name] = torch.cat(SEEN)
    for cls in (Tempered, Adapting):
        (fitted,) = fit_heads([[job(describe(cls))]], facts, train, Hardware("cpu", devices), dtype=torch.float64)
        heads[cls.name] = {name: value.detach() for name, value in fitted.head().state_dict().items()}
    return rows, heads


def process(rank, folder):
    """One of two processes, as Lightning's own launcher sets them."""
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    torch.save(on_processes(2), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_on_two_processes_rows_are_shared_out_and_the_heads_are_those_of_one(tmp_path):
    run_two(process, tmp_path)
    (rows, heads), *shares = on_processes(1), *(torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, seen in rows.items():
        parts = [share[0][name] for share in shares]
        assert torch.equal(torch.cat(parts).sort().values, seen.sort().values)
        assert all(0 < len(part) < len(seen) for part in parts)
    for share in shares:
        for name, state in heads.items():
            for parameter, value in state.items():
                torch.testing.assert_close(share[1][name][parameter], value, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*isinstance.*LeafSpec.*")
def test_any_trainer_trains_a_head(tmp_path):
    facts, train = data()
    features, labels, rows = train.view("plain"), train.labels, torch.arange(len(train))
    head = LOS(facts)
    before = head.weight.detach().clone()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(head(features), labels, label_smoothing=0.98)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(head, DataLoader(TensorDataset(features, labels, rows), batch_size=64))
    assert trainer.global_step == 2 * 2
    assert not torch.equal(head.weight, before)
    assert head.inference_head()(features).shape == (len(train), len(COUNTS))
    with torch.no_grad():
        assert torch.nn.functional.cross_entropy(head(features), labels, label_smoothing=0.98) < loss
