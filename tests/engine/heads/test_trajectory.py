import numpy as np
import pytest
import torch

from lt_bench.bench.contract.subject import default, fit, problem
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware, fit_stack
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.heads.trajectory import MEASURES, POINTS, Course
from lt_bench.metrics.decomposition import NormDecomposition
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import find


def course_of(name, epochs, heads=1):
    on, course, entry = problem(heads=heads), Course(), find(name)
    jobs = [
        HeadJob(entry, entry.resolve("none", None, {"epochs": epochs, "batch_size": 8, "lr": 0.1 * (1 + head)}), 0) for head in range(heads)
    ]
    fitted = fit_stack(jobs, on.facts, on.train, Hardware("cpu"), callbacks=[course])
    return on, fitted.strategy, course


@pytest.mark.parametrize("name", ["crt", "caai25_inferred", "maxnorm"])  # maxnorm: projected at the end of the epoch too
def test_the_last_point_is_the_decomposition_of_the_fitted_head(name):
    on, strategy, course = course_of(name, 3, heads=2)
    assert course.epochs == [0, 1, 2, 3]
    for head in range(2):
        arrays = course.arrays(head)
        metric = NormDecomposition(strategy.per_head_classifier(head))
        metric.update(strategy.classifier_input(on.train.view("plain"), head), on.train.labels)
        for key, value in metric.compute().items():
            np.testing.assert_allclose(arrays[f"course/{key}"][-1], value, rtol=1e-6)
    assert not np.allclose(course.arrays(0)["course/weight_norm"][-1], course.arrays(1)["course/weight_norm"][-1])


def test_an_adapter_moves_feature_norms_and_a_frozen_feature_does_not():
    for name, moves in (("caai25_inferred", True), ("ce", False)):
        norms = course_of(name, 3)[2].arrays(0)["course/feature_norm"]
        assert (np.ptp(norms, axis=0).max() > 1e-6) == moves


def test_the_points_of_a_long_fit_are_few_and_spread():
    _, _, course = course_of("ce", 91)
    assert len(course.epochs) <= POINTS + 1
    assert (course.epochs[0], course.epochs[-1]) == (0, 91)
    assert set(np.diff(course.epochs)) <= {4, 5}
    assert all(course.arrays(0)[f"course/{name}"].shape == (len(course.epochs), 4) for name in MEASURES)


def test_a_second_fit_begins_anew_and_a_resumed_one_goes_on():
    on, course, entry = problem(), Course(), find("ce")
    for _ in range(2):
        fit_stack(default(entry), on.facts, on.train, Hardware("cpu"), callbacks=[course])
    assert course.epochs == [0, 1, 2, 3, 4, 5]
    again = Course()
    again.load_state_dict(course.state_dict())
    assert again.epochs == course.epochs
    np.testing.assert_array_equal(again.arrays(0)["course/cosine"], course.arrays(0)["course/cosine"])


def test_a_strategy_without_directions_is_refused(monkeypatch):
    on = problem()
    strategy = fit(on, default(find("ce")), torch.float32).strategy
    monkeypatch.setattr(Strategy, "per_head_classifier", lambda self, head=0: None)
    with pytest.raises(UserError, match="no matrix of classifier directions"):
        Course().measure(strategy, 0, on.train)
