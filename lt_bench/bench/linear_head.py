"""A stage-1 head for features that bring none: multinomial logistic regression, solved to its optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from lt_bench.core.launchers import is_first_process
from lt_bench.features.cache import FeatureSplit, FittedHead

RIDGES = (1000.0, 100.0, 10.0, 1.0)
"""Strengths of the ridge to choose from, in units of the mean variance of a feature over the number of samples; 1 is a standard normal prior on the
weights of standardised features."""
FOLDS = 3
ITERATIONS = 500
ROUGH, FINE = 3e-5, 1e-6
"""Largest entry of the gradient, in the coordinates of the solver, at which a solution on the way ends, and the last one."""
CONVERGED = 1e-4
"""Norm of that gradient up to which the last solution counts as the minimum."""
WORDS = "logistic regression on the training rows"
STOPPED = "stopped before its optimum"
MANY = 50_000
"""Rows above which one fold is enough."""
HELD_NUMBERS = 1 << 26
"""Features up to which a centred copy is kept; those of larger sets are converted anew for every evaluation."""
CHUNK_NUMBERS = 1 << 22
EVERY = 10.0
"""Seconds between lines on how far a fit is."""


Tell = Callable[[str], None]


def fit_linear_head(train: FeatureSplit, val: FeatureSplit | None, num_classes: int, tell: Tell | None = None) -> FittedHead:
    """The head that minimises cross-entropy on the plain view of the training rows plus a ridge on its weight.

    The strength of the ridge falls through ``RIDGES`` for as long as that makes the cross-entropy on validation smaller, classes weighted there as in training, since
    a stage-1 head knows their frequencies. Without validation, that is the cross-entropy on held-out folds of the training rows. Every solution starts from the
    last one; those on the way are of float32 products, the last one is of float64.

    Args:
        train: the training rows.
        val: rows that may choose the ridge.
        num_classes: K.
        tell: is told how far it is, at once and every ten seconds; None for silence.
    """
    pace = _Pace(tell)
    pace.say(f"stage-1 head: {len(train):,} rows, {num_classes:,} classes")
    whole = _Rows.of(train.view("plain"), train.labels, num_classes)
    if val is not None:
        fits = [_Path(whole, replace(whole, features=val.view("plain"), labels=val.labels, _centred={}))]
        by = " chosen on validation"
    else:
        fold = _folds(train.labels)
        fits = [_Path(whole.take(fold != k), whole.take(fold == k)) for k in range(FOLDS if len(train) <= MANY else 1) if (fold == k).any()]
        by = " chosen on held-out parts of them" if fits else ""
    best, least, start = RIDGES[-1], float("inf"), None
    for strength in RIDGES if fits else ():
        loss = sum(path.advance(strength, pace) for path in fits)
        if not loss < least:
            break
        best, least, start = strength, loss, fits[0].solution
    rough = _solve(whole, best, start, torch.float32, ROUGH, pace) if val is None else start
    solution = _solve(whole, best, rough, torch.float64, FINE, pace)
    words = f"{WORDS}, ridge {best:g}{by}"
    if solution.gradient > CONVERGED:
        words += f", {STOPPED}: standardise the features"
    bias = solution.bias - solution.weight @ whole.mean
    return FittedHead(solution.weight.float(), bias.float(), words)


def fit_and_tell(train: FeatureSplit, val: FeatureSplit | None, num_classes: int) -> FittedHead:
    """The same, with how far it is on standard error, of the first process."""
    console = Console(stderr=True, quiet=not is_first_process(), markup=False, highlight=False, soft_wrap=True)
    return fit_linear_head(train, val, num_classes, console.print)


@dataclass(frozen=True)
class _Solution:
    """A head of centred features: weight (K, D) and bias (K,), float64, and the norm of the gradient there in the coordinates of the solver."""

    weight: Tensor
    bias: Tensor
    gradient: float = float("inf")


@dataclass(frozen=True)
class _Rows:
    """Rows to fit or to judge a head.

    Attributes:
        features: (N, D).
        labels: (N,).
        num_classes: K.
        mean: (D,), of all training features; it is taken off.
        variances: (D,), of their principal components.
        directions: (D, D), those components, one a column.
    """

    features: Tensor
    labels: Tensor
    num_classes: int
    mean: Tensor
    variances: Tensor = field(default_factory=lambda: torch.zeros(0))
    directions: Tensor = field(default_factory=lambda: torch.zeros(0))
    _centred: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int) -> _Rows:
        sums = (rows.double().sum(0) for rows in features.split(_step(features)))
        mean = sum(sums, torch.zeros((), dtype=torch.float64, device=features.device)) / len(features)
        rows = cls(features, labels, num_classes, mean)
        total = torch.zeros(2 * mean.shape, dtype=torch.float64, device=features.device)
        for part, _ in rows.converted(torch.float64):
            total += part.T @ part
        variances, directions = torch.linalg.eigh(total / len(features))
        return replace(rows, variances=variances.clamp_min(0), directions=directions)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: Tensor) -> _Rows:
        """Some of the rows, with the mean of all."""
        return replace(self, features=self.features[which], labels=self.labels[which], _centred={})

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Runs of centred features of this type with their labels."""
        if self.features.numel() > HELD_NUMBERS:
            return self.converted(dtype)
        if dtype not in self._centred:
            self._centred.clear()
            self._centred[dtype] = list(self.converted(dtype))
        return iter(self._centred[dtype])

    def converted(self, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """The same, converted anew."""
        step = _step(self.features)
        for rows, labels in zip(self.features.split(step), self.labels.split(step), strict=True):
            yield (rows.double() - self.mean).to(dtype), labels


class _Path:
    """Solutions on some rows under falling ridges, each judged by held-out rows."""

    def __init__(self, train: _Rows, held: _Rows) -> None:
        self.train, self.held = train, held
        self.solution: _Solution | None = None

    def advance(self, strength: float, pace: _Pace) -> float:
        """Solve with this ridge; cross-entropy (nats) on the held-out rows.

        Each class is weighted by its share of the training rows; classes without held-out rows do not count.
        """
        self.solution = _solve(self.train, strength, self.solution, torch.float32, ROUGH, pace)
        losses, weights = [], []
        counts = [torch.bincount(rows.labels, minlength=rows.num_classes).double() for rows in (self.train, self.held)]
        share = counts[0] / counts[1].clamp_min(1)
        for rows, labels in self.held.chunks(torch.float64):
            losses.append(F.cross_entropy(rows @ self.solution.weight.T + self.solution.bias, labels, reduction="none"))
            weights.append(share[labels])
        return float((torch.cat(losses) * torch.cat(weights)).sum() / torch.cat(weights).sum())


class _Pace:
    """Lines on how far the fits of a head are."""

    def __init__(self, tell: Tell | None) -> None:
        self.tell, self.began = tell, monotonic()
        self.said = self.began

    def say(self, line: str) -> None:
        """Say a line at once."""
        if self.tell is not None:
            self.said = monotonic()
            self.tell(line)

    def reaches(self, strength: float, loss: Tensor, gradient: Tensor, tolerance: float) -> None:
        """Say how near a solution is, ten seconds after the last line."""
        if self.tell is not None and monotonic() - self.said > EVERY:
            near = f"loss {float(loss):.4f}, gradient {float(gradient.abs().max()):.1e} of {tolerance:.0e}"
            self.say(f"stage-1 head: ridge {strength:g}, {near}, {monotonic() - self.began:.0f} s")


def _solve(rows: _Rows, strength: float, start: _Solution | None, dtype: torch.dtype, tolerance: float, pace: _Pace) -> _Solution:
    """The minimum by L-BFGS, with products of this type and sums in float64.

    The coordinates are those in which the ridge and a bound of the curvature are spheres: along principal components, each class by its mean p (1 - p).
    """
    ridge = max(strength * float(rows.variances.mean()) / len(rows), torch.finfo(torch.float64).tiny)
    start = _prior(rows) if start is None else start
    curvature = _curvature(rows, start).clamp_min(0.1 / len(rows)).unsqueeze(1)
    scale = torch.cat([(curvature * rows.variances + ridge).rsqrt(), curvature.rsqrt()], 1)
    free = (torch.cat([start.weight @ rows.directions, start.bias.unsqueeze(1)], 1) / scale).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free], max_iter=ITERATIONS, max_eval=2 * ITERATIONS, history_size=20, tolerance_grad=tolerance, tolerance_change=tolerance**2, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def head() -> tuple[Tensor, Tensor]:
        values = free.detach() * scale
        return values[:, :-1] @ rows.directions.T, values[:, -1]

    def objective() -> Tensor:
        weight, bias = head()
        value, of_weight, of_bias = ridge / 2 * weight.square().sum(), ridge * weight, torch.zeros_like(bias)
        for part, labels in rows.chunks(dtype):
            logits = torch.addmm(bias.to(dtype), part, weight.T.to(dtype))
            log_p = logits.log_softmax(1)
            value = value - log_p.gather(1, labels.unsqueeze(1)).sum(dtype=torch.float64) / len(rows)
            error = log_p.exp_()
            error[torch.arange(len(labels), device=labels.device), labels] -= 1
            of_weight = of_weight + (error.T @ part).double() / len(rows)
            of_bias += error.sum(0, dtype=torch.float64) / len(rows)
        free.grad = torch.cat([of_weight @ rows.directions, of_bias.unsqueeze(1)], 1) * scale
        pace.reaches(strength, value, free.grad, tolerance)
        return value

    optimizer.step(objective)
    objective()
    assert free.grad is not None
    return _Solution(*head(), float(free.grad.norm()))


def _prior(rows: _Rows) -> _Solution:
    """No weight, and the logarithms of the class shares as bias."""
    shares = torch.bincount(rows.labels, minlength=rows.num_classes).double() / len(rows)
    return _Solution(shares.new_zeros(rows.num_classes, len(rows.mean)), shares.clamp_min(1e-12).log())


def _curvature(rows: _Rows, head: _Solution) -> Tensor:
    """Mean of p (1 - p) of each class, (K,) float64."""
    total = torch.zeros_like(head.bias)
    for part, _ in rows.chunks(torch.float32):
        p = torch.addmm(head.bias.float(), part, head.weight.T.float()).softmax(1)
        total += (p * (1 - p)).sum(0, dtype=torch.float64)
    return total / len(rows)


def _folds(labels: Tensor) -> Tensor:
    """The fold (N,) of each row, the rows of a class spread evenly over them in a random order; -1 for a class of one, which no fold may hold out."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(labels.device)
    order = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    of_class = labels[order]
    fold = torch.empty_like(labels)
    fold[order] = torch.where(counts[of_class] > 1, (torch.arange(len(labels), device=labels.device) - starts[of_class]) % FOLDS, -1)
    return fold


def _step(features: Tensor) -> int:
    return max(1, CHUNK_NUMBERS // features.shape[1])
