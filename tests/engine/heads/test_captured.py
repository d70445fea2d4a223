"""The captured way of a step does what the eager way does; here the step is only handed on, so that no GPU is needed."""

import pytest
import torch

from lt_bench.engine.heads import fit
from lt_bench.engine.heads.fit import Hardware, fit_heads
from lt_bench.engine.heads.stacks import HeadJob
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.registry import find

COUNTS = (60, 41, 17, 17, 9, 4, 1)


@pytest.mark.parametrize(
    ("name", "is_captured"), [("los", True), ("ldam_drw", True), ("d_ffds", True), ("lws", True), ("gcl", False), ("meta_sampler", False)]
)
def test_a_captured_fit_is_an_eager_fit(monkeypatch, name, is_captured):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    train = FeatureSplit("train", ("plain",), (torch.randn(len(labels), 5, generator=generator),), labels, torch.arange(len(labels)))
    head = Head(torch.randn(len(COUNTS), 5, generator=generator), torch.randn(len(COUNTS), generator=generator))
    facts, entry = Facts(5, COUNTS, head), find(name)
    chosen = entry.resolve("cifar100_lt", 100, {"epochs": 3, "batch_size": 17, "lr": 0.01})
    stack = [HeadJob(entry, chosen, repetition) for repetition in (0, 1)]
    sizes = []

    def handed_on(step):
        def run(size):
            sizes.append(size)
            step(size)

        return run

    (eager,) = fit_heads([stack], facts, train, Hardware("cpu"), dtype=torch.float64)
    monkeypatch.setattr(fit, "capture_on", lambda hardware, train: handed_on)
    (captured,) = fit_heads([stack], facts, train, Hardware("cpu"), dtype=torch.float64)
    epoch = [17] * (len(labels) // 17) + [len(labels) % 17]
    assert sizes == (epoch * 3 if is_captured else [])
    for one, other in zip(eager.strategy.parameters(), captured.strategy.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)  # learning rates on a device are float32
    assert [row["loss"] for row in captured.history[1]] == pytest.approx([row["loss"] for row in eager.history[1]], rel=1e-5)
