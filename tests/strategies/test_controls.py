"""Controls: what they know, and what they cannot know."""

import numpy as np
import pytest
import torch

from lt_bench.bench.contract.subject import fit, job, problem
from lt_bench.core.errors import UserError
from lt_bench.engine.evaluate import evaluate
from lt_bench.engine.heads.fit import fit_heads
from lt_bench.strategies.registry import find

COUNTS, DIM = (40, 18, 9, 5), 6


@pytest.fixture(scope="module")
def on():
    return problem(COUNTS, DIM)


def head(on, name, **changes):
    return fit(on, [job(find(name), **changes)], torch.float64)[0].module()


def measured(on, module):
    return evaluate(module, (on.train.view("plain").double(),), on.train.labels, COUNTS, dtype=torch.float64)


@pytest.mark.parametrize("draw", [0, 1])
def test_random_scales_move_loma_and_leave_rsd_as_it_is(on, draw):
    joint, scaled = (
        measured(on, head(on, name, **more)) for name, more in (("joint", {}), ("random_scales", {"sigma": 1.0, "draw": draw}))
    )
    np.testing.assert_allclose(scaled.vectors["rsd_column"], joint.vectors["rsd_column"], rtol=1e-9)
    factor = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(draw)).exp().numpy()
    np.testing.assert_allclose(scaled.vectors["loma_column"], factor * joint.vectors["loma_column"], rtol=1e-9)


def test_no_spread_is_the_stage_1_head(on):
    rows = on.batch(20, torch.float64).features
    torch.testing.assert_close(head(on, "random_scales", sigma=0)(rows.clone()), head(on, "joint")(rows.clone()))


def test_a_random_head_does_not_know_the_stage_1_head(on):
    rows = on.batch(20, torch.float64).features
    z = head(on, "random_head")(rows.clone())
    assert float(z.abs().max()) > 0
    assert not torch.allclose(z, head(on, "joint")(rows.clone()))


@pytest.mark.parametrize("form", ["un", "l2n", "cl2n"])
def test_one_image_of_each_class_is_its_own_nearest(on, form):
    """Each class has exactly one training image at distance 0, and those images are the only references."""
    features, labels = on.train.view("plain").double(), on.train.labels
    one, other = (head(on, "ncm_one_image", features=form, draw=draw) for draw in (0, 1))
    if form == "un":
        rows = torch.stack([(features - one.weight[c] / 2).norm(dim=1).argmin() for c in range(4)])
        assert labels[rows].tolist() == [0, 1, 2, 3]
        torch.testing.assert_close(features[rows], one.weight / 2)
    else:
        nearest = one(features.clone()).max(0)
        assert nearest.values.tolist() == pytest.approx([0] * 4, abs=1e-9)
        assert labels[nearest.indices].tolist() == [0, 1, 2, 3]
    assert not torch.allclose(one(features.clone()), other(features.clone()))


def test_the_probe_of_validation_is_the_logistic_one_on_these_rows(on):
    rows = on.batch(20, torch.float64).features
    probe, logistic = (head(on, name, ridge=0.1) for name in ("val_probe", "logistic"))  # of a problem, validation is the training rows
    torch.testing.assert_close(probe(rows.clone()), logistic(rows.clone()), rtol=1e-6, atol=1e-6)


def test_without_validation_the_probe_of_validation_is_refused(on):
    with pytest.raises(UserError, match="val_probe: it trains on validation images"):
        fit_heads([[job(find("val_probe"))]], on.facts, on.train, dtype=torch.float64)
