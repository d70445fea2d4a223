"""A class that no training row is of changes nothing for the others, and is never predicted."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from lt_bench.bench.contract.subject import fit, job, problem, with_empty_class
from lt_bench.core.inference_heads import AllClasses, head_from, head_parts
from lt_bench.engine.evaluate import evaluate
from lt_bench.engine.heads.empty_classes import over_all_classes
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.engine.heads.trajectory import NormTrajectory
from lt_bench.strategies.registry import find

COUNTS = (17, 0, 9, 4, 0, 1)


@pytest.mark.parametrize(
    "name", ["maxnorm", "weight_balancing_released", "cb_focal_sigmoid", "ncm", "los", "crt", "d_ffds", "disalign", "prototype_la"]
)
def test_no_metric_of_an_evaluation_changes(name):
    on = problem()
    more = with_empty_class(on, 1)
    features = on.batch(40, torch.float64).features
    labels = torch.arange(40) % 4
    heads = [fit(where, [job(find(name))], torch.float64)[0].module() for where in (on, more)]
    counts = [where.facts.class_counts for where in (on, more)]
    one, other = (
        evaluate(head, (features,), of, count, dtype=torch.float64)
        for head, of, count in zip(heads, (labels, labels + (labels >= 1)), counts, strict=True)
    )
    assert other.scalars == pytest.approx(one.scalars, abs=1e-9, nan_ok=True)
    for key, values in one.vectors.items():
        np.testing.assert_allclose(np.delete(other.vectors[key], 1), values, atol=1e-9, err_msg=key)
    assert 1 not in other.predictions


def test_test_images_of_such_a_class_are_errors_and_nothing_is_infinite():
    more = with_empty_class(problem(), 1)
    head = fit(more, [job(find("ce"))], torch.float64)[0].module()
    labels = torch.arange(40) % 5
    features = more.batch(40, torch.float64, leave_out=1).features
    measured = evaluate(head, (features,), labels, more.facts.class_counts, dtype=torch.float64)
    assert measured.vectors["class_accuracy"][1] == 0
    assert measured.true_probability[(labels == 1).numpy()].max() == 0
    assert measured.scalars["accuracy"] == pytest.approx((measured.predictions == labels.numpy()).mean())
    assert all(np.isfinite(value) or np.isnan(value) for value in measured.scalars.values())
    assert np.isnan(measured.vectors["loma_row"][1])
    assert np.isfinite(measured.vectors["loma_row"][[0, 2, 3, 4]]).all()


@pytest.mark.parametrize("name", ["ce", "ncm", "cosine", "disalign", "prototype_la", "knn", "qda", "repair", "ensemble(knn+ncm)"])
def test_a_head_over_all_classes_is_of_its_kind_and_survives_a_file(name):
    on = with_empty_class(problem(), 2)
    head = fit(on, [job(find(name))])[0].module()
    parts = head_parts(head)
    assert parts is not None
    again, features = head_from(json.loads(json.dumps(parts[0])), parts[1]), on.batch(9, torch.float32).features
    assert torch.equal(again(features), head(features))
    assert head(features)[:, 2].eq(-torch.inf).all()


def test_a_module_of_the_users_own_is_put_among_all_classes():
    own = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    wide, features = over_all_classes(own, COUNTS), torch.rand(5, 3)
    assert isinstance(wide, AllClasses)
    assert torch.equal(wide(features)[:, [0, 2, 3, 5]], own(features))
    assert wide(features)[:, [1, 4]].eq(-torch.inf).all()
    assert over_all_classes(own, (3, 2, 1, 1)) is own


def test_the_course_of_a_fit_has_nan_for_such_a_class():
    on = with_empty_class(problem(), 1)
    (fitted,) = fit_heads([[job(find("ce"))]], on.facts, on.train, callbacks=[[NormTrajectory()]])
    norms = fitted.trajectory_arrays(0)["course/weight_norm"]
    assert norms.shape[1] == 5
    assert np.isnan(norms[:, 1]).all()
    assert np.isfinite(np.delete(norms, 1, axis=1)).all()


def test_the_facts_of_a_users_class_are_those_of_the_classes_with_rows():
    on = with_empty_class(problem(), 1)
    strategy = fit(on, [job(find("ce"))])[0].head()
    assert dataclasses.replace(strategy.facts, init_seed=0).class_counts == (17, 9, 4, 1)
