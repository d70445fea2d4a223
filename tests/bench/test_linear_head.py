"""The stage-1 head of features: the optimum of scikit-learn, and a ridge that rows which were not fitted choose."""

import io
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lt_bench.bench import linear_head
from lt_bench.bench.linear_head import RIDGES, _folds, fit_linear_head
from lt_bench.core import activity
from lt_bench.features.cache import FeatureSplit

K, D = 6, 16
MEANS = np.random.default_rng(0).normal(size=(K, D))


def split(counts, seed, spread=1.5, scale=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts)
    features = (MEANS[labels] + spread * rng.normal(size=(labels.size, D))) * np.geomspace(1, 30, D) * scale + offset
    return FeatureSplit("train", ("plain",), (torch.from_numpy(features),), torch.from_numpy(labels), torch.arange(labels.size))


def strength(head):
    return float(re.search(r"ridge (\d+)", head.words)[1])


@pytest.mark.parametrize("with_val", [True, False])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-4, 0.0), (1e4, 1e6)])
def test_the_optimum_is_that_of_scikit_learn(with_val, scale, offset):
    train, val = split((120, 60, 30, 15, 8, 4), 1, scale=scale, offset=offset), split(20, 2, scale=scale, offset=offset)
    head = fit_linear_head(train, val if with_val else None, K)
    assert head.converged
    X, y = train.view("plain").numpy(), train.labels.numpy()
    unit = X.var(0).mean() ** 0.5  # scikit-learn's solver needs ordinary scales
    Z = (X - X.mean(0)) / unit
    probe = LogisticRegression(C=1 / strength(head), tol=1e-10, max_iter=10_000).fit(Z, y)
    logits = torch.from_numpy(X) @ head.weight.double().T + head.bias
    ours, theirs = logits.softmax(1).numpy(), probe.predict_proba(Z)
    assert np.abs(ours - theirs).max() < 2e-5 * (1 if offset == 0 else 50)  # a float32 bias beside a large offset
    assert (logits.numpy() - probe.decision_function(Z)).mean(1) == pytest.approx(np.zeros(len(y)), abs=1e-3 if offset == 0 else 0.2)


def test_noise_gets_a_strong_ridge_and_clean_classes_a_weak_one():
    for with_val in (True, False):
        noise, clean = ((split(30, 1, spread), split(20, 2, spread)) for spread in (30.0, 0.05))
        assert strength(fit_linear_head(noise[0], noise[1] if with_val else None, K)) > 1
        assert strength(fit_linear_head(clean[0], clean[1] if with_val else None, K)) == RIDGES[-1]


def test_folds_hold_out_each_class_but_not_its_only_row():
    labels = torch.tensor([0] * 9 + [1] * 4 + [2] * 2 + [3])
    fold = _folds(labels)
    assert fold[-1] == -1
    for k in range(3):
        rest = labels[fold != k]
        assert rest.unique().tolist() == [0, 1, 2, 3]
    assert torch.bincount(fold[:9]).tolist() == [3, 3, 3]
    alone = FeatureSplit("train", ("plain",), (torch.eye(3),), torch.arange(3), torch.arange(3))
    head = fit_linear_head(alone, None, 3)
    assert "chosen" not in head.words
    assert (torch.eye(3) @ head.weight.T + head.bias).argmax(1).tolist() == [0, 1, 2]


def test_a_class_without_rows_is_never_predicted():
    train = split((40, 20, 0, 10, 5, 5), 1)
    head = fit_linear_head(train, None, K)
    logits = train.view("plain").float() @ head.weight.T + head.bias
    assert 2 not in logits.argmax(1)
    assert logits.isfinite().all()


def test_it_counts_its_evaluations_and_those_to_come(monkeypatch):
    seen = []
    evaluated = linear_head._Pace.evaluated
    monkeypatch.setattr(linear_head._Pace, "evaluated", lambda pace: (evaluated(pace), seen.append((pace.work.done, pace.work.total)))[0])
    said = io.StringIO()
    monkeypatch.setattr(activity, "EVERY", 0.001)
    with activity.shown(said):
        told = linear_head.fit_and_tell(split(20, 1), split(10, 2), K)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert all(done < total for done, total in seen)
    assert seen[-1][1] <= 1.2 * seen[-1][0]
    assert re.fullmatch(r"[\d,]+ of [\d,]+ evaluations of a stage-1 head of 6 classes, 0:00:\d\d left", said.getvalue().splitlines()[-1])
    assert torch.equal(told.weight, fit_linear_head(split(20, 1), split(10, 2), K).weight)


def test_the_time_left_is_that_of_either_precision():
    now = [0.0]
    work = activity.Work("evaluations")
    pace = linear_head._Pace(work, [4, 10, 5], lambda: now[0])

    def evaluate(seconds, times):
        for _ in range(times):
            now[0] += seconds
            pace.evaluated()

    pace.begins(torch.float32)
    evaluate(1.0, 3)
    assert work.seconds_left() == 1 + 10 + 2 * 5  # one of float64 is taken for two of float32
    now[0] += 0.5
    assert work.seconds_left() == 0.5 + 10 + 2 * 5
    now[0] -= 0.5
    evaluate(1.0, 1)
    pace.begins(torch.float32)
    evaluate(1.0, 10)
    pace.begins(torch.float64)
    evaluate(3.0, 2)
    assert work.seconds_left() == 3 * 3
    evaluate(3.0, 10)  # more than usual
    assert work.seconds_left() == 3 * 3
    assert work.line().endswith(", 0:00:09 left")
    assert (work.done, work.total) == (26, 29)
