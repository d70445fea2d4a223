"""A registered strategy that the slots can say equals its composition bit for bit, as the plain fit and as the fast one."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from lt_bench.bench.contract.subject import hyperparameters, problem
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.strategies import composition
from lt_bench.strategies.entry import compose_entry
from lt_bench.strategies.recipe import RECIPE_FIELDS
from lt_bench.strategies.registry import find, strategy_names
from lt_bench.strategies.slots.vocabulary import TITLES

PRESETS = [name for name in strategy_names() if find(name).slots is not None]
FITTED = [name for name in PRESETS if find(name).fitting == "sgd"]


def composed(name):
    """Hyper-parameters of ``compose`` that say the strategy with its defaults."""
    entry = find(name)
    assert entry.slots is not None
    recipe = {field: value for field, value in hyperparameters(entry).items() if field in RECIPE_FIELDS}
    return {slot: entry.slots.get(slot, "") for slot in TITLES} | recipe


def equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_most_strategies_are_presets_and_those_that_are_not_have_code_of_their_own():
    assert len(PRESETS) > 30
    assert {"los", "ldam_drw", "gcl", "las", "marc", "weight_balancing", "cosine", "tau_norm"} <= set(PRESETS)
    assert not {"meta_sampler", "ncm", "convex_la", "ffds", "disalign", "lade"} & set(PRESETS)


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_of_the_engine(name):
    on = problem()
    jobs = [[HeadJob(find(name), hyperparameters(find(name)), 3)], [HeadJob(compose_entry(), composed(name), 3)]]
    preset, composition_ = (fit_heads([stack], on.facts, on.train)[0] for stack in jobs)
    assert (preset.history, preset.steps) == (composition_.history, composition_.steps)
    equal(preset.strategy.state_dict(), composition_.strategy.state_dict())
    equal(preset.head().inference_head().state_dict(), composition_.head().inference_head().state_dict())


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*GPU available.*")
@pytest.mark.parametrize("name", FITTED)
def test_a_plain_fit(name):
    on, given = problem(), hyperparameters(find(name), epochs=2)
    cls, recipe = composition.class_of(composed(name) | {"epochs": 2})
    batches = DataLoader(TensorDataset(on.train.view("plain"), on.train.labels, on.train.rows), batch_size=8)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    fitted = []
    for strategy in (find(name).load()(on.facts, **given), cls(on.facts, **recipe)):
        before = {key: value.clone() for key, value in strategy.state_dict().items()}
        Trainer(accelerator="cpu", max_epochs=2, **options).fit(strategy, batches)
        assert any(not torch.equal(before[key], value) for key, value in strategy.state_dict().items())
        fitted.append(strategy.state_dict())
    equal(*fitted)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in FITTED])
def test_what_is_not_fitted(name):
    on = problem()
    cls, given = composition.class_of(composed(name))
    preset, composition_of_it = find(name).load()(on.facts, **find(name).resolve("none")), cls(on.facts, **given)
    preset.held_out = composition_of_it.held_out = on.train
    equal(preset.inference_head().state_dict(), composition_of_it.inference_head().state_dict())


@pytest.mark.parametrize(
    "slots",
    [
        {"classifier": "cosine(16)", "trainable": "scale"},
        {"classifier": "cosine(16)", "trainable": "affine"},
        {"classifier": "cosine(16)", "trainable": "bias"},
        {"classifier": "cosine(16)", "at_inference": "row_norm(0.5)"},
        {"classifier": "cosine(16)", "at_inference": "multiply(0.5)"},
    ],
)
def test_what_a_cosine_classifier_would_undo_is_refused(slots):
    from lt_bench.core.errors import UserError
    from lt_bench.strategies.composition import compose
    from lt_bench.strategies.contract import Facts

    with pytest.raises(UserError, match="do not go together"):
        compose(**slots, initial_head="random")(Facts(3, (5, 4, 2)))


def test_uniformity_has_no_table_of_many_classes():
    from lt_bench.core.errors import UserError
    from lt_bench.strategies.composition import compose
    from lt_bench.strategies.contract import Facts

    with pytest.raises(UserError, match=r"at most 1,024; there are 2,000"):
        compose(regulariser="uniformity", initial_head="random")(Facts(2, (1,) * 2000))


@pytest.mark.parametrize(
    "slots",
    [
        {"classifier": "cosine(16)", "at_inference": "log_prior(0.5)", "transform": "margin(0.2, scale=16)"},
        {"initial_head": "class_means(scale=2)", "target": "smooth(0.3)", "sampler": "class_aware"},
        {"initial_head": "lda(shrinkage=0.3)", "regulariser": "decay(0.01)", "weight": "focal(1.0)"},
        {"initial_head": "random", "trainable": "scaled_head(0.5)", "kernel": "softmax_bce", "regulariser": "uniformity(0.1)"},
        {"trainable": "bias", "weight": "inverse(0.5)", "transform": "temperature(0.2, tau=1)"},
        {"trainable": "affine", "weight": "deferred(0.99)", "at_inference": "multiply(0.1)"},
        {"projection": "max_norm(0.3)", "weight": "class_balanced_focal", "kernel": "sigmoid_bce(1)"},
    ],
)
def test_slots_go_together(slots):
    """A composition fits alike by the engine and by a plain Trainer, and its head gives the logits that were trained (but for what adjusts it afterwards)."""
    from lt_bench.bench.contract.check import check_strategy
    from lt_bench.strategies.composition import compose
    from lt_bench.strategies.registry import describe

    findings = check_strategy(describe(compose(**slots)))
    assert [(finding.check, finding.problem) for finding in findings if finding.problem is not None] == []
