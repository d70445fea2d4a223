import numpy as np
import pytest

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.core.errors import UserError
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.engine.heads.trajectory import MEASURES, POINTS, NormTrajectory
from lt_bench.metrics.decomposition import NormDecomposition
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import find


def trajectory_of(name, epochs, heads=1):
    on, trajectory, entry = problem(), NormTrajectory(), find(name)
    jobs = [
        HeadJob(entry, entry.resolve("none", None, {"epochs": epochs, "batch_size": 8, "lr": 0.1 * (1 + head)}), 0) for head in range(heads)
    ]
    (fitted,) = fit_heads([jobs], on.facts, on.train, Hardware("cpu"), callbacks=[[trajectory]])
    assert fitted.trajectory is trajectory
    return on, fitted, trajectory


@pytest.mark.parametrize("name", ["crt", "caai25_inferred", "maxnorm"])  # maxnorm: projected at the end of the epoch too
def test_the_last_point_is_the_decomposition_of_the_fitted_head(name):
    on, fitted, trajectory = trajectory_of(name, 3, heads=2)
    assert trajectory.epochs == [0, 1, 2, 3]
    for number in range(2):
        arrays, head = trajectory.arrays(number), fitted.head(number)
        metric = NormDecomposition(head.classifier_rows())
        metric.update(head.classifier_input(on.train.view("plain")), on.train.labels)
        for key, value in metric.compute().items():
            np.testing.assert_allclose(arrays[f"course/{key}"][-1], value, rtol=1e-6)
    assert not np.allclose(trajectory.arrays(0)["course/weight_norm"][-1], trajectory.arrays(1)["course/weight_norm"][-1])


def test_an_adapter_moves_feature_norms_and_a_frozen_feature_does_not():
    for name, moves in (("caai25_inferred", True), ("ce", False)):
        norms = trajectory_of(name, 3)[2].arrays(0)["course/feature_norm"]
        assert (np.ptp(norms, axis=0).max() > 1e-6) == moves


def test_the_points_of_a_long_fit_are_few_and_evenly_distributed():
    _, _, trajectory = trajectory_of("ce", 91)
    assert len(trajectory.epochs) <= POINTS + 1
    assert (trajectory.epochs[0], trajectory.epochs[-1]) == (0, 91)
    assert set(np.diff(trajectory.epochs)) <= {4, 5}
    assert all(trajectory.arrays(0)[f"course/{name}"].shape == (len(trajectory.epochs), 4) for name in MEASURES)


def test_a_second_fit_begins_anew_and_a_resumed_one_goes_on():
    on, trajectory, entry = problem(), NormTrajectory(), find("ce")
    for _ in range(2):
        fit_heads([[job(entry)]], on.facts, on.train, Hardware("cpu"), callbacks=[[trajectory]])
    assert trajectory.epochs == [0, 1, 2, 3, 4, 5]
    again = NormTrajectory()
    again.load_state_dict(trajectory.state_dict())
    assert again.epochs == trajectory.epochs
    np.testing.assert_array_equal(again.arrays(0)["course/cosine"], trajectory.arrays(0)["course/cosine"])


def test_a_strategy_without_directions_is_refused(monkeypatch):
    on = problem()
    strategy = fit(on, [job(find("ce"))])[0].strategy
    monkeypatch.setattr(Strategy, "classifier_rows", lambda self: None)
    with pytest.raises(UserError, match="no matrix of classifier directions"):
        NormTrajectory().measure(strategy, 0, on.train)
