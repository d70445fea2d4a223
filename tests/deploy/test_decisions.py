"""Thresholds and sets by class, against counts by NumPy and against fresh images whose classes are known."""

import numpy as np
import pytest
import torch
from torch import nn

from lt_bench.core.errors import UserError
from lt_bench.deploy.classifier import Classifier
from lt_bench.deploy.decisions import FEWEST, class_sets, thresholds
from lt_bench.deploy.fit_calibration import fit_calibration
from tests.deploy.test_calibration import HEAD, SHIFTED, TRAIN, K, drawn


def model_on(prior, N, seed):
    logits, labels, _ = drawn(prior, N, seed)
    fitted = fit_calibration(logits, labels, torch.from_numpy(TRAIN))
    return Classifier(nn.Identity(), tuple("abcde"), None, {"provenance": {"train_counts": TRAIN.tolist()}}, fitted)


@pytest.mark.parametrize("stated", [None, "uniform"])
def test_thresholds_are_the_lowest_that_reach_the_precision(stated):
    model = model_on(TRAIN / TRAIN.sum(), 3000, 1)
    model.set_prior(stated)
    labels = model.calibration.labels.numpy()
    weights = np.ones(3000) if stated is None else (1 / K / (np.bincount(labels) / 3000))[labels]
    probabilities = model.probabilities(model.calibration.logits).numpy()
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    found = thresholds(model, 0.9)

    def precision(k, least):
        chosen = (predicted == k) & (confidence >= least)
        return (weights * (labels == k))[chosen].sum() / weights[chosen].sum()

    for k in range(K):
        reached = [least for least in confidence[predicted == k] if precision(k, least) >= 0.9]
        few = (predicted == k).sum() < FEWEST
        assert bool(found.too_few[k]) == few
        assert float(found.confidence[k]) == (min(reached) if reached and not few else np.inf)
    decided = found.decided(torch.from_numpy(probabilities)).numpy()
    assert ((decided == predicted) | (decided == -1)).all()
    assert 0 < (decided == -1).mean() < 1


@pytest.mark.parametrize("shares", [HEAD, SHIFTED])
def test_sets_cover_every_class_of_fresh_images(shares):
    model = model_on(HEAD, 5000, 2)
    found = class_sets(model, 0.9)
    logits, labels, _ = drawn(shares, 20_000, 3)
    inside = found.sets(model.probabilities(logits))
    for k in range(K):
        assert float(inside[labels == k, k].double().mean()) == pytest.approx(0.9, abs=0.03)
    assert 1 <= float(inside.sum(1).double().mean()) < 3


def test_classes_with_too_few_images_are_said_and_stay_in_every_set():
    model = model_on(HEAD, 5000, 4)
    rows = torch.cat([(model.calibration.labels == k).nonzero().flatten()[: 8 if k == 4 else 99] for k in range(K)])
    few = fit_calibration(model.calibration.logits[rows], model.calibration.labels[rows], torch.from_numpy(TRAIN))
    model.calibration = few
    found = class_sets(model, 0.9)
    assert found.too_few.tolist() == [False] * 4 + [True]
    assert bool(found.sets(model.probabilities(few.logits))[:, 4].all())
    assert class_sets(model, 0.85).too_few.tolist() == [False] * 5
    with pytest.raises(UserError, match="above 0 and at most 1"):
        thresholds(model, 90)
