"""The prior that the logits of a head assume, as a power of the training frequencies, and what telling another one gives where the densities are known."""

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.bench.contract.subject import problem
from lt_bench.data.priors import tail_prior
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


MEANS = np.array([[0, 0], [1.5, 0], [0, 1.5]])
TAIL = np.array([9000, 3000, 1000])


@pytest.fixture(scope="module")
def gaussians():
    """Classes of known densities, N(mu, I), whose posterior is linear in the features: mu x - |mu|^2 / 2 + log prior."""
    rng = np.random.default_rng(0)

    def drawn(counts):
        labels = np.repeat(np.arange(3), counts)
        return MEANS[labels] + rng.normal(size=(len(labels), 2)), labels

    with pytest.warns(UserWarning, match="training rows are"):
        return lt.Cache.from_arrays(*drawn(TAIL), test=drawn((2000, 2000, 2000)))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("ce", {}),
        ("crt", {}),
        ("balanced_softmax", {}),
        ("la_loss", {"tau": 0.25}),
        ("pc_softmax", {}),
        ("grw", {"rho": 0.4}),
        ("logistic", {"balance": 0.5}),
        ("logit_adjustment", {"tau": 1.5}),
        ("compose", {"sampler": "square_root"}),
        ("compose", {"weight": "inverse(0.5)"}),
    ],
)
def test_fitted_logits_assume_the_prior_that_is_said(name, given, gaussians):
    taken = {"epochs": 30, "batch_size": 512, "lr": 0.5, "weight_decay": 0.0}
    trained = {key: value for key, value in taken.items() if find(name).fitting == "sgd"}
    (run,) = lt.fit(name, gaussians, **trained | given)
    intercepts = run.logits(np.zeros((1, 2)))[0] + (MEANS**2).sum(1) / 2  # a log pi + constant, where the fit is that of the densities
    slope = np.polyfit(np.log(TAIL / TAIL.sum()), intercepts, 1)[0]
    assert slope == pytest.approx(power(name, **given), abs=0.06)
    test = gaussians.split("test")
    X, y = test.view("plain").double().numpy(), test.labels.numpy()
    for imbalance, backward in ((50, False), (50, True)):
        rho = tail_prior(TAIL, imbalance, backward=backward)
        bayes = (X @ MEANS.T - (MEANS**2).sum(1) / 2 + np.log(rho)).argmax(1) == y
        best = sum(rho[k] * bayes[y == k].mean() for k in range(3))
        told = run.metrics["test"][f"accuracy_told_{'backward' if backward else 'forward'}_{imbalance}"]
        assert told == pytest.approx(best, abs=0.005)
