import numpy as np
import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.metrics.decomposition import NormDecomposition


def test_by_hand():
    metric = NormDecomposition(torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]))
    metric.update(torch.tensor([[3.0, 4.0], [0.0, 5.0]]), torch.tensor([0, 0]))
    metric.update(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    got = metric.compute()
    assert got["weight_norm"].tolist() == [5, 2, 1]
    assert got["feature_norm"][:2].tolist() == [5, 2]
    assert got["cosine"][:2].tolist() == pytest.approx([(1 + 0.8) / 2, 0])
    assert got["feature_norm"][2].isnan()
    assert got["cosine"][2].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_numpy(dtype):
    rng = np.random.default_rng(0)
    n, k, d = 900, 5, 400  # more than one chunk
    features, weight, y = (
        torch.from_numpy(rng.normal(size=(n, d))).to(dtype),
        torch.from_numpy(rng.normal(size=(k, d))).to(dtype),
        rng.integers(k, size=n),
    )
    metric = NormDecomposition(weight)
    metric.update(features, torch.from_numpy(y))
    got = metric.compute()
    h, w = features.double().numpy(), weight.double().numpy()
    norms = np.sqrt((h**2).sum(1))
    cosines = (h * w[y]).sum(1) / norms / np.sqrt((w[y] ** 2).sum(1))
    np.testing.assert_allclose(got["weight_norm"], np.sqrt((w**2).sum(1)), rtol=1e-12)
    np.testing.assert_allclose(got["feature_norm"], [norms[y == c].mean() for c in range(k)], rtol=1e-12)
    np.testing.assert_allclose(got["cosine"], [cosines[y == c].mean() for c in range(k)], rtol=1e-9)


def test_the_weight_is_a_copy_and_a_zero_vector_has_cosine_zero():
    weight = torch.ones(2, 2)
    metric = NormDecomposition(weight)
    weight.zero_()
    metric.update(torch.zeros(1, 2), torch.tensor([0]))
    assert metric.compute()["weight_norm"].tolist() == pytest.approx([2**0.5, 2**0.5])
    assert metric.compute()["cosine"][0] == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(UserError, match=r"\(classes, dimension\)"):
        NormDecomposition(torch.ones(3))
    with pytest.raises(UserError, match=r"\(batch, 2\)"):
        NormDecomposition(torch.ones(3, 2)).update(torch.ones(1, 3), torch.tensor([0]))
    with pytest.raises(UserError, match=r"labels of shape \(1,\)"):
        NormDecomposition(torch.ones(3, 2)).update(torch.ones(1, 2), torch.tensor([0, 1]))
