"""The prior that the logits of a head assume, as a power of the training frequencies."""

import pytest

from lt_bench.bench.contract.subject import problem
from lt_bench.strategies.registry import find

ON = problem((30, 12, 4), 6)


def power(name, **given):
    entry = find(name)
    cls, own = entry.class_for(entry.resolve("none", None, given))
    return cls(ON.facts, **own).prior_power()


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("joint", {}, 1),
        ("ce", {}, 1),
        ("cosine", {}, 1),
        ("crt", {}, 0),
        ("lws", {}, 0),
        ("balanced_softmax", {}, 0),
        ("la_loss", {"tau": 0.25}, 0.75),
        ("logit_adjustment", {"tau": 1.5}, -0.5),
        ("pc_softmax", {}, 0),
        ("grw", {"rho": 0.4}, 0.6),
        ("lda", {}, None),
        ("logistic", {"balance": 0.5}, 0.5),
        ("convex_la", {"tau": 1.4}, -0.4),
        ("compose", {"sampler": "square_root", "at_inference": "log_prior(0.5)"}, 0),
        ("compose", {"trainable": "none", "at_inference": "test_prior(0.25)"}, 0.25),
        ("compose", {"trainable": "none", "at_inference": "temperature"}, None),
        # a loss, a penalty, a projection or a step whose logits are no log-posterior, or of shares that nothing says
        ("los", {}, None),
        ("tau_norm", {}, None),
        ("weight_balancing", {}, None),
        ("ldam", {}, None),
        ("cb", {}, None),
        ("focal", {}, None),
        ("meta_sampler", {}, None),
        ("random_head", {}, None),
        ("ncm", {}, None),
        ("sam", {}, None),
        ("convex_la", {"epsilon": 0.5}, None),
        ("compose", {"trainable": "none", "at_inference": "test_prior(forward:50)"}, None),
        ("compose", {"trainable": "none", "at_inference": "match_prior"}, None),
        ("compose", {"weight": "deferred_inverse(1.0)"}, None),
        ("compose", {"sampler": "progressive"}, None),
        ("compose", {"trainable": "none", "initial_head": "random"}, None),
    ],
)
def test_the_slots_say_it_or_it_is_not_known(name, given, expected):
    found = power(name, **given)
    assert found is None if expected is None else found == pytest.approx(expected)
