"""Mixed and synthetic features: what a batch becomes, and in which law."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from imblearn.over_sampling import SMOTE

from lt_bench.bench.contract.subject import build, fit, job, problem
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import NormalisedLinear, head_from, head_parts
from lt_bench.strategies.contract import Batch
from lt_bench.strategies.registry import find

COUNTS, DIM = (40, 18, 9, 5), 8


@pytest.fixture
def on():
    return problem(COUNTS, DIM)


def drawing(name, on, **changes):
    return build(find(name), on, torch.float64, [job(find(name), **changes)])


def whole(on):
    """All training samples as one batch."""
    rows = torch.arange(len(on.train))
    return Batch(on.train.view("plain").double(), on.train.labels, rows)


def test_h2t_takes_the_same_channels_of_another_sample_for_the_whole_batch(on):
    batch = whole(on)
    mixed = drawing("h2t", on, fraction=0.3, views="plain").augment(batch)
    other = (mixed.features != batch.features).any(0)
    assert int(other.sum()) == int(0.3 * DIM)
    assert torch.equal(mixed.labels, batch.labels)
    parts = mixed.features[:, other].unsqueeze(1).eq(batch.features[:, other]).all(-1)
    assert parts.any(1).all(), "the channels come from one training sample"
    assert parts.float().argmax(1).bincount().max() < len(on.train) / 4, "and each from its own"


def test_mixup_is_between_two_samples_and_their_losses(on):
    strategy, batch = drawing("feature_mixup", on, views="plain"), whole(on)
    mixed = strategy.augment(batch)
    assert mixed.share is not None
    assert mixed.other is not None
    share = float(mixed.share[0])
    assert torch.equal(mixed.share, torch.full_like(mixed.share, share))
    partners = (mixed.features - share * batch.features) / (1 - share)
    nearest = torch.cdist(partners, batch.features).min(1)
    assert nearest.values.max() < 1e-6
    logits = strategy.logits(mixed.features)
    shifted = logits + torch.tensor(COUNTS, dtype=torch.float64).log()
    expected = share * F.cross_entropy(shifted, batch.labels, reduction="none")
    expected += (1 - share) * F.cross_entropy(shifted, batch.labels[nearest.indices], reduction="none")
    torch.testing.assert_close(strategy.loss(logits, mixed), expected)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_of_a_beta_distribution(on, alpha):
    strategy, batch = drawing("feature_mixup", on, alpha=alpha), whole(on)
    shares = torch.cat([strategy._share_of_batch(batch.features) for _ in range(2000)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_the_label_of_remix_goes_to_the_rare_class(on):
    strategy = drawing("remix", on, kappa=3.0, tau=0.5)
    labels, other = (table.flatten() for table in torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
    for share in (0.1, 0.49, 0.51, 0.9):
        expected = []
        for own, theirs in zip(labels.tolist(), other.tolist(), strict=True):
            if COUNTS[own] / COUNTS[theirs] >= 3 and share < 0.5:
                expected.append(0.0)
            elif COUNTS[own] / COUNTS[theirs] <= 1 / 3 and 1 - share < 0.5:
                expected.append(1.0)
            else:
                expected.append(share)
        assert strategy.label_share(torch.full((16,), share), labels, other).tolist() == pytest.approx(expected)


def test_tailcalib_draws_have_the_mean_and_covariance_of_the_paper(on):
    strategy = drawing("tailcalib", on, k=2, alpha=0.01, power=0.5)
    h, y = F.normalize(on.train.view("plain").double(), dim=1), on.train.labels
    row = int((y == 3).nonzero()[0])
    own = F.normalize(on.train.view("plain").double()[row].sqrt(), dim=0)
    means = torch.stack([h[y == c].mean(0) for c in range(4)])
    nearest = (means - h[row].sqrt()).norm(dim=1).topk(2, largest=False).indices
    assert torch.equal(strategy._nearest[row].sort().values, nearest.sort().values)
    covariance = sum(torch.cov(h[y == int(c)].T) for c in nearest) / 2 + 0.01 + 1e-4 * torch.eye(DIM)
    draws = strategy._drawn(own.expand(40_000, -1), nearest.expand(40_000, -1))
    torch.testing.assert_close(draws.mean(0), (means[nearest].sum(0) + own) / 3, atol=5e-3, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), covariance, atol=0.05 * float(covariance.diagonal().max()), rtol=0)


def test_tailcalib_draws_as_many_as_a_class_lacks(on):
    strategy, batch = drawing("tailcalib", on, power=0.5), whole(on)
    changed = sum((strategy.augment(batch).features != batch.features).any(1).double() for _ in range(300)) / 300
    for c, count in enumerate(COUNTS):
        assert float(changed[batch.labels == c].mean()) == pytest.approx(1 - count / 40, abs=0.03)


def test_a_power_before_the_sphere_is_part_of_the_head_and_of_its_file(on):
    head = fit(on, [job(find("tailcalib"), power=0.5)])[0].module()
    features = on.batch(6, torch.float32).features
    assert isinstance(head, NormalisedLinear)
    torch.testing.assert_close(head(features), F.normalize(features.sqrt(), dim=1) @ head.weight.T)
    parts = head_parts(head)
    assert parts is not None
    assert torch.equal(head_from(*parts)(features), head(features))
    assert head_from({"kind": "normalised_linear", "squash": False}, parts[1]).power == 1, "a file from before there was a power"


def test_points_of_smote_are_those_of_imbalanced_learn(on):
    strategy = drawing("smote", on, k=4)
    h, y = on.train.view("plain").numpy(), on.train.labels.numpy()
    expected, classes = SMOTE(k_neighbors=4, random_state=strategy.facts.init_seed % 2**32).fit_resample(h, y)[:2]
    order = np.argsort(classes[len(h) :], kind="stable")
    np.testing.assert_array_equal(strategy._points, expected[len(h) :][order])
    assert strategy._number.tolist() == [0, 22, 31, 35]


def test_a_class_is_filled_up_with_its_own_points(on):
    strategy, batch = drawing("smote", on, fill=20), whole(on)
    assert strategy._number.tolist() == [0, 2, 11, 15]
    points = strategy._points.double()
    owners = torch.arange(4).repeat_interleave(strategy._number)
    filled = [strategy.augment(batch).features for _ in range(200)]
    share = sum((features != batch.features).any(1).double() for features in filled) / 200
    for c, (count, number) in enumerate(zip(COUNTS, strategy._number.tolist(), strict=True)):
        assert float(share[batch.labels == c].mean()) == pytest.approx(number / (number + count), abs=0.04)
    changed = (filled[0] != batch.features).any(1)
    assert torch.equal(owners[torch.cdist(filled[0][changed], points).argmin(1)], batch.labels[changed])


def test_a_class_of_one_sample_gets_no_points_and_the_package_is_asked_for(monkeypatch):
    strategy = drawing("smote", problem((6, 2, 1), 3))
    assert strategy._number.tolist() == [0, 4, 0]
    monkeypatch.setitem(sys.modules, "imblearn.over_sampling", None)
    with pytest.raises(UserError, match=r"smote needs the package imbalanced-learn; install lt-bench with its extra: lt-bench\[smote\]"):
        drawing("smote", problem((6, 2, 1), 3))
