import pytest
import torch

from lt_bench.engine.heads.stacks import HeadJob, batch_orders, head_bytes, pools, stack_hyperparameters, stacks
from lt_bench.strategies.registry import find


def job(repetition=0, strategy="los", **changes):
    entry = find(strategy)
    return HeadJob(entry, entry.resolve("none", None, changes), repetition)


def test_floats_may_differ_within_a_stack_and_nothing_else():
    together = [job(), job(1), job(epsilon=0.5), job(lr=0.1), job(weight_decay=0.1), job(momentum=0.5)]
    assert [len(stack) for stack in stacks(together, 100)] == [6]
    apart = [
        job(),
        job(epochs=3),
        job(batch_size=8),
        job(convention="others"),
        job(schedule="constant"),
        job(views="plain"),
        job(strategy="ce"),
    ]
    assert [len(stack) for stack in stacks(apart, 100)] == [1] * 7


def test_every_job_is_in_one_stack_ordered_by_repetition():
    jobs = [job(repetition, epsilon=epsilon) for epsilon in (0.1, 0.9) for repetition in (2, 0, 1)] + [job(strategy="ce")]
    found = stacks(jobs, 4)
    assert [len(stack) for stack in found] == [4, 2, 1]
    assert [one.repetition for one in found[0] + found[1]] == [0, 0, 1, 1, 2, 2]
    assert sorted(id(one) for stack in found for one in stack) == sorted(map(id, jobs))


def test_memory_of_a_head():
    assert head_bytes(100, 64, 128) == 4 * (4 * 100 * 64 + 6 * 128 * 100)


@pytest.mark.parametrize(
    ("repetitions", "orders"),
    [((0, 1, 2), (0, 1, 2)), ((0, 0, 0), (0,)), ((0, 0, 1, 1), (0, 1)), ((0, 0, 1), (0, 0, 1)), ((5,), (5,))],
)
def test_orders_are_shared_where_each_has_as_many_heads(repetitions, orders):
    assert batch_orders([job(repetition) for repetition in repetitions]) == orders


def test_hyperparameters_of_a_stack():
    stack = [job(epsilon=0.5, lr=0.1), job(epsilon=0.9, lr=0.2, convention="torch")]
    found = stack_hyperparameters(stack, torch.float64)
    assert torch.equal(found["epsilon"], torch.tensor([[0.5], [0.9]], dtype=torch.float64))
    assert found["lr"] == (0.1, 0.2)
    assert found["momentum"] == 0.9
    assert found["convention"] == "torch"
    assert found["milestones"] == ()


def test_stacks_that_draw_the_same_batches_are_pooled():
    def stack(strategy, *repetitions, **changes):
        return [job(repetition, strategy, **{"batch_size": 64, "epochs": 5, **changes}) for repetition in repetitions or (0, 1)]

    alike = [stack("los"), stack("ce", lr=0.5), stack("label_smoothing")]
    others = [
        stack("los", batch_size=8), stack("ce", epochs=6), stack("ce", views="plain"), stack("ce", 0), stack("crt"), stack("cosine"), stack("meta_sampler"),
        stack("ce", 0, 0, 1, 1), [job(strategy="ncm")],
    ]  # fmt: skip
    found = pools([*alike[:2], *others, alike[2]], 100)
    assert [len(pool) for pool in found] == [3] + [1] * len(others)
    assert [stack[0].entry.name for stack in found[0]] == ["los", "ce", "label_smoothing"]
    assert [len(pool) for pool in pools(alike, 4)] == [2, 1]
    assert [len(pool) for pool in pools(alike, 1)] == [1, 1, 1]
