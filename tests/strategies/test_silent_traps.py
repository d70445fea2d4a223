"""Classes that could mean a wrong number without a word: each is refused when the class or an instance is made, noticed by the checks, or means what it says."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from lt_bench.bench.contract.check import check_strategy, contract_of
from lt_bench.bench.contract.subject import fit, fit_plainly, job, problem
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.overrides import Overrides
from lt_bench.engine.heads.plain import fit_plain
from lt_bench.engine.heads.stacks import HeadJob, head_of
from lt_bench.strategies._lib.tensors import linear, linear_head
from lt_bench.strategies.composition import compose
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.los import LOS
from lt_bench.strategies.registry import describe, find
from lt_bench.strategies.slots.classifiers import Cosine
from lt_bench.strategies.slots.inference import SubtractLogPrior
from lt_bench.strategies.slots.initial_heads import LDA
from lt_bench.strategies.slots.kernels import SigmoidBCE
from lt_bench.strategies.slots.projections import MaxNorm
from lt_bench.strategies.slots.targets import Smooth
from lt_bench.strategies.slots.trainable import Scale
from lt_bench.strategies.slots.transforms import LogPrior
from lt_bench.strategies.slots.weights import Deferred, Focal, Inverse

FACTS = Facts(3, (17, 9, 4, 1), problem().facts.head)


def problems(cls):
    return {finding.check: finding.problem for finding in check_strategy(describe(cls)) if finding.problem is not None}


# ---- refused when the class is made --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["momentum", "lr", "epochs"])
def test_a_hyper_parameter_called_like_a_field_of_the_recipe(name):
    with pytest.raises(UserError, match=f"cannot be called {name}, which is a field of the recipe"):
        type("M", (Strategy,), {"name": "m", "__annotations__": {"own": float}, "own": hyper(0.99, name=name)})


@pytest.mark.parametrize("attribute", ["weight", "heads", "draws", "facts", "device", "class_counts"])
def test_a_hyper_parameter_under_an_attribute_of_the_contract(attribute):
    with pytest.raises(UserError, match=f"self.{attribute} is something else already"):
        type("M", (Strategy,), {"name": "m", "__annotations__": {attribute: float}, attribute: hyper(0.5)})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"weights": Inverse(1.0)}, "is filled by the attribute weighting"),
        ({"weight": Inverse(1.0)}, "is filled by the attribute weighting"),
        ({"target": LogPrior(1.0)}, "is filled by the attribute transform"),
        ({"sampling": "class_aware"}, "did you mean 'sampler'"),
        ({"classifier": "cosine"}, "expected an entry of `lt-bench list slots`, or None"),
        ({"reduction": "samples", "weighting": Inverse(1.0)}, "says by what the batch's loss is divided"),
        ({"kernel": SigmoidBCE(0.0), "target": Smooth(0.1)}, "has a target of its own"),
        ({"kernel": SigmoidBCE(0.0), "target": lambda self, labels: 0.1}, "has a target of its own"),
        ({"weighting": Focal(1.0), "modulate": lambda self, losses, batch: losses}, "leaves weighting = focal without effect"),
        ({"projection": MaxNorm(0.1), "project": lambda self, after: None}, "leaves projection = max_norm without effect"),
        ({"classifier": Cosine(8.0), "logits": lambda self, features: features}, "leaves classifier = cosine without effect"),
        ({"trainable": Scale(), "logits": lambda self, features: features}, "leaves trainable = scale without effect"),
        ({"transform": LogPrior(1.0), "loss": lambda self, logits, batch: logits.sum(-1)}, "leaves transform = log_prior without effect"),
        (
            {"at_inference": SubtractLogPrior(1.0), "inference_head": lambda self: nn.Linear(3, 4)},
            "leaves at_inference = log_prior without effect",
        ),
    ],
)
def test_an_entry_that_would_have_no_effect(body, words):
    with pytest.raises(UserError, match=words):
        type("M", (Strategy,), {"name": "m", **body})


def test_an_override_that_calls_the_one_before_it_is_none_of_these():
    class Doubled(Strategy):
        name = "doubled"
        weighting = Focal(1.0)

        def modulate(self, losses, batch):
            return 2 * super().modulate(losses, batch)

    class Explicit(Strategy):
        name = "explicit"
        classifier = Cosine(8.0)

        def logits(self, features):
            return linear(self.classifier.inputs(features), self.classifier.rows(self.weight), None)

    assert problems(Doubled) == problems(Explicit) == {}


# ---- refused on an instance ----------------------------------------------------------------------------------------------------------------------


def test_class_weights_beside_an_entry_that_sets_them():
    class Both(Strategy):
        name = "both"
        weighting = Inverse(1.0)

        def __init__(self, facts, **hyperparameters):
            super().__init__(facts, **hyperparameters)
            self.class_weight = torch.ones(4)

    with pytest.raises(UserError, match="weighting inverse sets class_weight"):
        Both(FACTS)


def test_a_module_where_an_entry_is_read():
    class Own(Strategy):
        name = "own"

        def __init__(self, facts, **hyperparameters):
            super().__init__(facts, **hyperparameters)
            self.classifier = nn.Linear(3, 4)

    with pytest.raises(UserError, match="would hide the slot classifier"):
        Own(FACTS)


# ---- means what it says --------------------------------------------------------------------------------------------------------------------------


def test_class_weights_of_ones_own_outlast_the_epoch_beside_a_focal_entry():
    class Mine(Strategy):
        name = "mine"
        weighting = Focal(1.0)

        def __init__(self, facts, **hyperparameters):
            super().__init__(facts, **hyperparameters)
            self.class_weight = torch.arange(1.0, 5.0)

    strategy = Mine(FACTS)
    strategy.start_epoch(3)
    assert strategy.class_weight.tolist() == [1, 2, 3, 4]


def test_deferred_weights_begin_beside_an_own_begin_epoch():
    class Mine(Strategy):
        name = "mine"
        weighting = Deferred(0.99, "weights", 0.5)

        def begin_epoch(self, epoch):
            self.seen = epoch

    strategy = Mine(FACTS, epochs=4)
    strategy.start_epoch(1)
    assert strategy.class_weight.tolist() == [1, 1, 1, 1]
    strategy.start_epoch(2)
    assert strategy.seen == 2
    assert len(set(strategy.class_weight.tolist())) == 4


def test_a_subclass_of_a_published_strategy_is_official_nowhere_and_has_its_own_defaults():
    class Mine(LOS):
        name = "mine"
        epsilon = 0.5

    entry = describe(Mine)
    assert find("los").is_official("cifar100_lt", 100)
    assert not entry.is_official("cifar100_lt", 100)
    assert entry.resolve("imagenet_lt")["epsilon"] == 0.5
    assert find("lort").resolve("imagenet_lt")["epsilon"] == 0.99  # LORT changes nothing of LOS


def test_a_head_made_of_features_that_is_not_trained():
    on = problem()
    slots = {"trainable": "none", "initial_head": "lda(shrinkage=0.3)"}
    entry = find("compose")
    untrained = HeadJob(entry, entry.resolve("none", None, slots), 0)
    weight = fit(on, [untrained])[0].head().inference_head().weight
    expected, _ = LDA(0.3).of_features(on.train, on.facts)
    torch.testing.assert_close(weight, expected)


def test_an_own_subclass_of_a_shift_is_no_shift():
    class Doubled(LogPrior):
        name = "doubled"

        def __call__(self, logits, labels):
            return 2 * super().__call__(logits, labels)

    assert LogPrior.is_shift
    assert not Doubled.is_shift


def test_parameters_of_a_sampler_or_initial_head_are_part_of_what_a_record_says():
    class Mine(Strategy):
        name = "mine"
        initial_head = LDA(0.5)

    assert describe(Mine).initial_head.endswith("LDA(shrinkage=0.5)")


@pytest.mark.parametrize("method", ["backward", "optimizer_zero_grad", "lr_scheduler_step", "configure_callbacks", "configure_model"])
def test_training_of_ones_own_is_left_to_the_plain_trainer(method):
    cls = type("Own", (Strategy,), {"name": "own", method: lambda self, *arguments: None})
    assert Overrides(cls).own_training


def test_the_random_numbers_of_a_plain_fit_are_those_of_its_repetition():
    on = problem()
    alike = {"views": "plain", "lr": 0.01}
    weights = [fit_plainly(on, job(find("seql"), repetition, **alike), torch.float64)[0].weight for repetition in (0, 1)]
    fast = [fit(on, [job(find("seql"), repetition, **alike)], torch.float64)[0].head().weight for repetition in (0, 1)]
    for plain, other in zip(weights, fast, strict=True):
        torch.testing.assert_close(plain, other, rtol=1e-9, atol=1e-9)


# ---- noticed by the checks -----------------------------------------------------------------------------------------------------------------------


def test_a_shift_that_is_none_away_from_its_default():
    from lt_bench.strategies._lib.cross_entropy import shift

    class Scaled(Strategy):
        name = "scaled"
        stackable = True
        scale: float = hyper(1.0, low=0.1, high=10, grid=(1.0, 2.0), help="neutral at 1")

        @shift
        def transform(self, logits, labels):
            return logits * (self.scale.unsqueeze(-1) if isinstance(self.scale, torch.Tensor) else self.scale)

    assert "by a plain Trainer differ" in problems(Scaled)["fast_as_plain"]


def test_state_of_a_stack_that_its_single_heads_lack():
    class Centred(Strategy):
        name = "centred"
        stackable = True

        def __init__(self, facts, **hyperparameters):
            super().__init__(facts, **hyperparameters)
            self.centre = 0.0

        def begin(self, train):
            self.centre = train.view("plain").mean(0)

        def logits(self, features):
            return linear(features - torch.as_tensor(self.centre, dtype=features.dtype), self.weight, self.bias)

        def inference_head(self):
            return linear_head(
                self.weight.detach(), self.bias.detach() - self.weight.detach() @ torch.as_tensor(self.centre).to(self.weight).expand(3)
            )

    assert "the logits of the inference head" in problems(Centred)["fast_as_plain"]


def test_buffers_that_come_about_in_a_fit_are_refused_where_a_head_is_taken_out():
    class Late(Strategy):
        name = "late"
        stackable = True

        def begin(self, train):
            self.register_buffer("late", torch.ones(1))

    on = problem()
    strategy = fit(on, [job(describe(Late))])[0].strategy
    with pytest.raises(UserError, match="late came about in the course of a fit"):
        head_of(strategy)


def test_own_logits_beside_an_adjustment_at_inference():
    class Rooted(Strategy):
        name = "rooted"
        at_inference = SubtractLogPrior(1.0)

        def logits(self, features):
            return linear(features.relu().sqrt(), self.weight, self.bias)

    assert "needs an override of its own" in problems(Rooted)["inference_head"]


def test_a_composition_with_an_entry_of_ones_own_is_checked(tmp_path, monkeypatch):
    (tmp_path / "own_entries_of_traps.py").write_text(
        "from lt_bench.strategies.slots.transforms import Transform\n"
        "class Doubled(Transform):\n"
        "    '''Wrongly said to be a shift.'''\n"
        "    name, is_shift, stackable = 'doubled', True, True\n"
        "    def __call__(self, logits, labels):\n"
        "        return 2 * logits\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = find("compose")
    assert contract_of(entry, entry.resolve("none", None, {"transform": "log_prior(1.0)"})) is None
    said = contract_of(entry, entry.resolve("none", None, {"transform": "own_entries_of_traps.Doubled"}))
    assert said.startswith("fast_as_plain: ")


def test_begin_is_called_once_by_a_check():
    class Counts(Strategy):
        name = "counts"

        def __init__(self, facts, **hyperparameters):
            super().__init__(facts, **hyperparameters)
            self.calls = nn.Buffer(torch.zeros(()))

        def begin(self, train):
            self.calls += 1

        def transform(self, logits, labels):
            return logits * self.calls.to(logits)

    assert problems(Counts) == {}


# ---- a Trainer of anybody's ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"drop_last": True}, {"sampler": WeightedRandomSampler(torch.ones(31), 31)}])
def test_a_loader_that_does_not_give_every_row_once(options):
    from lightning.pytorch import Trainer

    on = problem()
    features, labels = on.train.view("plain"), on.train.labels
    loader = DataLoader(TensorDataset(features, labels, torch.arange(len(labels))), batch_size=7, **options)
    strategy = compose(initial_head="class_means")(on.facts)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    with pytest.raises(UserError, match="has to give every row 0 to 30 once an epoch"):
        trainer.fit(strategy, loader)


def test_a_plain_fit_that_is_begun_by_hand_takes_any_loader():
    on = problem()
    strategy = compose(initial_head="class_means", epochs=1)(on.facts)
    rows, steps, _ = fit_plain(strategy, on.train, 0)
    assert steps == 1
    assert len(rows) == 1
