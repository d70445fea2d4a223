"""The vocabulary: what is known of its entries without importing them, and what a text of one means."""

import subprocess
import sys

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.features.cache import Head
from lt_bench.strategies import composition
from lt_bench.strategies.contract import Batch, Facts
from lt_bench.strategies.registry import find
from lt_bench.strategies.slots.base import Slot
from lt_bench.strategies.slots.transforms import LogPrior
from lt_bench.strategies.slots.vocabulary import ATTRIBUTES, TITLES, canonical, entries, entry, known

OF_SOURCE = sorted(entries())


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
    cls, given = composition.class_of({slot: slots.get(slot, "") for slot in TITLES})
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
    assert all(known(slot) for slot in TITLES if slot != "sampler")
    assert set(ATTRIBUTES) == set(TITLES)
