import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.engine.arithmetic import computing
from lt_bench.engine.heads.fit import Hardware, facts_of, fit_heads
from lt_bench.engine.heads.pool import HeadFit
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import open_cache
from lt_bench.strategies.registry import find


def test_the_precision_holds_during_a_fit_and_not_after_it(small_cache, monkeypatch):
    cache, entry, seen = open_cache(small_cache), find("ce"), []
    step = HeadFit._step
    monkeypatch.setattr(
        HeadFit,
        "_step",
        lambda self, index: (seen.append(torch.get_float32_matmul_precision()), step(self, index)),
    )
    jobs = [HeadJob(entry, entry.resolve("none", None, {"epochs": 1, "batch_size": 64}), 0)]
    for matmul in ("medium", "highest"):
        fit_heads([jobs], facts_of(cache), cache.split("train"), Hardware("cpu", matmul=matmul))
    assert set(seen[:3]) == {"medium"}
    assert set(seen[3:]) == {"highest"}
    assert torch.get_float32_matmul_precision() == "highest"


def test_it_is_as_before_after_an_error():
    with pytest.raises(ValueError, match="broken"), computing("high"):
        raise ValueError("broken")
    assert torch.get_float32_matmul_precision() == "highest"


def test_no_such_precision():
    with pytest.raises(UserError, match="matmul 'low' is not one of highest, high, medium"):
        Hardware("cpu", matmul="low")  # pyright: ignore[reportArgumentType]


def test_denormal_numbers_are_zero_meanwhile_and_not_after():
    small = torch.full((8,), 1e-40)
    with computing("highest"):
        assert float((small * 1).sum()) == 0
    assert float((small * 1).sum()) > 0
