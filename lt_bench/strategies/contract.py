"""What a re-training strategy is: the slots of the unified formula, over one head or a stack of heads.

A strategy is one choice for each slot of ``l_i = w_i * kernel(T(z_i), q_i)``, ``z_i = W h_i + b`` (DESIGN.md). A subclass overrides the slots it
changes and states its facts as literal class attributes, which the registry reads without importing the file.

Shapes: H heads in the stack (1 for a single head), B samples, K classes, D feature dimensions. Everything with a leading H broadcasts over it; features may
come with a leading 1 or S that divides H, when heads share their batches.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lt_bench.core.errors import UserError
from lt_bench.engine.heads.gradients import Batch, Gradients
from lt_bench.engine.heads.replay import Capture, Replay
from lt_bench.engine.heads.sgd import HeadSGD
from lt_bench.features.cache import Head
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.cross_entropy import smoothed_cross_entropy
from lt_bench.strategies._lib.tensors import at_least_float32, linear_head, of_length, per_class, random_linear, stacked_linear
from lt_bench.strategies.noise import Draws
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
        selected_on_val: True where the defaults are our own choice, made on validation images; never called official or inferred.
        inferred: True where the formulas themselves could not be read.
        capturable: whether a step on a GPU can be captured as a CUDA graph: it neither waits for the device nor draws random numbers nor makes tensors from
            Python numbers. None leaves it to what is overridden: yes for a linear head under cross-entropy that does nothing else in a step.
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
    selected_on_val: ClassVar[bool] = False
    inferred: ClassVar[bool] = False
    capturable: ClassVar[bool | None] = None

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
        self.train_split: FeatureSource | None = None
        self.capture: Capture | None = None
        self.captured: Replay | None = None
        self.steps_of_epoch = 0
        self.solved: list[dict[str, float]] = []
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
                f"{self.name} starts from the stage-1 head and this cache has none; take a strategy that begins without one (balanced_softmax, crt, "
                "ffds, ncm, ...), train one with the backbone (lt-bench pretrain), or import a head with the features (import-features --head)"
            )
        if tuple(head.weight.shape) != (K, D) or tuple(head.bias.shape) != (K,):
            raise UserError(f"the stage-1 head has shape {tuple(head.weight.shape)}, expected ({K}, {D}) = (classes, feature dimension)")
        return head.weight.float().repeat(self.heads, 1, 1), head.bias.float().repeat(self.heads, 1)

    def inputs(self, features: Tensor) -> Tensor:
        """What ``linear_map`` is applied to (1, S or H; B; D), made of features and of nothing that is trained."""
        return features

    def row_length(self) -> Tensor | float | None:
        """The length to which the weight's rows are brought where logits are made of them, without bias: a constant, a number or (H, 1, 1). None leaves both as they are."""
        return None

    def linear_map(self) -> tuple[Tensor, Tensor | None]:
        """Weight (H, K, D) and bias (H, K), or none, as the logits are made with them."""
        length = self.row_length()
        return (self.weight, self.bias) if length is None else (of_length(self.weight, length), None)

    def logits(self, features: Tensor) -> Tensor:
        """Logits z (H, B, K) of features (1, S or H; B; D). Where they are linear in ``inputs``, override ``linear_map`` instead: fits are faster then."""
        return stacked_linear(self.inputs(features), *self.linear_map())

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """T: what the loss sees instead of the logits (..., B, K)."""
        return logits

    def smoothing(self, labels: Tensor) -> Tensor | float:
        """q: the mass spread evenly over all K classes, the true one included (torch's ``label_smoothing``); a float or broadcastable to (..., B).

        It may be made of parameters, which then get their gradient.
        """
        return 0.0

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample (..., B) of transformed logits; softmax cross-entropy with the smoothed target by default."""
        return smoothed_cross_entropy(logits, labels, self.smoothing(labels))

    def of_cross_entropy(self, losses: Tensor, labels: Tensor, features: Tensor | None) -> Tensor:
        """What becomes of ``kernel``'s losses (..., B), with its gradient: a focusing factor times them, for example. Nothing by default."""
        return losses

    def focus(self, logits: Tensor, labels: Tensor, features: Tensor | None) -> Tensor | None:
        """The part of w that depends on the sample (..., B), None for 1; ``logits`` are the transformed ones. One without gradient is marked ``constant``."""
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
        losses = self.of_cross_entropy(self.kernel(transformed, labels), labels, features)
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

    def begin(self, train: FeatureSource) -> None:
        """Called once before fitting with the training features (all views that batches come from), on every process alike."""

    def observe(self, logits: Tensor, labels: Tensor) -> None:
        """Called without gradients for every training batch, before its update, with this process's share; adds to what ``statistics`` returns."""

    def statistics(self) -> list[Tensor]:
        """Tensors gathered over the epoch that add up across processes; the engine sums them in place before ``end_epoch``."""
        return []

    def end_epoch(self, epoch: int) -> None:
        """Called after the last step of ``epoch`` (from 0), once ``statistics`` are those of all processes."""

    def solve(self, train: FeatureSource) -> None:
        """Fit without batches (``fitting = "solve"``); called once, with the same features on every process.

        An iterative solver appends one row per head to ``solved``: ``loss``, ``gradient_norm`` and ``iterations``, which the record keeps.
        """

    # ---- at inference ----------------------------------------------------------------------------------------------------------------------------

    def inference_head(self, head: int = 0) -> nn.Module:
        """Head number ``head`` as a plain module from features (B, D) to logits (B, K) that needs nothing of this suite; post-hoc adjustments folded in.

        That of ``linear_map``; override it where ``inputs`` or ``logits`` are.
        """
        weight, bias = self.linear_map()
        return linear_head(weight[head], None if bias is None else bias[head])

    def trained_parameters(self) -> int:
        """How many numbers of one head were fitted."""
        if self.fitting == "none":
            return 0
        if self.fitting == "solve":
            return sum(tensor.numel() for tensor in self.inference_head(0).state_dict().values())
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad) // self.heads

    def per_head_classifier(self, head: int = 0) -> Tensor | None:
        """Classifier directions (K, D) of the fitted head, for the analysis of norms and angles; None where there is no such matrix."""
        module = self.inference_head(head)
        return module.weight.detach() if isinstance(module, nn.Linear) else None

    def classifier_input(self, features: Tensor, head: int = 0) -> Tensor:
        """Features (B, D) as the rows of ``per_head_classifier`` meet them, before any normalisation, for the same analysis; an adapter changes them."""
        return features

    # ---- Lightning -------------------------------------------------------------------------------------------------------------------------------

    def forward(self, features: Tensor) -> Tensor:
        """Logits (H, B, K) of the heads as they are being trained."""
        return self.logits(features)

    def attach(self, train: FeatureSource, draws: Draws, capture: Capture | None = None) -> None:
        """Give the strategy the training features to draw from and its source of randomness; the engine calls it before fitting.

        ``capture`` makes a captured step of a step that takes the batch size; without it every step runs eagerly.
        """
        self.train_split, self.draws, self.capture = train, draws, capture
        self.row_labels = train.labels.repeat(len(train.views))
        self.loss_sum = torch.zeros(self.heads, dtype=torch.float64, device=train.device)

    def configure_optimizers(self) -> HeadSGD:
        """SGD with one rate per head, times ``relative_rates``."""
        self.gradients = Gradients(self, Strategy)
        if not (self.gradients.plain if self.capturable is None else self.capturable):
            self.capture = None
        network = () if self.train_split is None else self.train_split.trained
        rates = self.relative_rates()
        self.optimizer = HeadSGD(self.parameters(), self.recipe, self.heads, rates, network=network, captured=self.capture is not None)
        return self.optimizer

    def relative_rates(self) -> dict[Tensor, tuple[float, ...]]:
        """Parameters that do not learn at the recipe's rate: by what it is multiplied, one factor per head."""
        return {}

    def on_train_epoch_start(self) -> None:
        """The learning rate of the epoch."""
        self.optimizer.scale(self.recipe.factor(self.current_epoch))
        self.loss_sum.zero_()
        self.steps_of_epoch = 0
        if self.differs_by_epoch():
            self.captured = None  # what an epoch changed is not seen by an older graph

    def differs_by_epoch(self) -> bool:
        """Whether something else than the learning rate may change between epochs."""
        return type(self).end_epoch is not Strategy.end_epoch or type(self).on_train_epoch_start is not Strategy.on_train_epoch_start

    def training_step(self, order: Tensor, batch_idx: int) -> None:
        """Many optimizer steps: ``order`` (S, n) are rows of the concatenated training views in the order in which they are seen, B at a time."""
        self.draws.start(self.current_epoch, batch_idx)
        step = functools.partial(self.fit_step, optimizer=self.optimizer)
        if self.capture is not None:
            step = self.captured = self.captured or Replay(self.capture, step, order, self.recipe.batch_size)
        batches = order.split(self.recipe.batch_size, dim=1)
        for index in batches:
            step(index)
        self.steps_of_epoch += len(batches)

    def fit_step(self, index: Tensor, optimizer: HeadSGD) -> None:
        """One optimizer step on the global batch ``index`` (S, B), of which this process computes every world-size-th column."""
        self.step_on(self.batch_of(index), optimizer)

    def batch_of(self, index: Tensor) -> Batch:
        """This process's columns of the global batch ``index`` (S, B)."""
        split = self.train_split
        assert split is not None
        rank, world = self.global_rank, self.trainer.world_size
        labels = self.spread(self.row_labels.take(index))
        features = split.gather(index if world == 1 else index[:, rank::world]).to(self.dtype)
        return Batch(features, labels if world == 1 else labels[:, rank::world], labels, rank, world)

    def step_on(self, batch: Batch, optimizer: HeadSGD) -> None:
        """One optimizer step."""
        self.finish_step(batch, *self.differentiate(batch), optimizer)

    def differentiate(self, batch: Batch) -> tuple[Tensor | None, Tensor]:
        """Gradients of the batch in place; its logits and objective as ``Gradients`` returns them."""
        self.draws.share(batch.labels_of_all.shape[-1], batch.rank, batch.world)
        return self.gradients(batch)

    @torch.no_grad()
    def finish_step(self, batch: Batch, logits: Tensor | None, objective: Tensor, optimizer: HeadSGD) -> None:
        """Note what is to be known of the batch, then update."""
        self.loss_sum.add_(objective)
        if logits is not None:
            self.observe(logits, batch.labels)
        optimizer.update()
        self.project("step")

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
        """A tensor with leading S (one per batch order) repeated to a leading H; not to be written to, its heads may share their memory."""
        S = per_order.shape[0]
        return per_order if self.heads == S else per_order.unsqueeze(1).expand(S, self.heads // S, *per_order.shape[1:]).flatten(0, 1)


def check_range(strategy: str, name: str, value: float | Tensor, low: float, high: float) -> None:
    """Refuse a hyper-parameter outside [low, high].

    Raises:
        UserError: naming strategy, hyper-parameter, value and range.
    """
    for one in torch.as_tensor(value).flatten().tolist():
        if not low <= one <= high:
            raise UserError(f"{strategy}.{name} is {one}, expected a number from {low} to {high}")
