import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.tensors import at_least_float32, linear_head, of_length, per_class, random_linear, stacked_linear
from lt_bench.strategies.ce import CE
from lt_bench.strategies.contract import Batch, Facts, Strategy

COUNTS, DIM = (9, 4, 1), 5


def facts(init_seed=0, head=True, shape=(3, DIM)):
    generator = torch.Generator().manual_seed(1)
    stage1 = Head(torch.randn(shape, generator=generator), torch.randn(shape[0], generator=generator)) if head else None
    return Facts(DIM, COUNTS, stage1, init_seed)


def sample(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shared", [1, 2, 3, 6])
def test_stacked_linear_is_the_linear_layer_of_each_head(shared):
    weight, bias, features = sample(6, 4, 3), sample(6, 4), sample(shared, 5, 3)
    for b in (bias, None):
        out = stacked_linear(features, weight, b)
        assert out.shape == (6, 5, 4)
        for head in range(6):
            expected = F.linear(features[head // (6 // shared)], weight[head], None if b is None else b[head])
            assert torch.allclose(out[head], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "length", [1.0, 7.0, torch.tensor([0.5, 2.0, 30.0], dtype=torch.float64).view(3, 1, 1)], ids=["unit", "one", "per head"]
)
def test_rows_of_one_length_are_torchs_normalised_ones_with_their_gradient(length):
    rows, outward = sample(3, 4, 5), sample(3, 4, 5).flip(0)
    rows[0, 1], rows[2, 2] = 0, rows[2, 2] * 1e-14  # neither has a direction
    ours, torchs = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    actual, expected = of_length(ours, length), F.normalize(torchs, dim=-1) * length
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, start, outward)[0] for value, start in ((actual, ours), (expected, torchs))))


def test_a_trained_length_gets_its_gradient():
    rows, length = sample(3, 4, 5).requires_grad_(), torch.full((3, 1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    actual = torch.autograd.grad(of_length(rows, length).cos().sum(), (rows, length))
    expected = torch.autograd.grad((F.normalize(rows, dim=-1) * length).cos().sum(), (rows, length))
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_smoothed_cross_entropy_is_torchs(smoothing):
    logits, labels = sample(7, 4) * 5, torch.tensor([0, 1, 2, 3, 0, 1, 2])
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    assert torch.allclose(smoothed_cross_entropy(logits, labels, smoothing), expected, rtol=0, atol=1e-12)
    stacked = smoothed_cross_entropy(logits.expand(2, 7, 4), labels, torch.tensor([[smoothing], [0.5]], dtype=torch.float64))
    assert torch.allclose(stacked[0], expected, rtol=0, atol=1e-12)
    assert torch.allclose(stacked[1], F.cross_entropy(logits, labels, label_smoothing=0.5, reduction="none"), rtol=0, atol=1e-12)


def test_per_class():
    table, labels = sample(2, 3), torch.tensor([[0, 2, 2, 1], [1, 1, 0, 0]])
    assert np.array_equal(per_class(table[0], labels).numpy(), table[0].numpy()[labels.numpy()])
    assert np.array_equal(per_class(table, labels).numpy(), np.take_along_axis(table.numpy(), labels.numpy(), 1))
    assert np.array_equal(per_class(table, labels[:1]).numpy(), table.numpy()[:, labels[0].numpy()])


def test_random_initialisation_is_that_of_a_linear_layer_and_belongs_to_its_seed():
    weight, bias = random_linear(3, 200, 50)
    assert weight.shape == (200, 50)
    assert bias.shape == (200,)
    bound = 50**-0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert torch.equal(random_linear(3, 200, 50)[0], weight)
    assert not torch.equal(random_linear(4, 200, 50)[0], weight)


def test_a_head_starts_from_the_stage_1_head_and_so_does_each_of_a_stack():
    on = facts()
    assert on.head is not None
    assert torch.equal(CE(on).weight, on.head.weight)
    assert torch.equal(CE(on).bias, on.head.bias)
    stack = CE(facts((0, 1)))
    assert torch.equal(stack.weight, on.head.weight.expand(2, 3, DIM))
    assert torch.equal(stack.bias, on.head.bias.expand(2, 3))


def test_no_head_and_a_head_of_the_wrong_shape():
    with pytest.raises(UserError, match="ce starts from the stage-1 head and there is none"):
        CE(facts(head=False))
    for shape in ((4, DIM), (3, DIM + 1)):
        with pytest.raises(UserError, match=r"the stage-1 head has shape .*, expected \(3, 5\) = \(classes, feature dimension\)"):
            CE(facts(shape=shape))


def test_what_is_no_head_is_one_line():
    for weight, bias, said in (
        (torch.zeros(3, DIM), None, "bias is NoneType"),
        (torch.zeros(3), torch.zeros(3), r"weight is of shape \(3,\)"),
    ):
        with pytest.raises(UserError, match=said + r", expected a tensor .* a head without bias has torch\.zeros\(K\)"):
            Head(weight, bias)


@pytest.mark.parametrize(
    "batch", [(torch.zeros(2, DIM), torch.zeros(2, dtype=torch.long)), {"x": torch.zeros(2, DIM)}, torch.zeros(3, DIM)]
)
def test_a_batch_without_row_numbers_is_one_line(batch):
    with pytest.raises(UserError, match=r"ce: a batch has three tensors, .*torch\.arange\(len\(labels\)\)"):
        CE(facts()).training_step(batch, 0)


def batch_of(labels):
    return Batch(torch.zeros(*labels.shape, DIM), labels, torch.zeros_like(labels))


def test_reduction_by_samples_and_by_weights():
    strategy = CE(facts())
    labels = torch.tensor([0, 0, 2, 1])
    assert strategy.denominator(labels) == 4
    strategy.reduction = "weights"
    assert strategy.denominator(labels) == 4
    strategy.class_weight = torch.tensor([1.0, 2.0, 3.0])
    assert strategy.denominator(labels).item() == 7
    assert strategy.denominator(torch.stack([labels, torch.full((4,), 2)])).tolist() == [7.0, 12.0]
    logits = sample(4, 3)
    total = strategy.loss(logits, batch_of(labels)).sum(-1) / strategy.denominator(labels)
    assert float(total) == pytest.approx(float(F.cross_entropy(logits, labels, weight=strategy.class_weight.double())))
    assert float(strategy.objective(logits, batch_of(labels))) == pytest.approx(float(total))


def test_the_loss_multiplies_sample_weight_and_class_weight():
    class Focused(CE):
        name = "focused"

        def sample_weight(self, logits, batch):
            return 1 - logits.softmax(-1).gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1)

    strategy = Focused(facts())
    strategy.class_weight = torch.tensor([1.0, 2.0, 3.0])
    logits, labels = sample(4, 3), torch.tensor([0, 1, 2, 2])
    p = logits.softmax(-1)[torch.arange(4), labels]
    assert torch.allclose(strategy.loss(logits, batch_of(labels)), torch.tensor([1.0, 2.0, 3.0, 3.0]) * (1 - p) * -p.log())


def test_the_inference_head_is_a_plain_frozen_linear_layer():
    strategy = CE(facts())
    with torch.no_grad():
        strategy.weight += 1
    module = strategy.inference_head()
    assert type(module) is nn.Linear
    assert not any(parameter.requires_grad for parameter in module.parameters())
    features = sample(4, DIM).float()
    assert torch.allclose(module(features), strategy(features), atol=1e-6)
    with torch.no_grad():
        strategy.weight += 1
    assert not torch.equal(module.weight, strategy.weight)  # a copy
    assert torch.equal(strategy.classifier_rows(), strategy.weight)
    assert linear_head(strategy.weight, None).bias is None


def test_half_precision_logits_are_widened():
    assert at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64


def test_per_head_repeats_orders_to_heads():
    stack = CE(facts((0, 1, 2, 3)))
    assert stack.per_head(torch.tensor([[1], [2]])).tolist() == [[1], [1], [2], [2]]
    assert stack.per_head(torch.tensor([[1], [2], [3], [4]])).tolist() == [[1], [2], [3], [4]]
    alone = torch.tensor([[1], [2]])
    assert CE(facts()).per_head(alone) is alone


def test_what_is_not_overridden_does_nothing():
    strategy = CE(facts())
    split = FeatureSplit("train", ("plain",), (torch.zeros(1, DIM),), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    before = {name: tensor.clone() for name, tensor in strategy.state_dict().items()}
    logits, batch = sample(2, 3), batch_of(torch.tensor([0, 1]))
    strategy.begin_fit(split)
    strategy.begin_epoch(0)
    strategy.observe(logits, batch)
    strategy.before_update(logits, batch)
    strategy.end_epoch(0)
    strategy.project("step")
    rows = torch.tensor([0])
    assert strategy.redraw(rows) is rows
    assert strategy.statistics() == []
    assert strategy.sample_weights() is None
    assert strategy.relative_rates() == {}
    assert strategy.regulariser() is None
    assert strategy.batch_statistic(logits, batch.labels) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in strategy.state_dict().items())
    assert issubclass(CE, Strategy)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*GPU available.*")
def test_anybodys_trainer_fits_a_strategy_as_torchs_sgd_does():
    strategy, on = CE(facts(), lr=0.3, momentum=0.8, weight_decay=0.01, epochs=2, batch_size=7), facts()
    labels = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    features = torch.randn(len(labels), DIM, generator=torch.Generator().manual_seed(2))
    batches = DataLoader(TensorDataset(features, labels, torch.arange(len(labels))), batch_size=7)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", max_epochs=2, **options).fit(strategy, batches)
    assert on.head is not None
    head = nn.Linear(DIM, 3)
    head.load_state_dict({"weight": on.head.weight, "bias": on.head.bias})
    optimizer = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.8, weight_decay=0.01)
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = 0.3 * strategy.recipe.factor(epoch)
        for rows, own in zip(features.split(7), labels.split(7), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(head(rows), own).backward()
            optimizer.step()
    torch.testing.assert_close(strategy.weight, head.weight)
    torch.testing.assert_close(strategy.bias, head.bias)


def test_a_trainer_is_given_one_head():
    stack = CE(facts((0, 1)))
    with pytest.raises(UserError, match=r"ce: a stack is fitted by .*; give a Trainer one head"):
        stack.on_fit_start()
