import copy

import pytest
import torch
from torch import nn

from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.strategies.recipe import Recipe

LR, MOMENTUM, DECAY = (0.1, 0.1, 0.3, 0.1), (0.9, 0.9, 0.5, 0.0), (0.0, 0.0, 0.01, 0.1)


def heads(count=4):
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(count, 3, 2, generator=generator, dtype=torch.float64))
    bias = nn.Parameter(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    return weight, bias


def gradients(step, *parameters):
    """Deterministic gradients that depend on the parameters, so that a mistake grows."""
    for parameter in parameters:
        parameter.grad = torch.sin(parameter.detach() * (step + 1))


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_stack_steps_as_its_heads_would_alone_under_torchs_sgd(nesterov):
    weight, bias = heads()
    stacked = HeadSGD([weight, bias], Recipe(lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=nesterov), 4)
    alone = [[nn.Parameter(parameter.detach()[head].clone()) for parameter in heads()] for head in range(4)]
    singles = [
        torch.optim.SGD(
            parameters, lr=LR[head], momentum=MOMENTUM[head], weight_decay=DECAY[head], nesterov=nesterov and MOMENTUM[head] > 0
        )
        for head, parameters in enumerate(alone)
    ]
    for step, factor in enumerate((1.0, 1.0, 0.5, 0.1)):
        stacked.scale(factor)
        gradients(step, weight, bias)
        stacked.step()
        for head, optimizer in enumerate(singles):
            optimizer.param_groups[0]["lr"] = LR[head] * factor
            gradients(step, *alone[head])
            optimizer.step()
    for head in range(4):
        assert torch.allclose(weight[head], alone[head][0], rtol=0, atol=1e-14)
        assert torch.allclose(bias[head], alone[head][1], rtol=0, atol=1e-14)
    assert not torch.allclose(weight, heads()[0])


def test_equal_rates_share_a_group_and_a_block():
    weight, bias = heads()
    optimizer = HeadSGD([weight, bias], Recipe(lr=LR, momentum=MOMENTUM, weight_decay=DECAY), 4)
    assert len(optimizer.param_groups) == 3
    assert sorted(len(group["params"]) for group in optimizer.param_groups) == [2, 2, 2]
    assert len(HeadSGD([weight, bias], Recipe(), 4).param_groups[0]["params"]) == 2


def test_relative_rates():
    weight, bias = heads(2)
    start = bias.detach().clone(), weight.detach().clone()
    optimizer = HeadSGD([weight, bias], Recipe(lr=0.1, momentum=0.0, weight_decay=0.0), 2, {bias: (10.0, 0.0)})
    weight.grad, bias.grad = torch.ones_like(weight), torch.ones_like(bias)
    optimizer.step()
    assert torch.allclose(bias, start[0] - torch.tensor([[1.0], [0.0]]))
    assert torch.allclose(weight, start[1] - 0.1)


def test_frozen_parameters_stay():
    weight, bias = heads(1)
    bias.requires_grad_(False)
    before = bias.clone()
    optimizer = HeadSGD([weight, bias], Recipe(lr=1.0, weight_decay=1.0), 1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(bias, before)


def test_gradients_are_forgotten():
    weight, bias = heads(1)
    optimizer = HeadSGD([weight, bias], Recipe(lr=0.1, momentum=0.0, weight_decay=0.0), 1)
    weight.grad = torch.ones_like(weight)
    optimizer.zero_grad()
    assert weight.grad is None
    before = weight.detach().clone()
    optimizer.step()
    assert torch.equal(weight, before)


def test_state_can_be_saved_and_restored():
    weight, bias = heads()
    recipe = Recipe(lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    first = HeadSGD([weight, bias], recipe, 4)
    gradients(0, weight, bias)
    first.step()
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in (weight, bias)]
    second = HeadSGD(copies, recipe, 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in (1, 2):
        for optimizer, parameters in ((first, (weight, bias)), (second, copies)):
            gradients(step, *parameters)
            optimizer.step()
    assert torch.equal(weight, copies[0])
    assert torch.equal(bias, copies[1])
