"""Adjustments at inference that are learned from validation features, or know the prior of the test."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F

from lt_bench.bench.contract.subject import problem, with_empty_class
from lt_bench.bench.planning import plan
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureSplit
from lt_bench.features.manifest import read_manifest
from lt_bench.metrics.rescaling import rescaling
from lt_bench.strategies.registry import find

COUNTS, DIM = (30, 12, 4), 6


@pytest.fixture
def on():
    return problem(COUNTS, DIM)


def held_out(on, shift=0.0):
    """Sixty validation samples of equal shares."""
    batch = on.batch(60, torch.float32)
    return FeatureSplit("val", ("plain",), (batch.features + shift,), batch.labels, torch.arange(60))


def fitted(on, text, val=None, **given):
    entry = find("compose")
    given = entry.resolve("none", None, {"trainable": "none", "at_inference": text} | given)
    return fit_heads([[HeadJob(entry, given, 0)]], on.facts, on.train, held_out=val)[0]


def untouched(on, val):
    return F.linear(val.view("plain"), on.facts.head.weight, on.facts.head.bias)


@pytest.mark.parametrize(
    ("text", "per_class", "shift"),
    [("temperature", False, False), ("bias_corrected_temperature", False, True), ("vector_scaling", True, True)],
)
def test_logits_are_rescaled_to_suit_the_validation_labels(on, text, per_class, shift):
    val = held_out(on)
    logits = untouched(on, val)
    scale, offset = rescaling(logits, val.labels, per_class=per_class, shift=shift)
    torch.testing.assert_close(fitted(on, text, val).module()(val.view("plain")), (scale * logits + offset).float(), rtol=1e-4, atol=1e-4)
    other = fitted(on, text, held_out(on, 0.5)).module()(val.view("plain"))
    assert not torch.allclose(other, (scale * logits + offset).float(), atol=1e-3)


def test_predicted_shares_are_moved_to_the_prior(on):
    val = held_out(on)
    plain = untouched(on, val).argmax(1).bincount(minlength=3)
    for text, expected in (("match_prior", (20, 20, 20)), ("match_prior(prior=(3, 2, 1))", (30, 20, 10))):
        shares = fitted(on, text, val).module()(val.view("plain")).argmax(1).bincount(minlength=3)
        assert (plain - torch.tensor(expected)).abs().sum() > 6
        assert (shares - torch.tensor(expected)).abs().max() <= 2, text
    blind = FeatureSplit("val", ("plain",), val.blocks, torch.zeros_like(val.labels), val.rows)
    heads = [fitted(on, "match_prior", one).module()(val.view("plain")) for one in (val, blind)]
    torch.testing.assert_close(*heads)


def test_a_known_test_prior_takes_the_place_of_the_training_prior(on):
    val, prior = held_out(on), torch.tensor(COUNTS) / sum(COUNTS)
    logits = untouched(on, val)
    reversed_tail = (1 / prior) / (1 / prior).sum()
    for text, rho in (
        ("test_prior", torch.full((3,), 1 / 3)),
        ("test_prior(-1)", reversed_tail),
        ("test_prior(prior=(1, 1, 2))", torch.tensor([0.25, 0.25, 0.5])),
    ):
        torch.testing.assert_close(fitted(on, text).module()(val.view("plain")), logits - prior.log() + rho.log(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fitted(on, "test_prior(1)").module()(val.view("plain")), logits)
    with pytest.raises(UserError, match="compose: prior has 2 shares, expected 3 numbers above 0"):
        fitted(on, "test_prior(prior=(1, 2))")


def test_they_go_with_any_head_that_is_trained_and_with_classes_without_rows(on):
    val = held_out(on)
    cosine = {"trainable": "", "classifier": "cosine(16)", "epochs": 2, "batch_size": 16}
    shares = fitted(on, "match_prior", val, **cosine).module()(val.view("plain")).argmax(1).bincount(minlength=3)
    assert (shares - 20).abs().max() <= 2
    with pytest.raises(UserError, match="at_inference temperature and classifier cosine do not go together"):
        fitted(on, "temperature", val, **cosine)
    more = with_empty_class(on, 1)
    wide = dataclasses.replace(held_out(on), labels=held_out(on).labels * 2 % 4)
    logits = fitted(more, "vector_scaling", wide).module()(val.view("plain"))
    assert logits[:, 1].eq(-torch.inf).all()
    assert logits[:, [0, 2, 3]].isfinite().all()


def test_without_validation_features_it_is_one_line_before_the_fit(on):
    with pytest.raises(UserError, match="compose: at_inference temperature learns from validation images that the backbone has not seen"):
        fitted(on, "temperature")


def test_a_test_prior_may_be_named_as_a_column_of_the_board_is(on):
    val, counts = held_out(on), torch.tensor(COUNTS)
    logits = untouched(on, val)
    for way, powers in (("forward", (0, -0.5, -1)), ("backward", (-1, -0.5, 0))):
        rho = 10.0 ** torch.tensor(powers)  # imbalance^(-r / (K - 1)), the classes in the order of their images
        for text in (f"test_prior({way}:10)", f"test_prior(prior={way}:10)", f'test_prior("{way}:10")'):
            found = fitted(on, text).module()(val.view("plain"))
            torch.testing.assert_close(found, logits - (counts / counts.sum()).log() + (rho / rho.sum()).log(), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"the imbalance of forward:0\.1 is below 1"):
        fitted(on, "test_prior(forward:0.1)")
    with pytest.raises(UserError, match=r"it has the power 0\.5 and a prior"):
        fitted(on, "test_prior(0.5, forward:10)")
    empty = fitted(with_empty_class(on, 1), "test_prior(backward:10)").module()(val.view("plain"))
    whole = fitted(on, "test_prior(backward:10)").module()(val.view("plain"))
    torch.testing.assert_close(empty[:, [0, 2, 3]], whole, rtol=1e-5, atol=1e-5)


def test_a_run_told_a_file_is_that_of_its_shares_wherever_the_file_lies(small_cache, tmp_path):
    manifest, entry = read_manifest(small_cache), find("compose")
    names = manifest.dataset.class_names

    def planned(prior):
        return plan(entry, manifest, {"trainable": "none", "at_inference": f"test_prior({prior})"}, [0])[0]

    shares = (6, 5, 4, 3, 1, 1)
    by_name, by_number = tmp_path / "ponds.csv", tmp_path / "deep" / "lakes.json"
    by_name.write_text("class,prior\n" + "".join(f"{name},{share}\n" for name, share in zip(names, shares, strict=True)))
    by_number.parent.mkdir()
    by_number.write_text(json.dumps({str(k): 10 * share for k, share in enumerate(shares)}))
    one, other = planned(by_name), planned(by_number)
    assert one.id == other.id == planned(f"prior={tuple(share / 20 for share in shares)}").id
    assert one.id != planned("forward:50").id != planned("forward:10").id
    assert "0.3, 0.25, 0.2, 0.15, 0.05, 0.05" in one.command
    by_name.write_text(by_name.read_text().replace(f"{names[2]},4", f"{names[2]},0"))
    with pytest.raises(UserError, match=f"gives class '{names[2]}' no share"):
        planned(by_name)
    with pytest.raises(UserError, match=r"at_inference test_prior: no such file: ponds\.csv"):
        planned("ponds.csv")
