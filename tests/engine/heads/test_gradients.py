"""Gradients that are written down are those of autograd."""

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.core.processes import Processes
from lt_bench.engine.heads.gradients import Gradients, Share
from lt_bench.features.cache import Head
from lt_bench.strategies._lib.cross_entropy import CrossEntropy, constant, shift, smoothed_cross_entropy
from lt_bench.strategies._lib.tensors import linear
from lt_bench.strategies.balanced_softmax import BalancedSoftmax
from lt_bench.strategies.ce import CE
from lt_bench.strategies.contract import Batch, Facts, Strategy
from lt_bench.strategies.registry import find, strategy_names
from lt_bench.strategies.slots.classifiers import Cosine

COUNTS = (60, 41, 17, 17, 9, 4, 1)
H, B, D = 4, 9, 5


def share(features, labels):
    """A whole batch on one process."""
    return Share(Batch(features, labels, labels), labels, Processes())


def reference(logits, labels, smoothing):
    log_p = logits.log_softmax(-1)
    true = log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -(1 - smoothing) * true - smoothing * log_p.mean(-1)


@pytest.mark.parametrize(
    "smoothing", [0.0, 0.98, torch.tensor([[0.1], [0.9], [0.0]], dtype=torch.float64)], ids=["none", "one", "per head"]
)
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_cross_entropy_and_its_residual(smoothing, scale):
    torch.manual_seed(5)
    logits = (scale * torch.randn(3, 8, 6, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(6, (3, 8))
    expected = reference(logits, labels, smoothing)
    weight = torch.rand(3, 8, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((expected * weight).sum(), logits)
    entropy = CrossEntropy(logits.detach(), labels, smoothing)
    torch.testing.assert_close(entropy.losses, expected.detach())
    torch.testing.assert_close(entropy.residual(weight), gradient)
    torch.testing.assert_close(CrossEntropy(logits.detach(), labels, smoothing).residual(0.5), 0.5 * gradient / weight.unsqueeze(-1))
    node = smoothed_cross_entropy(logits, labels, smoothing)
    torch.testing.assert_close(node, expected)
    torch.testing.assert_close(torch.autograd.grad((node * weight).sum(), logits)[0], gradient)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, torch.tensor([[0.1], [0.9], [0.0]])], ids=["none", "one", "per head"])
def test_logits_that_may_be_overwritten_are_and_the_result_is_the_same(smoothing):
    torch.manual_seed(7)
    logits, labels = torch.randn(3, 6, 8).transpose(1, 2), torch.randint(6, (3, 8))
    apart, place = CrossEntropy(logits, labels, smoothing), logits.clone(memory_format=torch.preserve_format)
    together = CrossEntropy(place, labels, smoothing, in_place=True)
    assert torch.equal(together.losses, apart.losses)
    residual = together.residual(0.5)
    assert torch.equal(residual, apart.residual(0.5))
    assert (residual.data_ptr(), residual.stride()) == (place.data_ptr(), logits.stride())


@pytest.mark.parametrize(
    ("name", "given"),
    [("ce", True), ("los", True), ("la_loss", False), ("gcl", False), ("d_ffds", False), ("meta_sampler", False), ("lade", False)],
)
def test_logits_are_overwritten_only_where_nothing_else_looks_at_them(name, given):
    strategy = make(find(name).load())
    logits, _ = Gradients(strategy)(share(torch.randn(1, B, D, dtype=torch.float64), torch.randint(len(COUNTS), (H, B))))
    assert (logits is None) == given


def test_what_a_transform_returned_is_not_overwritten():
    class Keeps(CE):
        name = "keeps"

        @shift
        def transform(self, logits, labels):
            self.shifted = logits + 1.0
            return self.shifted

        def modulate(self, losses, batch):
            return losses * self.shifted.detach().amax(-1)

    strategy, batch = make(Keeps), share(torch.randn(1, B, D, dtype=torch.float64), torch.randint(len(COUNTS), (H, B)))
    expected = strategy.loss(strategy.logits(batch.batch.features), batch.batch).mean(-1)
    _, objective = Gradients(strategy)(batch)
    torch.testing.assert_close(objective, expected.detach())


def test_a_logit_left_out_has_no_gradient():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]])
    entropy = CrossEntropy(logits, torch.tensor([0]), 0.0)
    residual = entropy.residual()
    torch.testing.assert_close(entropy.losses, torch.tensor([1.0]).exp().add(1).log())
    assert residual[0, 2] == 0
    torch.testing.assert_close(residual.sum(-1), torch.zeros(1))


@pytest.mark.parametrize("shape", [(), (3, 1), (3, 8)], ids=["one", "per head", "per sample"])
def test_cross_entropy_gives_a_trained_smoothing_its_gradient(shape):
    torch.manual_seed(6)
    logits = torch.randn(3, 8, 6, dtype=torch.float64, requires_grad=True)
    smoothing, labels = torch.full(shape, 0.2, dtype=torch.float64, requires_grad=True), torch.randint(6, (3, 8))
    weight = torch.rand(3, 8, dtype=torch.float64)
    for found, expected in zip(
        torch.autograd.grad((smoothed_cross_entropy(logits, labels, smoothing) * weight).sum(), (logits, smoothing)),
        torch.autograd.grad((reference(logits, labels, smoothing) * weight).sum(), (logits, smoothing)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


class RowsInTheLoss(CE):
    """Its loss looks at the rows themselves, past the logits."""

    name = "rows_in_the_loss"

    def loss(self, logits, batch):
        return super().loss(logits, batch) * (1 + self.weight.square().sum((1, 2)).unsqueeze(-1))


class Tempered(BalancedSoftmax):
    """Replaces a transform that is a shift by one that is none, with a parameter of its own."""

    name = "tempered"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.temperature = torch.nn.Parameter(torch.full((self.heads, 1, 1), 1.5))

    def transform(self, logits, labels):
        return (logits + self.class_counts.log()) / self.temperature


class Decayed(CE):
    """Has a regulariser of the rows."""

    name = "decayed"

    def regulariser(self):
        return self.weight.square().sum((1, 2))


class Moved(CE):
    """Shifts its logits by labels."""

    name = "moved"

    @shift
    def transform(self, logits, labels):
        return logits + labels.unsqueeze(-1)


class Sharpened(CE):
    """Raises its losses to a power that is trained."""

    name = "sharpened"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.power = torch.nn.Parameter(torch.full((self.heads, 1), 1.5))

    def modulate(self, losses, batch):
        return losses**self.power


class OwnLogits(Sharpened):
    """The same of logits formed from scaled rows and squared features."""

    name = "own_logits"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.length = torch.nn.Parameter(torch.full((self.heads, 1), 2.0))

    def logits(self, features):
        return linear(features.square(), self.weight * self.length.unsqueeze(-1), self.bias)


class WeighsSamples(CE):
    """Counts a sample by how sure it is, once as a constant and once with its gradient."""

    name = "weighs_samples"

    @constant
    def sample_weight(self, logits, batch):
        return 1 - logits.detach().softmax(-1).amax(-1)


class WeighsSamplesWithGradient(WeighsSamples):
    """The same with its gradient."""

    name = "weighs_samples_with_gradient"

    def sample_weight(self, logits, batch):
        return 1 - logits.softmax(-1).amax(-1)


class SmoothedByTraining(CE):
    """Trains one smoothing per class and head."""

    name = "smoothed_by_training"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.rate = torch.nn.Parameter(torch.randn(self.heads, facts.num_classes, generator=torch.Generator().manual_seed(1)))

    def target(self, labels):
        return self.rate.sigmoid().gather(-1, labels)


class SmoothedAndShaped(SmoothedByTraining):
    """The same, and a power of its losses, weighted by class."""

    name = "smoothed_and_shaped"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.class_weight = 1 / self.class_counts

    def modulate(self, losses, batch):
        return losses**1.5


class LengthsOfHeads(Cosine):
    """Rows brought to lengths of their heads, on squared features."""

    name = "lengths_of_heads"

    def prepare(self, class_counts):
        self.register_buffer("length", torch.linspace(0.5, 3, self.heads, dtype=torch.float64).view(-1, 1, 1))

    def row_length(self):
        return self.length

    def inputs(self, features):
        return features.square()


class Directions(SmoothedAndShaped):
    """The same of rows brought to lengths of their heads, one of them too short to be brought to any."""

    name = "directions"
    classifier = LengthsOfHeads()

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.weight.data[0, 1] = 1e-14

    def regulariser(self):
        return 0.1 * self.weight.square().sum((1, 2))


class Squashed(CE):
    """Cosines of the other form."""

    name = "squashed"
    classifier = Cosine(7.0, form="squashed")


class LengthsByTraining(LengthsOfHeads):
    """Brings rows to lengths, and scales its inputs by a factor, that are trained."""

    name = "lengths_by_training"

    def prepare(self, class_counts):
        super().prepare(class_counts)
        self.length = torch.nn.Parameter(self.length)
        self.factor = torch.nn.Parameter(torch.ones(()))

    def inputs(self, features):
        return features * self.factor


class TrainedLength(CE):
    """Rows are brought to a length that is trained."""

    name = "trained_length"
    classifier = LengthsByTraining()


class WeightedByTraining(CE):
    """Trains the weight of each class."""

    name = "weighted_by_training"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.class_weight = torch.nn.Parameter(torch.linspace(0.5, 2, facts.num_classes))


class TrainedShift(CE):
    """Marks as a shift what is trained."""

    name = "trained_shift"

    def __init__(self, facts, **given):
        super().__init__(facts, **given)
        self.offset = torch.nn.Parameter(torch.zeros(facts.num_classes))

    @shift
    def transform(self, logits, labels):
        return logits + self.offset


OWN = (
    RowsInTheLoss, Tempered, Decayed, Moved, Sharpened, OwnLogits, WeighsSamples, WeighsSamplesWithGradient, SmoothedByTraining, SmoothedAndShaped, Directions,
    Squashed, TrainedLength, WeightedByTraining,
)  # fmt: skip
FITTED = [name for name in strategy_names() if find(name).fitting == "sgd"]


def make(cls) -> Strategy:
    generator = torch.Generator().manual_seed(11)
    head = Head(torch.randn(len(COUNTS), D, generator=generator), torch.randn(len(COUNTS), generator=generator))
    strategy = cls(Facts(D, COUNTS, head, tuple(range(H)))).double()
    strategy.draws.seed((0, 1))
    return strategy


@pytest.mark.parametrize("orders", [1, 2, H])
@pytest.mark.parametrize(
    "make_class", [*[lambda n=n: find(n).load() for n in FITTED], *[lambda c=c: c for c in OWN]], ids=[*FITTED, *[c.name for c in OWN]]
)
def test_gradients_are_those_of_autograd(make_class, orders):
    strategy = make(make_class())
    torch.manual_seed(3)
    features = torch.randn(orders, B, D, dtype=torch.float64)
    labels = torch.randint(len(COUNTS), (orders, B)).repeat_interleave(H // orders, 0)
    gradients = Gradients(strategy)
    for _ in range(2):  # kept buffers hold the gradient of the step before
        strategy.draws.start(0, 0)
        logits = strategy.logits(features)
        objective = strategy.loss(logits, Batch(features, labels, labels)).sum(-1) / strategy.denominator(labels)
        statistic, penalty = strategy.batch_statistic(logits, labels), strategy.regulariser()
        objective = objective if statistic is None else objective + statistic
        trained = [p for p in strategy.parameters() if p.requires_grad]
        expected = torch.autograd.grad((objective if penalty is None else objective + penalty).sum(), trained, allow_unused=True)
        strategy.draws.start(0, 0)
        own_logits, own_objective = gradients(share(features, labels))
        if type(strategy).observe is not Strategy.observe or own_logits is not None:
            torch.testing.assert_close(own_logits, logits.detach())
        torch.testing.assert_close(own_objective, objective.detach())
        for parameter, gradient in zip(trained, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        features = features.flip(1) + 0.1


def test_a_shift_that_is_trained_is_refused():
    labels = torch.zeros(H, B, dtype=torch.long)
    with pytest.raises(UserError, match=r"transform .*leave out @shift"):
        Gradients(make(TrainedShift))(share(torch.randn(1, B, D, dtype=torch.float64), labels))


def test_what_is_written_down():
    """The gradient of an overridden loss is left to autograd, and a step that does anything of its own is not plain."""
    plain = [Gradients(make(find(name).load())) for name in ("ce", "los", "cb", "balanced_softmax", "la_loss")]
    assert all(gradients.plain for gradients in plain)
    assert Gradients(make(Moved)).plain
    for cls in (
        Tempered, Decayed, Sharpened, WeighsSamples, Directions, *(find(name).load() for name in ("focal", "vs", "cosine", "gcl", "ib", "lade")),
    ):  # fmt: skip
        gradients = Gradients(make(cls))
        assert gradients.linear
        assert gradients.written_down
        assert not gradients.plain
    assert Gradients(make(SmoothedByTraining)).written_down
    assert not Gradients(make(SmoothedByTraining)).plain
    for cls in (RowsInTheLoss, WeightedByTraining, WeighsSamplesWithGradient, find("cb_focal_sigmoid").load(), find("ffds").load()):
        assert not Gradients(make(cls)).written_down
    for cls in (OwnLogits, TrainedLength, find("lws").load()):
        assert not Gradients(make(cls)).linear


def test_of_one_head_everything_is_left_to_autograd():
    head = Head(torch.randn(len(COUNTS), D), torch.randn(len(COUNTS)))
    gradients = Gradients(CE(Facts(D, COUNTS, head)))
    assert not gradients.linear
    assert not gradients.written_down
    assert not gradients.plain


def test_a_transform_of_another_shape_is_refused_by_name():
    class Narrow(CE):
        name = "narrow"

        def transform(self, logits, labels):
            return logits.sum(-1)

    strategy = Narrow(Facts(3, (4, 3), Head(torch.zeros(2, 3), torch.zeros(2)), (0,)))
    with pytest.raises(UserError, match=r"Narrow.transform returned a tensor of shape \(1, 5\), expected .* \(1, 5, 2\)"):
        Gradients(strategy)(share(torch.randn(1, 5, 3), torch.zeros(1, 5, dtype=torch.long)))
