"""The vocabulary: what is known of its entries without importing them, and what a text of one means."""

import subprocess
import sys

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import Head
from lt_bench.strategies import composition
from lt_bench.strategies.contract import Batch, Facts
from lt_bench.strategies.entry import compose_entry
from lt_bench.strategies.registry import find
from lt_bench.strategies.slots.base import Slot
from lt_bench.strategies.slots.initial_heads import InitialHead
from lt_bench.strategies.slots.transforms import LogPrior, Transform
from lt_bench.strategies.slots.vocabulary import ATTRIBUTES, TITLES, canonical, entries, entry, known

OF_SOURCE = sorted(key for key in entries() if key[0] != "sampler")
OWN = '''
from lt_bench.features.samplers import Sampler
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.initial_heads import InitialHead
from lt_bench.strategies.slots.transforms import Transform


class Squeeze(Transform):
    """``T(z) = strength tanh(z)``."""

    strength: float = hyper(2.0, low=0, high=9, help="largest logit")

    def __call__(self, logits, labels):
        assert logits.dim() == 2, "written for one head"
        return self.strength * logits.tanh()


class Flat(InitialHead):
    """Zeros, and a bias."""

    bias: float = hyper(0.0, help="of every class")

    def of_facts(self, facts, seed, strategy):
        import torch

        return torch.zeros(facts.num_classes, facts.dim), torch.full((facts.num_classes,), self.bias)


class Turned(Sampler):
    """Rows in turn, from ``start``."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def order(self, epoch):
        import torch

        return (torch.arange(epoch.labels.numel()) + self.start) % epoch.labels.numel()
'''


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """The module of a file with entries of a user's own."""
    (tmp_path / "my_slots.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_slots"
    sys.modules.pop("my_slots", None)


def test_entries_are_read_without_importing_torch():
    code = "import sys; from lt_bench.strategies.slots.vocabulary import entries; assert len(entries()) > 30; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("slot", "name"), OF_SOURCE, ids=[f"{slot}-{name}" for slot, name in OF_SOURCE])
def test_what_the_source_says_of_an_entry_is_what_its_class_says(slot, name):
    read = entries()[slot, name]
    built = entry(slot, name)
    assert slot in TITLES
    assert isinstance(built, Slot)
    assert (built.slot, built.name) == (slot, name)
    assert tuple(built.declared.values()) == read.parameters
    assert all(parameter.help for parameter in read.parameters), "a parameter says what it does"


@pytest.mark.parametrize(("slot", "name"), OF_SOURCE, ids=[f"{slot}-{name}" for slot, name in OF_SOURCE])
def test_every_entry_has_a_docstring_that_says_what_it_computes(slot, name):
    doc = entries()[slot, name].doc
    assert len(doc.split()) > 2
    if slot not in ("initial_head", "trainable") and name not in ("identity", "one_hot", "max_norm"):
        assert "`" in doc or "=" in doc, "no formula"


@pytest.mark.parametrize(("slot", "name"), OF_SOURCE, ids=[f"{slot}-{name}" for slot, name in OF_SOURCE])
def test_a_signature_is_a_text_of_the_entry(slot, name):
    read = entries()[slot, name]
    again = entry(slot, read.signature)
    assert again.arguments == {parameter.attribute: parameter.default for parameter in read.parameters}


def test_a_text_gives_an_entry_its_parameters():
    for text in ("log_prior(tau=0.5)", "log_prior(0.5)", " log_prior( 0.5 ) "):
        built = entry("transform", text)
        assert isinstance(built, LogPrior)
        assert list(built.arguments.values()) == [0.5]
    assert entry("transform", "log_prior").arguments == {}
    assert entry("target", "smooth(0.3, convention=others)").arguments == {"epsilon": 0.3, "convention": "others"}
    assert isinstance(entry("transform", "lt_bench.strategies.slots.transforms.LogPrior(0.5)"), LogPrior)


@pytest.mark.parametrize(("slot", "name"), OF_SOURCE, ids=[f"{slot}-{name}" for slot, name in OF_SOURCE])
def test_texts_of_one_entry_have_one_canonical_form(slot, name):
    read = entries()[slot, name]
    texts = {canonical(slot, text) for text in (name, f"{name}()", read.signature)}
    assert len(texts) == 1
    (text,) = texts
    assert canonical(slot, text) == text


def test_a_canonical_text_says_what_differs():
    assert (
        canonical("target", "smooth( .5 )") == canonical("target", "smooth(convention=torch, epsilon=0.5)") != canonical("target", "smooth")
    )
    assert canonical("target", "smooth(0.1, others)") != canonical("target", "smooth(0.1)")
    with pytest.raises(UserError, match=r"epsilon is 1\.5, expected a number from 0 to 1"):
        canonical("target", "smooth(1.5)")


@pytest.mark.parametrize(
    ("slot", "text", "message"),
    [
        ("transform", "log_priors(1.0)", r"transform has no entry 'log_priors' \(did you mean 'log_prior'\?\)"),
        ("target", "log_prior", "target has no entry 'log_prior'"),
        ("transform", "log_prior(1.0", r"transform is 'log_prior\(1\.0', expected the name of an entry"),
        ("transform", "log_prior(open('x'))", "expected the name of an entry"),
        ("transform", "log_prior(tua=1.0)", r"transform log_prior has no parameter 'tua' \(did you mean 'tau'\?\); it has tau"),
        ("transform", "log_prior(1.0, 2.0)", "transform log_prior takes tau, got 2 values"),
        ("transform", "identity(1.0)", "transform identity takes no parameters, got 1 values"),
        ("transform", "no_such_module.Own(1.0)", r"no_such_module\.Own: module 'no_such_module' cannot be found"),
        ("transform", "lt_bench.strategies.slots.transforms.Own", "has no class 'Own'"),
        ("target", "lt_bench.strategies.slots.transforms.LogPrior", "no entry of this slot; expected a subclass of Target"),
        ("weight", "lt_bench.core.errors.UserError", "no entry of this slot; expected a subclass of Weighting"),
        ("transform", "log_prior(tau=much)", "transform log_prior: tau is 'much', expected float"),
        ("transform", "log_prior(99)", r"log_prior\.tau is 99, expected a number from 0 to 10"),
        ("sampler", "class_awar", r"sampler has no entry 'class_awar' \(did you mean 'class_aware'\?\)"),
        ("sampler", "class_aware(runs=2)", r"sampler class_aware has no parameter 'runs' \(did you mean 'run'\?\)"),
        ("sampler", "class_aware(2.5)", "sampler class_aware: run is 2.5, expected int"),
        ("sampler", "lt_bench.core.errors.UserError", "no entry of this slot; expected a subclass of Sampler"),
    ],
)
def test_what_a_text_cannot_mean_is_said_in_one_line(slot, text, message):
    with pytest.raises(UserError, match=message) as caught:
        entry(slot, text)
    assert "\n" not in str(caught.value)


def facts():
    generator = torch.Generator().manual_seed(0)
    return Facts(3, (7, 4, 2, 1), Head(torch.randn(4, 3, generator=generator), torch.randn(4, generator=generator)))


def composed(**slots):
    cls, given = composition.class_of(slots)
    return cls(facts(), **given).double()


def test_a_value_outside_its_range_is_named():
    with pytest.raises(UserError, match=r"log_prior\.tau is 99\.0, expected a number from 0 to 10"):
        composed(transform="log_prior(99.0)")
    with pytest.raises(UserError, match=r"smooth\.convention is 'all', expected one of torch, others"):
        composed(target="smooth(0.1, convention=all)")


def test_a_question_that_no_registered_strategy_asks():
    """The target of LOS with the margin of LDAM and logit adjustment at inference."""
    strategy = composed(target="smooth(0.98)", transform="margin(0.4)", at_inference="log_prior(1.0)")
    features, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    logits, n = strategy.logits(features).detach(), torch.tensor([7.0, 4, 2, 1], dtype=torch.float64)
    moved = logits.clone()
    moved[torch.arange(5), labels] -= 0.4 * (1 / n[labels]) ** 0.25
    expected = torch.nn.functional.cross_entropy(moved, labels, label_smoothing=0.98, reduction="none")
    torch.testing.assert_close(strategy.loss(logits, Batch(features, labels, labels)), expected)
    torch.testing.assert_close(strategy.inference_head()(features), logits - (n / n.sum()).log(), rtol=1e-9, atol=1e-9)


def test_without_slots_it_is_cross_entropy():
    strategy, plain = composed(), find("ce").load()(facts()).double()
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    batch = Batch(torch.randn(5, 3, dtype=torch.float64), labels, labels)
    assert torch.equal(strategy.loss(logits, batch), plain.loss(logits, batch))


def test_every_slot_has_an_entry_or_is_that_of_samplers():
    assert all(known(slot) for slot in TITLES)
    assert set(ATTRIBUTES) == set(TITLES)


@pytest.mark.parametrize(
    ("slot", "text", "expected"),
    [
        ("target", "smooth(0.98)", "smooth(epsilon=0.98)"),
        ("target", "smooth( epsilon = .98, convention='torch')", "smooth(epsilon=0.98)"),
        ("target", "smooth(1, others)", "smooth(epsilon=1.0, convention=others)"),
        ("transform", "log_prior", "log_prior(tau=1.0)"),
        ("sampler", "instance()", "instance"),
        ("sampler", "class_aware", "class_aware(run=4)"),
        ("sampler", "effective_number(0.99)", "effective_number(beta=0.99)"),
        ("initial_head", "lda(0.2)", "lda(shrinkage=0.2)"),
        ("transform", "my_slots.Squeeze(3)", "my_slots.Squeeze(strength=3.0)"),
        ("transform", "my_slots.Squeeze", "my_slots.Squeeze(strength=2.0)"),
        ("initial_head", "my_slots.Flat", "my_slots.Flat(bias=0.0)"),
        ("sampler", "my_slots.Turned(start=3)", "my_slots.Turned(start=3)"),
        ("sampler", "my_slots.Turned", "my_slots.Turned(start=0)"),
    ],
)
def test_one_entry_has_one_text(own_file, slot, text, expected):
    assert canonical(slot, text) == expected
    assert canonical(slot, expected) == expected


def test_entries_of_a_file_of_ones_own(own_file):
    strategy = composed(transform="my_slots.Squeeze(3)", initial_head="my_slots.Flat(0.5)", sampler="my_slots.Turned(1)")
    assert strategy.bias.tolist() == [0.5] * 4
    assert strategy.sampler == "my_slots.Turned(1)"
    logits = torch.randn(5, 4)
    assert torch.equal(strategy.transform(logits, torch.zeros(5, dtype=torch.long)), 3 * logits.tanh())
    assert not strategy.stackable, "it is written for one head"
    assert composed(transform="log_prior").stackable
    with pytest.raises(UserError, match=r"Squeeze\.strength is 10, expected a number from 0 to 9"):
        entry("transform", "my_slots.Squeeze(10)")


def test_what_slots_state_of_a_composition():
    entry_of = compose_entry()
    stated = entry_of.with_facts_of(entry_of.resolve("", None, {"sampler": "class_aware", "initial_head": "random", "trainable": "scale"}))
    assert (stated.sampler, stated.initial_head, stated.trains, stated.fitting) == ("class_aware(run=4)", "random", "scale", "sgd")
    los = find("los")
    assert los.with_facts_of(los.resolve("")) is los


def test_a_composition_that_trains_nothing_has_no_recipe():
    entry_of, given = compose_entry(), {"trainable": "none", "at_inference": "log_prior(1.0)"}
    resolved = entry_of.resolve("", None, given)
    assert set(resolved) == set(TITLES)
    stated = entry_of.with_facts_of(resolved)
    assert (stated.fitting, stated.trains) == ("none", "nothing")
    built, adjusted = composed(**given), find("logit_adjustment").load()(facts(), tau=1.0).double()
    features = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(built.inference_head()(features), adjusted.inference_head()(features))
    with pytest.raises(UserError, match="with trainable none there is no lr"):
        entry_of.resolve("", None, {**given, "lr": 0.1})


def test_an_entry_without_its_method_cannot_be_made():
    class Empty(Transform):
        pass

    with pytest.raises(TypeError, match=r"Empty.* abstract method.*__call__"):
        Empty()


@pytest.mark.parametrize("of_features", [False, True])
def test_an_initial_head_without_its_method_is_named(of_features):
    class Nothing(InitialHead):
        needs_features = of_features

    with pytest.raises(UserError, match=f"Nothing .*no {'of_features' if of_features else 'of_facts'}"):
        Nothing().of_features(None, None) if of_features else Nothing().of_facts(None, 0, "x")
