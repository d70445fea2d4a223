import dataclasses

import pytest

from lt_bench.backbones.imported import Recipe
from lt_bench.backbones.loading import Loaded
from lt_bench.backbones.maps import Stated
from lt_bench.backbones.registry import build_backbone
from lt_bench.core.errors import UserError
from lt_bench.features.cache import open_cache
from lt_bench.features.extraction.self_test import self_test, stage1_accuracy


@pytest.fixture
def loaded():
    return Loaded(build_backbone("resnet20", 6), Recipe("resnet20"), None, "0" * 16, True)


def test_what_the_head_gives_and_by_how_much_it_misses(make_cache, loaded, tmp_path):
    cache = open_cache(make_cache(tmp_path / "cache"))
    test, head = cache.split("test"), cache.head()
    right = (test.view("plain").double() @ head.weight.double().T + head.bias.double()).argmax(1) == test.labels
    accuracy = 100 * right.float().mean().item()
    assert stage1_accuracy(cache) == pytest.approx(accuracy)
    assert f"gives {accuracy:.2f} %" in self_test(cache, loaded)
    near = dataclasses.replace(loaded, stated=Stated("embeddings", "resnet20", accuracy - 0.5, "README"))
    assert "stated are" in self_test(cache, near)
    assert "+0.50 points" in self_test(cache, near)
    far = dataclasses.replace(loaded, stated=Stated("embeddings", "resnet20", accuracy + 5, "README"))
    with pytest.raises(UserError, match=r"a difference of -5\.00 points, more than 1; .* go on with --cache"):
        self_test(cache, far)


def test_without_a_head(make_cache, loaded, tmp_path):
    assert self_test(open_cache(make_cache(tmp_path / "cache", without=("head",))), loaded) is None
