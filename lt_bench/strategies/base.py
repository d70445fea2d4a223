"""What a re-training strategy is: the slots of the unified formula, over one head or a stack of heads.

A strategy is one choice for each slot of ``l_i = w_i * kernel(T(z_i), q_i)``, ``z_i = W h_i + b`` (DESIGN.md). A subclass overrides the slots it
changes and states its facts as literal class attributes, which the registry reads without importing the file.

Shapes: H heads in the stack (1 for a single head), B samples, K classes, D feature dimensions. Everything with a leading H broadcasts over it; features may
come with a leading 1 or S that divides H, when heads share their batches.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lt_bench.errors import UserError
from lt_bench.features.cache import FeatureSplit, Head
from lt_bench.strategies.draws import Draws
from lt_bench.strategies.optimizer import HeadSGD
from lt_bench.strategies.recipe import Recipe, RecipeOptions


@dataclass(frozen=True)
class Facts:
    """What the data know, and all that a strategy may know of them before it is fitted.

    Attributes:
        dim: feature dimension D.
        class_counts: training images per class (K,).
        head: the stage-1 classifier, None where the cache has none.
        init_seeds: one seed per head of the stack, for randomly initialised parameters.
    """

    dim: int
    class_counts: tuple[int, ...]
    head: Head | None = None
    init_seeds: tuple[int, ...] = (0,)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_counts)


class Strategy(LightningModule):
    """A classifier re-training strategy, as a LightningModule over a stack of H heads.

    Class attributes (literals, read by the registry):
        name: as on the command line.
        family: which part of the field it belongs to.
        paper: authors, title, venue; official code where there is one.
        sampler: how batches are drawn, a name of ``features.samplers``.
        initial_head: ``joint`` starts from the stage-1 head, ``random`` from torch's default initialisation of ``nn.Linear``, ``none`` makes no head.
        trains: in words, which parameters are fitted.
        fitting: ``sgd`` (batches under the Trainer), ``solve`` (``solve`` is called once with the training features) or ``none`` (nothing is fitted).
        reduction: ``samples`` divides the batch's sum of losses by its size, ``weights`` by the sum of ``class_weight`` over it (torch's weighted mean).
        recipe: the official optimisation.
        official: data sets for which hyper-parameters are the official code's or paper's; elsewhere they are called inferred.
        settings: per data set, what differs from the defaults.
        grid: hyper-parameters and values that tuning tries.
        inferred: True where the formulas themselves could not be read.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    sampler: ClassVar[str] = "instance"
    initial_head: ClassVar[Literal["joint", "random", "none"]] = "joint"
    trains: ClassVar[str] = "weight and bias"
    fitting: ClassVar[Literal["sgd", "solve", "none"]] = "sgd"
    reduction: Literal["samples", "weights"] = "samples"
    recipe: Recipe = Recipe()
    official: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[dict[str, dict[str, Any]]] = {}
    grid: ClassVar[dict[str, tuple[Any, ...]]] = {}
    inferred: ClassVar[bool] = False

    class_counts: Tensor
    class_weight: Tensor | None

    def __init__(self, facts: Facts, **recipe: Unpack[RecipeOptions]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.facts = facts
        self.heads = len(facts.init_seeds)
        self.recipe = dataclasses.replace(type(self).recipe, **recipe)
        self.draws = Draws()
        self.register_buffer("class_counts", torch.tensor(facts.class_counts, dtype=torch.float64), persistent=False)
        self.register_buffer("class_weight", None, persistent=False)
        self.epoch_loss: list[Tensor] = []
        self.train_split: FeatureSplit | None = None
        if self.initial_head != "none":
            weight, bias = self.initial_parameters()
            self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    # ---- slots of the formula ------------------------------------------------------------------------------------------------------------------

    def initial_parameters(self) -> tuple[Tensor, Tensor]:
        """The head before the first step: weight (H, K, D) and bias (H, K), float32.

        Raises:
            UserError: the strategy starts from the stage-1 head and the cache has none, or one of the wrong shape.
        """
        K, D = self.facts.num_classes, self.facts.dim
        if self.initial_head == "random":
            return random_linear(self.facts.init_seeds, K, D)
        head = self.facts.head
        if head is None:
            raise UserError(
                f"{self.name} starts from the stage-1 head and this cache has none; import one with the features (head_weight, head_bias)"
            )
        if tuple(head.weight.shape) != (K, D) or tuple(head.bias.shape) != (K,):
            raise UserError(f"the stage-1 head has shape {tuple(head.weight.shape)}, expected ({K}, {D}) = (classes, feature dimension)")
        return head.weight.float().repeat(self.heads, 1, 1), head.bias.float().repeat(self.heads, 1)

    def logits(self, features: Tensor) -> Tensor:
        """Logits z (H, B, K) of features (1, S or H; B; D)."""
        return stacked_linear(features, self.weight, self.bias)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """T: what the loss sees instead of the logits (..., B, K)."""
        return logits

    def smoothing(self, labels: Tensor) -> Tensor | float:
        """q: the mass spread evenly over all K classes, the true one included (torch's ``label_smoothing``); a float or broadcastable to (..., B)."""
        return 0.0

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample (..., B) of transformed logits; softmax cross-entropy with the smoothed target by default."""
        return smoothed_cross_entropy(logits, labels, self.smoothing(labels))

    def focus(self, logits: Tensor, labels: Tensor, features: Tensor | None) -> Tensor | None:
        """The part of w that depends on the sample (..., B), None for 1; ``logits`` are the transformed ones."""
        return None

    def loss(self, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> Tensor:
        """One value per sample, before any reduction.

        Args:
            logits: (B, K) or a stack (H, B, K).
            labels: (B,) or (H, B), int64.
            features: (B, D) or (1, S or H; B; D); only some strategies look at them.

        Returns:
            (B,) or (H, B).
        """
        transformed = self.transform(at_least_float32(logits), labels)
        losses = self.kernel(transformed, labels)
        focus = self.focus(transformed, labels, features)
        if focus is not None:
            losses = losses * focus
        if self.class_weight is not None:
            losses = losses * per_class(self.class_weight.to(losses.dtype), labels)
        return losses

    def denominator(self, labels: Tensor) -> Tensor | float:
        """What the sum of losses over the batch with ``labels`` (..., B) is divided by: (H,), or a number. ``labels`` are those of all processes."""
        if self.reduction == "samples" or self.class_weight is None:
            return float(labels.shape[-1])
        return per_class(self.class_weight, labels).sum(-1)

    def regulariser(self) -> Tensor | None:
        """A term of the parameters alone (H,), added once a step; equal on all processes."""
        return None

    def batch_statistic(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """A term (H,) of the whole batch that is no sum over samples. It is given the logits and labels gathered from all processes."""
        return None

    needs_whole_batch: ClassVar[bool] = False
    """Whether ``batch_statistic`` is defined, so that logits are gathered across processes."""

    def project(self, after: Literal["step", "epoch"]) -> None:
        """Change the parameters after an optimizer step, or after the last step of an epoch."""

    # ---- what is gathered over an epoch ----------------------------------------------------------------------------------------------------------

    def begin(self, train: FeatureSplit) -> None:
        """Called once before fitting with the training features (all views that batches come from), on every process alike."""

    def observe(self, logits: Tensor, labels: Tensor) -> None:
        """Called without gradients for every training batch, with this process's share; adds to what ``statistics`` returns."""

    def statistics(self) -> list[Tensor]:
        """Tensors gathered over the epoch that add up across processes; the engine sums them in place before ``end_epoch``."""
        return []

    def end_epoch(self, epoch: int) -> None:
        """Called after the last step of ``epoch`` (from 0), once ``statistics`` are those of all processes."""

    def solve(self, train: FeatureSplit) -> None:
        """Fit without batches (``fitting = "solve"``); called once, with the same features on every process."""

    # ---- at inference ----------------------------------------------------------------------------------------------------------------------------

    def inference_head(self, head: int = 0) -> nn.Module:
        """Head number ``head`` as a plain module from features (B, D) to logits (B, K) that needs nothing of this suite; post-hoc adjustments folded in."""
        return linear_head(self.weight[head], self.bias[head])

    def per_head_classifier(self, head: int = 0) -> Tensor | None:
        """Classifier directions (K, D) of the fitted head, for the analysis of norms and angles; None where there is no such matrix."""
        module = self.inference_head(head)
        return module.weight.detach() if isinstance(module, nn.Linear) else None

    # ---- Lightning -------------------------------------------------------------------------------------------------------------------------------

    def forward(self, features: Tensor) -> Tensor:
        """Logits (H, B, K) of the heads as they are being trained."""
        return self.logits(features)

    def attach(self, train: FeatureSplit, draws: Draws) -> None:
        """Give the strategy the training features to draw from and its source of randomness; the engine calls it before fitting."""
        self.train_split, self.draws = train, draws

    def configure_optimizers(self) -> HeadSGD:
        """SGD with one rate per head, times ``relative_rates``."""
        return HeadSGD(self.parameters(), self.recipe, self.heads, self.relative_rates())

    def relative_rates(self) -> dict[Tensor, tuple[float, ...]]:
        """Parameters that do not learn at the recipe's rate: by what it is multiplied, one factor per head."""
        return {}

    def on_train_epoch_start(self) -> None:
        """The learning rate of the epoch."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, HeadSGD)
        optimizer.scale(self.recipe.factor(self.current_epoch))
        self.epoch_loss = []

    def training_step(self, order: Tensor, batch_idx: int) -> None:
        """Many optimizer steps: ``order`` (S, n) are rows of the concatenated training views in the order in which they are seen, B at a time."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, HeadSGD)
        self.draws.start(self.current_epoch, batch_idx)
        for start in range(0, order.shape[1], self.recipe.batch_size):
            self.fit_step(order[:, start : start + self.recipe.batch_size], optimizer)

    def fit_step(self, index: Tensor, optimizer: HeadSGD) -> None:
        """One optimizer step on the global batch ``index`` (S, B), of which this process computes every world-size-th column."""
        split = self.train_split
        assert split is not None
        rank, world = self.global_rank, self.trainer.world_size
        labels_of_all = split.labels[index % len(split)]
        local, labels = index[:, rank::world], labels_of_all[:, rank::world]
        self.draws.share(index.shape[1], rank, world)
        features = split.gather(local).to(self.dtype)
        labels = self.spread(labels)
        logits = self.logits(features)
        losses = self.loss(logits, labels, features).sum(-1)
        objective = losses * world / self.denominator(self.spread(labels_of_all))
        if self.needs_whole_batch:
            statistic = self.batch_statistic(gathered(logits, rank, world, index.shape[1]), self.spread(labels_of_all))
            objective = objective if statistic is None else objective + statistic
        self.epoch_loss.append(objective.detach() / world)
        penalty = self.regulariser()
        optimizer.zero_grad()
        total = (objective if penalty is None else objective + penalty).sum()
        total.backward() if world == 1 else self.manual_backward(total)
        with torch.no_grad():
            optimizer.step()
            self.project("step")
            self.observe(logits.detach(), labels)

    def on_train_epoch_end(self) -> None:
        """Merge what was gathered, then let the strategy use it."""
        world = self.trainer.world_size
        for tensor in self.statistics():
            if world > 1:
                torch.distributed.all_reduce(tensor)
        with torch.no_grad():
            self.end_epoch(self.current_epoch)
            self.project("epoch")

    def one_per_head(self, value: float | Tensor) -> Tensor:
        """A hyper-parameter as (H,), whether it is one number for the stack or (H, 1)."""
        return torch.as_tensor(value, dtype=torch.float64).flatten().expand(self.heads)

    def spread(self, per_order: Tensor) -> Tensor:
        """A tensor with leading S (one per batch order) repeated to a leading H."""
        return per_order if per_order.shape[0] == self.heads else per_order.repeat_interleave(self.heads // per_order.shape[0], dim=0)


def random_linear(seeds: tuple[int, ...], K: int, D: int) -> tuple[Tensor, Tensor]:
    """torch's default initialisation of ``nn.Linear(D, K)``, uniform in +-1/sqrt(D), for each seed: weight (H, K, D), bias (H, K)."""
    weights, biases = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weights.append((torch.rand(K, D, generator=generator) * 2 - 1) / D**0.5)
        biases.append((torch.rand(K, generator=generator) * 2 - 1) / D**0.5)
    return torch.stack(weights), torch.stack(biases)


def stacked_linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``features @ weight^T + bias`` for a stack.

    Args:
        features: (S, B, D), S = 1, a divisor of H, or H; heads h with equal h // (H / S) share their features.
        weight: (H, K, D).
        bias: (H, K) or None.

    Returns:
        (H, B, K).
    """
    H, K, D = weight.shape
    S, B, _ = features.shape
    if S == H:
        return (
            torch.bmm(features, weight.transpose(1, 2)) if bias is None else torch.baddbmm(bias[:, None], features, weight.transpose(1, 2))
        )
    shared = torch.bmm(features, weight.reshape(S, H // S * K, D).transpose(1, 2))  # one product for all heads of an order
    out = shared.view(S, B, H // S, K).transpose(1, 2).reshape(H, B, K)
    return out if bias is None else out + bias[:, None]


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor | float) -> Tensor:
    """-sum_k q_k log softmax(z)_k with q = (1 - s) one-hot + s / K, per sample (..., B); s is a float or broadcastable to (..., B)."""
    partition = torch.logsumexp(logits, -1)
    true = logits.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    if isinstance(smoothing, float) and smoothing == 0:
        return partition - true
    return partition - (1 - smoothing) * true - smoothing * logits.mean(-1)


def per_class(table: Tensor, labels: Tensor) -> Tensor:
    """``table[k]`` of each sample's class: a table (K,) or (H, K), labels (..., B)."""
    if table.dim() == 1:
        return table[labels]
    return table.gather(-1, labels.expand(*table.shape[:-1], labels.shape[-1]))


def at_least_float32(logits: Tensor) -> Tensor:
    """Half precision logits as float32, others as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def linear_head(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A detached ``nn.Linear`` with this weight (K, D) and bias (K,)."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)
    return module.requires_grad_(False).eval()


def gathered(logits: Tensor, rank: int, world: int, total: int) -> Tensor:
    """Logits (H, B, K) of all processes in the order of the global batch; gradients flow back to each process's share."""
    if world == 1:
        return logits
    from torch.distributed.nn.functional import all_gather  # only with processes

    size = -(-total // world)
    padded = F.pad(logits, (0, 0, 0, size - logits.shape[1]))
    pieces = torch.stack(all_gather(padded.contiguous()), dim=2)  # (H, size, world, K): column i of rank r is sample i * world + r
    return pieces.reshape(logits.shape[0], size * world, -1)[:, :total]


def check_range(strategy: str, name: str, value: float | Tensor, low: float, high: float) -> None:
    """Refuse a hyper-parameter outside [low, high].

    Raises:
        UserError: naming strategy, hyper-parameter, value and range.
    """
    for one in torch.as_tensor(value).flatten().tolist():
        if not low <= one <= high:
            raise UserError(f"{strategy}.{name} is {one}, expected a number from {low} to {high}")
