"""A stage-1 head for features without one: multinomial logistic regression, solved to its optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic

import torch
import torch.nn.functional as F
from torch import Tensor

from lt_bench.core.activity import Work, doing
from lt_bench.features.cache import FeatureSplit, FittedHead

RIDGES = (1000.0, 100.0, 10.0, 1.0)
"""Strengths of the ridge to choose from, in units of the mean variance of a feature over the number of samples; 1 is a standard normal prior on the
weights of standardised features."""
FOLDS = 3
ITERATIONS = 500
ROUGH, CLOSE, FINE = 3e-4, 1e-5, 3e-6
"""Largest entry of the gradient, in the coordinates of the solver, at which a solution that judges a ridge ends, float32 does, and the last one."""
HISTORY = 20
"""Steps that L-BFGS remembers."""
CONVERGED = 1e-4
"""Norm of that gradient up to which the last solution counts as the minimum."""
WORDS = "logistic regression on the training rows"
MANY = 50_000
"""Rows above which one fold is enough."""
HELD_NUMBERS = 1 << 26
"""Features up to which a centred copy is kept; those of larger sets are converted anew for every evaluation."""
CHUNK_NUMBERS = 1 << 22
USUAL = (8, 16, 27, 36)
"""Evaluations that a solution under each of the ridges usually takes, and those of the last one, of either precision: for the time that is left."""
USUAL_CLOSE, USUAL_FINE = 46, 15


def fit_linear_head(train: FeatureSplit, val: FeatureSplit | None, num_classes: int, work: Work | None = None) -> FittedHead:
    """The head that minimises cross-entropy on the plain view of the training rows plus a ridge on its weight.

    The ridge falls through ``RIDGES`` as long as the cross-entropy on validation decreases; classes are weighted there as in training, since a stage-1 head knows
    their frequencies. Without validation, held-out folds of the training rows take its place. Every solution starts from the previous one; intermediate solutions
    use float32 products, the last one float64. Softmax does not determine a constant that is added to all biases: the biases of classes with rows have mean zero,
    as in scikit-learn, so that strategies which depend on the constant do not depend on the solver's path.

    Args:
        train: the training rows.
        val: rows that may choose the ridge.
        num_classes: K.
        work: receives the number of evaluations.
    """
    whole = _Rows.of(train.view("plain"), train.labels, num_classes)
    if val is not None:
        fits = [_Path(whole, replace(whole, features=val.view("plain"), labels=val.labels, _centred={}))]
        by = " chosen on validation"
    else:
        fold = _folds(train.labels)
        fits = [_Path(whole.take(fold != k), whole.take(fold == k)) for k in range(FOLDS if len(train) <= MANY else 1) if (fold == k).any()]
        by = " chosen on held-out parts of them" if fits else ""
    pace = _Pace(work or Work(""), [*(count for count in USUAL for _ in fits), USUAL_CLOSE, USUAL_FINE])
    best, least, solver = RIDGES[-1], float("inf"), None
    for strength in RIDGES if fits else ():
        loss = sum(path.advance(strength, pace) for path in fits)
        if not loss < least:
            break
        best, least, solver = strength, loss, fits[0].solver
    pace.ahead = [USUAL_CLOSE, USUAL_FINE]
    if val is None or solver is None:
        solver = _Solver(whole, best, None if solver is None else solver.solution)
    solver.solve(torch.float32, CLOSE, pace)
    solution = solver.solve(torch.float64, FINE, pace)
    converged = solution.gradient <= CONVERGED
    words = f"{WORDS}, ridge {best:g}{by}" + ("" if converged else ", stopped before its optimum: standardise the features")
    bias = solution.bias - solution.weight @ whole.mean
    bias = bias - bias[torch.bincount(whole.labels, minlength=num_classes) > 0].mean()
    return FittedHead(solution.weight.float(), bias.float(), words, converged)


def fit_and_tell(train: FeatureSplit, val: FeatureSplit | None, num_classes: int) -> FittedHead:
    """Fit the head of ``fit_linear_head``, and show the progress and the time left in a command."""
    with doing(f"evaluations of a stage-1 head of {num_classes:,} classes") as work:
        return fit_linear_head(train, val, num_classes, work)


@dataclass(frozen=True)
class _Solution:
    """A head of centred features: weight (K, D) and bias (K,), float64, and the gradient norm at this solution in the solver's coordinates."""

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
        mean: (D,), of all training features, subtracted from the features.
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
        """The selected rows, centred by the mean of all rows."""
        return replace(self, features=self.features[which], labels=self.labels[which], _centred={})

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of centred features of type ``dtype`` with their labels."""
        if self.features.numel() > HELD_NUMBERS:
            return self.converted(dtype)
        if dtype not in self._centred:
            self._centred.clear()
            self._centred[dtype] = list(self.converted(dtype))
        return iter(self._centred[dtype])

    def converted(self, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of ``chunks``, converted anew."""
        step = _step(self.features, self.num_classes)
        for rows, labels in zip(self.features.split(step), self.labels.split(step), strict=True):
            yield (rows.double() - self.mean).to(dtype), labels


class _Path:
    """Solutions on some rows under falling ridges, each judged by held-out rows."""

    def __init__(self, train: _Rows, held: _Rows) -> None:
        self.train, self.held = train, held
        self.solver: _Solver | None = None

    def advance(self, strength: float, pace: _Pace) -> float:
        """Solve with this ridge; cross-entropy (nats) on the held-out rows.

        Each class is weighted by its share of the training rows; classes without held-out rows do not count.
        """
        self.solver = _Solver(self.train, strength, None if self.solver is None else self.solver.solution)
        head = self.solver.solve(torch.float32, ROUGH, pace)
        losses, weights = [], []
        counts = [torch.bincount(rows.labels, minlength=rows.num_classes).double() for rows in (self.train, self.held)]
        share = counts[0] / counts[1].clamp_min(1)
        for rows, labels in self.held.chunks(torch.float64):
            losses.append(F.cross_entropy(rows @ head.weight.T + head.bias, labels, reduction="none"))
            weights.append(share[labels])
        return float((torch.cat(losses) * torch.cat(weights)).sum() / torch.cat(weights).sum())


class _Pace:
    """Counts the evaluations done and still expected, and times each precision, for the time left; only the last solution is in float64."""

    def __init__(self, work: Work, ahead: list[int], clock: Callable[[], float] = monotonic) -> None:
        self.work, self.ahead, self.clock = work, ahead, clock
        self.usual, self.spent, self.here = 0, 0, torch.float32
        self.seconds: dict[torch.dtype, float] = {}
        self.began = self.last = clock()
        work.seconds_left = self.left

    def begins(self, dtype: torch.dtype) -> None:
        """Note the start of a solution in this precision."""
        self.usual, self.spent, self.here = self.ahead.pop(0) if self.ahead else 0, 0, dtype
        self.began = self.last = self.clock()

    def evaluated(self) -> None:
        """Note the end of an evaluation."""
        self.spent += 1
        self.work.done += 1
        self.last = self.clock()
        self.seconds[self.here] = (self.last - self.began) / self.spent
        self.work.total = self.work.done + self._to_come + sum(self.ahead)

    @property
    def _to_come(self) -> int:
        """Evaluations left of this solution; once it exceeds the usual number, a quarter of those done."""
        return max(self.usual - self.spent, self.spent // 4, 1)

    def left(self) -> float:
        """Seconds left; before the first float64 evaluation, it is estimated as twice a float32 one."""
        single = self.seconds.get(torch.float32, 0.0)
        double = self.seconds.get(torch.float64, 2 * single)
        here = double if self.here == torch.float64 else single
        later = sum(self.ahead[:-1]) * single + sum(self.ahead[-1:]) * double
        return max(self._to_come * here - (self.clock() - self.last), 0.0) + later


class _Solver:
    """L-BFGS on some rows under one ridge, with sums in float64; a second ``solve`` continues from the first, with its curvature history.

    In the solver's coordinates the ridge plus a bound of the curvature is a sphere: features along their principal components, classes scaled by their mean p (1 - p).
    """

    def __init__(self, rows: _Rows, strength: float, start: _Solution | None) -> None:
        self.rows = rows
        self.ridge = max(strength * float(rows.variances.mean()) / len(rows), torch.finfo(torch.float64).tiny)
        start = _prior(rows) if start is None else start
        curvature = _curvature(rows, start).clamp_min(0.1 / len(rows)).unsqueeze(1)
        self.scale = torch.cat([(curvature * rows.variances + self.ridge).rsqrt(), curvature.rsqrt()], 1)
        self.free = (torch.cat([start.weight @ rows.directions, start.bias.unsqueeze(1)], 1) / self.scale).requires_grad_()
        self.solution = start
        self.optimizer = torch.optim.LBFGS(
            [self.free], max_iter=ITERATIONS, max_eval=2 * ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
        )

    def solve(self, dtype: torch.dtype, tolerance: float, pace: _Pace) -> _Solution:
        """Continue with products of type ``dtype`` until no entry of the gradient exceeds the tolerance."""
        self.optimizer.param_groups[0].update(tolerance_grad=tolerance, tolerance_change=tolerance**2)
        pace.begins(dtype)

        def objective() -> Tensor:
            value = self._evaluate(dtype)
            pace.evaluated()
            return value

        self.optimizer.step(objective)
        objective()
        assert self.free.grad is not None
        self.solution = _Solution(*self._head(), float(self.free.grad.norm()))
        return self.solution

    def _head(self) -> tuple[Tensor, Tensor]:
        values = self.free.detach() * self.scale
        return values[:, :-1] @ self.rows.directions.T, values[:, -1]

    def _evaluate(self, dtype: torch.dtype) -> Tensor:
        """The objective; stores its gradient as that of ``free``."""
        rows, N, (weight, bias) = self.rows, len(self.rows), self._head()
        value, of_weight, of_bias = self.ridge / 2 * weight.square().sum(), self.ridge * weight, torch.zeros_like(bias)
        of_type, offset = weight.T.to(dtype), bias.to(dtype)
        for part, labels in rows.chunks(dtype):
            logits = torch.addmm(offset, part, of_type)
            logits -= logits.amax(1, keepdim=True)
            own, each = logits.gather(1, labels.unsqueeze(1)), torch.arange(len(labels), device=labels.device)
            total = logits.exp_().sum(1, keepdim=True)
            value = value + (total.log() - own).sum(dtype=torch.float64) / N
            error = logits.div_(total)
            error[each, labels] -= 1
            of_weight += (error.T @ part).double() / N
            of_bias += error.sum(0, dtype=torch.float64) / N
        self.free.grad = torch.cat([of_weight @ rows.directions, of_bias.unsqueeze(1)], 1) * self.scale
        return value


def _prior(rows: _Rows) -> _Solution:
    """The head that predicts the class shares: a weight of zeros, and log shares as bias."""
    shares = torch.bincount(rows.labels, minlength=rows.num_classes).double() / len(rows)
    return _Solution(shares.new_zeros(rows.num_classes, len(rows.mean)), shares.clamp_min(1e-12).log())


def _curvature(rows: _Rows, head: _Solution) -> Tensor:
    """Mean over rows of p (1 - p) for each class, (K,) float64."""
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


def _step(features: Tensor, num_classes: int = 1) -> int:
    return max(1, CHUNK_NUMBERS // max(features.shape[1], num_classes))
