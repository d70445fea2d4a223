"""The contract: a strategy is a LightningModule that any ``Trainer`` trains, written for one head and plain numbers.

    Trainer(max_epochs=2).fit(LOS(facts), DataLoader(TensorDataset(features, labels, rows), batch_size=64))

A strategy is one choice for each slot of ``l_i = w_i * kernel(T(z_i), q_i)``, ``z_i = W h_i + b``. A class fills a slot with an entry of the vocabulary
(``strategies.slots``; ``target = Smooth("epsilon")``) or with a method of its own. ``training_step`` and torch's SGD are the definition of its fit;
``engine.heads`` fits the same heads faster, in stacks, and is tested against it.

Shapes: B samples, K classes, D feature dimensions. A class with ``stackable = True`` is written so that it also holds for a stack of H heads at once:
parameters, logits and labels then have a leading H, and a hyper-parameter that differs between heads is a tensor (H, 1).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import NormalisedLinear
from lt_bench.features.cache import FeatureSplit
from lt_bench.features.source import FeatureSource
from lt_bench.strategies._lib.tensors import at_least_float32, linear, linear_head, per_class
from lt_bench.strategies.assumed_prior import power_of_slots
from lt_bench.strategies.class_checks import SLOT_ATTRIBUTES, check_class, check_not_a_slot
from lt_bench.strategies.facts import Batch, Facts
from lt_bench.strategies.hyper import Hyperparameter, declared_in
from lt_bench.strategies.noise import Draws
from lt_bench.strategies.official import Official
from lt_bench.strategies.recipe import RECIPE_FIELDS, Recipe
from lt_bench.strategies.slots.base import Slot, assign
from lt_bench.strategies.slots.classifiers import Classifier
from lt_bench.strategies.slots.inference import AtInference
from lt_bench.strategies.slots.initial_heads import InitialHead, initial_head
from lt_bench.strategies.slots.kernels import smoothed_cross_entropy
from lt_bench.strategies.slots.projections import Projection
from lt_bench.strategies.slots.trainable import Trainable
from lt_bench.strategies.slots.weights import Weighting


class Strategy(LightningModule):
    """A classifier re-training strategy; its class attributes are literals, which the registry reads without importing the file.

    Attributes:
        name: as on the command line.
        family: which part of the field the strategy belongs to.
        paper: authors, title, venue; official code where there is one.
        sampler: how batches are drawn: a name of ``features.samplers``, or the dotted path of a sampler of one's own.
        initial_head: what the head starts from: an entry of ``strategies.slots.initial_heads``, or the dotted path of one's own.
        trains: in words, which parameters are fitted.
        fitting: ``sgd`` (batches), ``solve`` (``solve`` is called once with the training features) or ``none`` (nothing is fitted).
        stackable: whether several heads may be fitted as one stack, see above.
        reduction: ``samples`` divides the batch's sum of losses by its size, ``weights`` by the sum of class weights over it (torch's weighted mean).
        recipe: the optimisation; an instance's has its lengths in epochs of the training data, also where it is stated in steps
            (a Trainer then takes ``max_steps=strategy.recipe.iterations``).
        official: the released configurations that the hyper-parameters follow, by data set and imbalance factor; those for other data sets are called inferred.
        settings: per data set, the values that differ from the defaults.
        grid: further values that tuning tries, by hyper-parameter; an empty tuple removes the grid of a hyper-parameter.
        selected_on_val: True where the defaults are our own choice, made on validation images; never called official or inferred.
        inferred: True where the formulas themselves could not be read.
        revision: of the suite's own strategies: raised whenever their numbers change, and part of a record's identity.
        capturable: whether a step on a GPU can be captured as a CUDA graph (no waiting for the device, no random numbers, no tensors made of Python
            numbers). None decides by what is overridden: yes for a linear head under cross-entropy with nothing else in a step.
        needs_whole_batch: whether ``batch_statistic`` is defined, so that logits are gathered across processes.
        trains_on_held_out: whether the fit reads ``held_out``; entries of ``at_inference`` say so themselves.

    Args:
        facts: of the training data; ``facts.init_seed`` with several seeds makes a stack.
        hyperparameters: declared ones and fields of ``Recipe``.

    Raises:
        UserError: an unknown hyper-parameter, a value outside its range, or no stage-1 head where one is needed.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    sampler: ClassVar[Any] = "instance"
    initial_head: ClassVar[Any] = "joint"
    trains: ClassVar[str] = "weight and bias"
    fitting: ClassVar[Literal["sgd", "solve", "none"]] = "sgd"
    stackable: ClassVar[bool] = False
    reduction: Literal["samples", "weights"] = "samples"
    recipe: Recipe = Recipe()
    official: ClassVar[Official | tuple[Official, ...]] = ()
    settings: ClassVar[dict[str, dict[str, Any]]] = {}
    grid: ClassVar[dict[str, tuple[Any, ...]]] = {}
    selected_on_val: ClassVar[bool] = False
    inferred: ClassVar[bool] = False
    revision: ClassVar[int] = 1
    capturable: ClassVar[bool | None] = None
    needs_whole_batch: ClassVar[bool] = False
    trains_on_held_out: ClassVar[bool] = False
    declared: ClassVar[dict[str, Hyperparameter]] = {}

    classifier: Classifier | None = None
    trainable: Trainable | None = None
    weighting: Weighting | None = None
    projection: Projection | None = None
    at_inference: AtInference | None = None

    held_out: FeatureSource | None = None
    """Validation features that neither backbone nor head has seen, for entries of ``at_inference`` that learn from them; None where there are none."""

    weight: nn.Parameter
    bias: nn.Parameter
    class_counts: Tensor
    class_weight: Tensor | None

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        """Collect the declared hyper-parameters and refuse misspelt or shadowed slots and a missing name; ``abstract`` bases need no name.

        Raises:
            UserError: the message says, in one line, what is wrong.
        """
        super().__init_subclass__(**kwargs)
        cls.declared = declared_in(cls)
        check_class(cls, Strategy, abstract)

    def __init__(self, facts: Facts, **hyperparameters: Any) -> None:
        super().__init__()
        self.facts = facts
        self.heads = len(facts.init_seed) if isinstance(facts.init_seed, tuple) else None
        self.draws, self.source, self.solved = Draws(), None, None
        self.register_buffer("class_counts", torch.tensor(facts.class_counts, dtype=torch.float64), persistent=False)
        self.register_buffer("class_weight", None, persistent=False)
        self._take(hyperparameters)
        for attribute in SLOT_ATTRIBUTES:
            entry = getattr(type(self), attribute, None)
            if isinstance(entry, Slot):
                self._modules[attribute] = entry.bound(self)
        if self.classifier is not None:
            self._check_classifier(self.classifier)
        if self.weighting is not None:
            self.reduction = self.weighting.reduction
            self._buffers["class_weight"] = self.weighting.class_weights(0)
        if self.initial_head != "none":
            self.start_head(self.initial_parameters())

    def __setattr__(self, name: str, value: Any) -> None:
        check_not_a_slot(type(self), Strategy, name)
        if name == "class_weight" and self.weighting is not None and self.weighting.class_weights(0) is not None:
            raise UserError(f"{self.name}: weighting {self.weighting.name} sets class_weight; leave out one of them")
        super().__setattr__(name, value)

    # ---- slots of the formula ------------------------------------------------------------------------------------------------------------------

    def initial_parameters(self) -> tuple[Tensor, Tensor]:
        """The head before the first step: weight (K, D) and bias (K,), float32; zeros where ``initial_head`` is computed later, from the training features.

        Raises:
            UserError: the strategy starts from the stage-1 head and there is none, or one of the wrong shape.
        """
        start = initial_head(self.initial_head)
        if start.needs_features:
            return torch.zeros(*self.leading, self.facts.num_classes, self.facts.dim), torch.zeros(*self.leading, self.facts.num_classes)
        return self._for_each_head(lambda seed: start.of_facts(self.facts, seed, self.name))

    def logits(self, features: Tensor) -> Tensor:
        """Logits z (B, K) of features (B, D)."""
        weight, bias = self.weight, self.bias
        if self.classifier is not None:
            features, weight, bias = self.classifier.inputs(features), self.classifier.rows(weight), None
        if self.trainable is not None:
            return self.trainable.logits(features, weight, bias)
        return linear(features, weight, bias)

    def transform(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The transform T: logits (B, K) that the loss uses in place of ``logits`` (B, K)."""
        return logits

    def target(self, labels: Tensor) -> Tensor | float:
        """The target q, as the mass spread evenly over all K classes, the true one included (torch's ``label_smoothing``): a float, or (B,). It may be trained."""
        return 0.0

    def kernel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample (B,) of transformed logits (B, K); softmax cross-entropy towards ``target`` by default."""
        return smoothed_cross_entropy(logits, labels, self.target(labels))

    def modulate(self, losses: Tensor, batch: Batch) -> Tensor:
        """Modulate the kernel's losses (B,), for example by a focusing factor; the result (B,) carries the gradient."""
        return losses if self.weighting is None else self.weighting.modulate(losses, batch)

    def sample_weight(self, logits: Tensor, batch: Batch) -> Tensor | None:
        """The part of w that depends on the sample (B,), None for 1; ``logits`` (B, K) are the transformed ones. Mark an override without gradient as ``constant``."""
        return None

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """One value per sample (B,), before any reduction, of logits (B, K)."""
        transformed = self.transform(at_least_float32(logits), batch.labels)
        losses = self.modulate(self.kernel(transformed, batch.labels), batch)
        weight = self.sample_weight(transformed, batch)
        if weight is not None:
            losses = losses * weight
        if self.class_weight is not None:
            losses = losses * per_class(self.class_weight.to(losses.dtype), batch.labels)
        return losses

    def denominator(self, labels: Tensor) -> Tensor | float:
        """The divisor of the batch's sum of losses; ``labels`` (B,) are those of all processes."""
        if self.reduction == "samples" or self.class_weight is None:
            return float(labels.shape[-1])
        return per_class(self.class_weight, labels).sum(-1)

    def regulariser(self) -> Tensor | None:
        """A scalar term of the parameters alone, added once a step; it is equal on all processes."""
        return None

    def batch_statistic(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """A scalar term of the whole batch that is not a sum over samples; logits (B, K) and labels (B,) are those of all processes."""
        return None

    def project(self, after: Literal["step", "epoch"]) -> None:
        """Change the parameters after an optimizer step, or after the last step of an epoch."""
        if self.projection is not None:
            self.projection(self.weight, after)

    def relative_rates(self) -> dict[Tensor, Any]:
        """Factors of the recipe's learning rate, for parameters that learn at another rate: a float each, or (H, 1) in a stack."""
        return {} if self.trainable is None else self.trainable.relative_rates(self.weight, self.bias)

    # ---- in the course of a fit ------------------------------------------------------------------------------------------------------------------

    def begin(self, train: FeatureSource) -> None:
        """Called once before the fit with the training features (all views that batches come from), on every process alike, without gradients."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of ``epoch`` (from 0)."""

    def redraw(self, rows: Tensor) -> Tensor:
        """Return the rows (B,) to train on in place of ``rows``, v * N + i for sample i in view v; for samplers that are learned."""
        return rows

    def augment(self, batch: Batch) -> Batch:
        """Return the batch to train on in place of ``batch``: mixed or synthetic features with the same first labels. Draw random numbers from ``self.draws``."""
        return batch

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """Called without gradients for every training batch before its update; keep state across steps in buffers."""

    def before_update(self, logits: Tensor, batch: Batch) -> None:
        """Called without gradients before the update of every batch, when ``.grad`` of every parameter holds the batch's gradient."""

    def statistics(self) -> list[Tensor]:
        """Tensors gathered over an epoch that add up across processes; they are summed in place before ``end_epoch``."""
        return []

    def end_epoch(self, epoch: int) -> None:
        """Called after the last step of ``epoch`` (from 0), without gradients, when ``statistics`` are summed over all processes."""

    def sample_weights(self) -> Tensor | None:
        """Weights (N,) of the training samples for the sampler ``weighted``, asked for before every epoch."""
        return None

    def solve(self, train: FeatureSource) -> None:
        """Fit without batches (``fitting = "solve"``); called once, with the same features on every process.

        An iterative solver leaves ``solved``: its ``loss``, ``gradient_norm`` and ``iterations``, which the record keeps.
        """

    # ---- at inference: of one head ---------------------------------------------------------------------------------------------------------------

    def inference_head(self) -> nn.Module:
        """A plain module from features (B, D) to logits (B, K) that is independent of the strategy; post-hoc adjustments are folded in.

        Override it where ``logits`` is overridden.
        """
        weight, bias = self.weight.detach(), self.bias.detach()
        if self.trainable is not None:
            weight, bias = self.trainable.folded(weight, bias)
        if self.at_inference is not None:
            if self.at_inference.needs_held_out:
                self._learn_at_inference(self.at_inference, weight, bias)
            if self.at_inference.needs_train and self.source is not None:
                self.at_inference.learn_train(weight, bias, self.source)
            if self.classifier is None:
                return self.at_inference.head(weight, bias)
            weight, bias = self.at_inference.folded(weight, bias)
        if self.classifier is not None:
            return self.classifier.head(weight, None if self.at_inference is None else bias)
        return linear_head(weight, bias)

    def classifier_rows(self) -> Tensor | None:
        """Classifier directions (K, D) of the fitted head, for the analysis of norms and angles; None where there is no such matrix."""
        module = self.inference_head()
        return module.weight.detach() if isinstance(module, nn.Linear | NormalisedLinear) else None

    def classifier_input(self, features: Tensor) -> Tensor:
        """The features (B, D) that are multiplied by the rows of ``classifier_rows``, before any normalisation; differs from ``features`` where there is an adapter."""
        return features

    def prior_power(self) -> float | None:
        """Power a of the prior that the fitted head's logits assume, class shares proportional to pi^a with pi the training frequencies: 1 for the training prior, 0 for a uniform one; None where unknown.

        With it the head can be told of another prior rho: z - a log pi + log rho. By default from the slots (``strategies.assumed_prior``).
        """
        return power_of_slots(self, Strategy)

    def trained_parameters(self) -> int:
        """Number of fitted parameters of one head."""
        if self.fitting == "none":
            return 0
        if self.fitting == "solve":
            return sum(tensor.numel() for tensor in self.inference_head().state_dict().values())
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad) // (self.heads or 1)

    # ---- the plain fit: the definition, in Lightning's hooks ---------------------------------------------------------------------------------------

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the head as it is being trained."""
        return self.logits(features)

    def objective(self, logits: Tensor, batch: Batch) -> Tensor:
        """The objective of a step, a scalar."""
        value = self.loss(logits, batch).sum(-1) / self.denominator(batch.labels)
        for term in (self.batch_statistic(logits, batch.labels) if self.needs_whole_batch else None, self.regulariser()):
            value = value if term is None else value + term
        return value

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The objective of a batch (features, labels, rows).

        Raises:
            UserError: the batch has another form.
        """
        if not isinstance(batch, tuple | list) or len(batch) != 3:
            raise UserError(
                f"{self.name}: a batch has three tensors, features, labels and the number of each sample in the training set; give a loader of "
                "TensorDataset(features, labels, torch.arange(len(labels)))"
            )
        features, labels, rows = batch
        drawn = self.redraw(rows)
        if drawn is not rows:
            features, labels, rows = (
                self.training_data.gather(drawn).to(features.dtype),
                self._labels_of(drawn),
                drawn % len(self.training_data),
            )
        self._batch = self.augment(Batch(features, labels, rows))
        logits = self.logits(self._batch.features)
        value = self.objective(logits, self._batch)
        self._logits = logits.detach()
        with torch.no_grad():
            self.observe(self._logits, self._batch)
        return value

    def configure_optimizers(self) -> Any:
        """torch's SGD under the recipe; its rate changes once an epoch."""
        recipe, rates = self.recipe, self.relative_rates()
        groups = [{"params": [p], "lr": recipe.rate("lr") * float(rates.get(p, 1.0))} for p in self.parameters() if p.requires_grad]
        momentum, decay = recipe.rate("momentum"), recipe.rate("weight_decay")
        sgd = torch.optim.SGD(groups, recipe.rate("lr"), momentum, weight_decay=decay, nesterov=recipe.nesterov and momentum > 0)
        return [sgd], [LambdaLR(sgd, recipe.factor)]

    def on_fit_start(self) -> None:
        """Show the strategy the loader's training data, where it asks for them."""
        if self.heads is not None:
            raise UserError(f"{self.name}: a stack is fitted by lt_bench.fit; give a Trainer one head (an int as facts.init_seed)")
        loader: Any = self.trainer.fit_loop._data_source.instance
        cls = type(self)
        asks = any(getattr(cls, name) is not getattr(Strategy, name) for name in ("begin", "redraw", "augment")) or self._needs_features()
        if self.source is None and asks:
            features, labels, rows = (torch.cat(column) for column in zip(*loader, strict=True))
            order = rows.argsort()
            if not torch.equal(rows[order].cpu(), torch.arange(self.facts.num_samples)):
                raise UserError(
                    f"{self.name} reads the training data from the loader, which has to give every row 0 to {self.facts.num_samples - 1:,} once an epoch "
                    "(no drop_last, no sampler with replacement); or call begin_fit(train) with them before"
                )
            split = FeatureSplit("train", ("plain",), (features[order].to(self.device),), labels[order].to(self.device), rows[order])
            self.begin_fit(split)

    def on_train_epoch_start(self) -> None:
        """Restart the random numbers, and tell the strategy."""
        self.draws.start(self.current_epoch, 0)
        self.start_epoch(self.current_epoch)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the strategy see the gradients."""
        with torch.no_grad():
            self.before_update(self._logits, self._batch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Project after the update."""
        with torch.no_grad():
            self.project("step")

    def on_train_epoch_end(self) -> None:
        """Let the strategy use what it gathered."""
        with torch.no_grad():
            self.end_epoch(self.current_epoch)
            self.project("epoch")

    # ---- what the engine and slots use ---------------------------------------------------------------------------------------------------------------

    @classmethod
    def reads_held_out(cls) -> bool:
        """Whether the fit or the adjustment at inference learns from validation images."""
        return cls.trains_on_held_out or (cls.at_inference is not None and cls.at_inference.needs_held_out)

    @torch.no_grad()
    def begin_fit(self, train: FeatureSource) -> None:
        """Attach the training features, start the head from them where ``initial_head`` says so, and call ``begin``."""
        self.source = train
        if self.at_inference is not None and self.at_inference.needs_held_out:
            self._require_held_out(self.at_inference)
        if self._needs_features():
            weight, bias = initial_head(self.initial_head).of_features(train, self.facts)
            self.start_head((weight.expand(self.weight.shape).clone(), bias.expand(self.bias.shape).clone()))
        self.begin(train)

    def start_epoch(self, epoch: int) -> None:
        """Take the class weights of ``epoch``, and call ``begin_epoch``."""
        if self.weighting is not None and self.weighting.differs_by_epoch:
            self._buffers["class_weight"] = self.weighting.class_weights(epoch)
        self.begin_epoch(epoch)

    @property
    def training_data(self) -> FeatureSource:
        """The training features of the present fit."""
        assert self.source is not None, "begin_fit attaches the training features"
        return self.source

    @property
    def leading(self) -> tuple[int, ...]:
        """Leading dimensions of tensors with one entry a head: (H,), or () for one head."""
        return () if self.heads is None else (self.heads,)

    def per_head(self, tensor: Tensor) -> Tensor:
        """Repeat a tensor with one entry for each batch order (S, ...) to one for each head (H, ...); the result must not be written to. For one head, it is the tensor itself."""
        if self.heads is None or tensor.shape[0] == self.heads:
            return tensor
        S = tensor.shape[0]
        return tensor.unsqueeze(1).expand(S, self.heads // S, *tensor.shape[1:]).flatten(0, 1)

    @torch.no_grad()
    def _learn_at_inference(self, entry: AtInference, weight: Tensor, bias: Tensor) -> None:
        """Show an adjustment the logits of validation images."""
        held_out = self._require_held_out(entry)
        head = linear_head(weight, bias) if self.classifier is None else self.classifier.head(weight, None)
        logits = torch.cat([head(rows.to(weight)) for rows in held_out.view("plain").split(1 << 14)])
        entry.learn(logits, held_out.labels)

    def _require_held_out(self, entry: AtInference) -> FeatureSource:
        if self.held_out is None:
            raise UserError(
                f"{self.name}: at_inference {entry.name} learns from validation images that the backbone has not seen, and there are none here; "
                "take a cache that has them, or leave the entry out"
            )
        return self.held_out

    def _labels_of(self, rows: Tensor) -> Tensor:
        """Labels of rows v * N + i."""
        return self.training_data.labels[rows % len(self.training_data)]

    def _check_classifier(self, classifier: Classifier) -> None:
        """Refuse entries that change the rows beside a classifier that normalises them: the change would be lost in the fitted head.

        Raises:
            UserError: the message names both entries.
        """
        for entry in (self.trainable, self.at_inference):
            if entry is not None and entry.changes_rows:
                raise UserError(
                    f"{self.name}: {entry.slot} {entry.name} and classifier {classifier.name} do not go together, the classifier brings all rows to one length; "
                    "leave out one of them"
                )

    def _needs_features(self) -> bool:
        return self.initial_head != "none" and initial_head(self.initial_head).needs_features

    def _take(self, given: dict[str, Any]) -> None:
        """Set the hyper-parameters and the recipe."""
        by_name = {declared.name: declared for declared in self.declared.values()}
        unknown = [name for name in given if name not in by_name and name not in RECIPE_FIELDS]
        if unknown:
            raise UserError(f"{self.name} has no hyper-parameter {unknown[0]!r}; it has {', '.join([*by_name, *RECIPE_FIELDS])}")
        optimisation = {name: value for name, value in given.items() if name in RECIPE_FIELDS and name not in by_name}
        self.recipe = type(self).recipe.changed(optimisation).for_samples(self.facts.num_samples)
        for name, declared in by_name.items():
            value = given.get(name, declared.default)
            declared.check(self.name, value)
            assign(self, declared.attribute, value)
        self.given = given

    def _for_each_head(self, make: Any) -> tuple[Tensor, Tensor]:
        """Weight and bias of one head, or of a stack with one seed for each head."""
        if self.heads is None:
            return make(self.facts.init_seed)
        weights, biases = zip(*(make(seed) for seed in self.facts.init_seed), strict=True)  # pyright: ignore[reportGeneralTypeIssues]
        return torch.stack(weights), torch.stack(biases)

    def start_head(self, parameters: tuple[Tensor, Tensor]) -> None:
        """Make weight and bias the parameters to be fitted."""
        weight, bias = parameters
        if self.classifier is not None:
            weight, bias = self.classifier.initial(weight, bias)
        if isinstance(self._parameters.get("weight"), Tensor):
            self.weight.copy_(weight)
            self.bias.copy_(bias)
        else:
            self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias, requires_grad=self.classifier is None)
            if self.trainable is not None:
                self.trainable.freeze(self.weight, self.bias)
        if self.projection is not None:
            self.projection.begin(self.weight.detach())


__all__ = ["Batch", "Facts", "InitialHead", "Recipe", "Slot", "Strategy"]
