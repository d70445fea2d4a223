import pytest
import torch

from lt_bench.strategies.noise import Draws


def draw(repetitions, like, kind="normal", chunk=(0, 0), share=None, times=1):
    draws = Draws(repetitions)
    draws.start(*chunk)
    if share is not None:
        draws.share(*share)
    return [getattr(draws, kind)(like) for _ in range(times)]


def test_a_stack_draws_what_its_heads_draw_alone():
    stacked = draw((3, 5), torch.empty(4, 6, 2))[0]
    for repetition, heads in ((3, (0, 1)), (5, (2, 3))):
        alone = draw((repetition,), torch.empty(1, 6, 2))[0][0]
        for head in heads:
            assert torch.equal(stacked[head], alone)
    assert not torch.equal(stacked[0], stacked[2])


def test_processes_share_the_global_draw():
    whole = draw((0,), torch.empty(1, 7, 3), share=(7, 0, 1), times=2)
    first = draw((0,), torch.empty(1, 4, 3), share=(7, 0, 2), times=2)
    second = draw((0,), torch.empty(1, 3, 3), share=(7, 1, 2), times=2)
    for time in (0, 1):
        merged = torch.empty(1, 7, 3)
        merged[:, 0::2], merged[:, 1::2] = first[time], second[time]
        assert torch.equal(merged, whole[time])
    assert not torch.equal(whole[0], whole[1])


def test_an_empty_share_draws_nothing_and_keeps_step():
    draws = Draws((0,))
    draws.start(0, 0)
    draws.share(1, 1, 2)
    assert draws.normal(torch.empty(1, 0, 3)).shape == (1, 0, 3)
    draws.share(2, 1, 2)
    expected = draw((0,), torch.empty(1, 1, 3)), draw((0,), torch.empty(1, 2, 3))
    reference = Draws((0,))
    reference.start(0, 0)
    reference.normal(torch.empty(1, 1, 3))
    assert torch.equal(draws.normal(torch.empty(1, 1, 3))[0, 0], reference.normal(torch.empty(1, 2, 3))[0, 1])
    assert expected[0][0].shape == (1, 1, 3)


def test_epochs_and_chunks_have_their_own_streams_and_repeat():
    like = torch.empty(5, 3)
    first = draw((0,), like)[0]
    assert torch.equal(first, draw((0,), like)[0])
    assert not torch.equal(first, draw((0,), like, chunk=(1, 0))[0])
    assert not torch.equal(first, draw((0,), like, chunk=(0, 1))[0])
    assert not torch.equal(first, draw((1,), like)[0])


def test_the_kind_of_numbers():
    uniform = draw((0,), torch.empty(2000, 3), kind="uniform")[0]
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
    normal = draw((0,), torch.empty(2000, 3, dtype=torch.float64))[0]
    assert normal.dtype == torch.float64
    assert float(normal.std()) == pytest.approx(1, abs=0.04)
    assert float(normal.mean()) == pytest.approx(0, abs=0.05)
