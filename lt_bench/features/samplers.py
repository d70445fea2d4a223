"""Samplers: one global, seeded order of an epoch, which processes then share.

Every sampler returns an epoch of exactly N positions, so that epochs cost the same whatever the sampler; the order depends on (repetition, epoch) alone,
and on the weights that a strategy gives its samples where the sampler draws by them.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Sampler as TorchSampler

from lt_bench.core.errors import UserError
from lt_bench.core.names import object_at, suggestion
from lt_bench.core.seeds import derive_seed


@dataclass(frozen=True)
class Epoch:
    """Inputs of a sampler for one epoch.

    Attributes:
        labels: (N,) int64 training labels.
        counts: (K,) int64 training images per class.
        number: of this epoch, from 0.
        epochs: of the whole fit.
        batch_size: samples per step, all processes together.
        generator: seeded by repetition and epoch; all random numbers come from it.
        sample_weight: (N,) ``Strategy.sample_weights`` before this epoch; None where the strategy has none.
    """

    labels: Tensor
    counts: Tensor
    number: int
    epochs: int
    batch_size: int
    generator: torch.Generator
    sample_weight: Tensor | None = None

    @property
    def progress(self) -> float:
        """0 in the first epoch, 1 in the last."""
        return self.number / max(1, self.epochs - 1)


class Sampler(ABC):
    """A rule by which the samples of an epoch are drawn; write ``order`` for one of your own.

    Attributes:
        name: as in ``Strategy.sampler`` and on the command line; needed by registered samplers only.
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def order(self, epoch: Epoch) -> Tensor:
        """Row numbers (N,) int64, each 0..N-1, in the order in which batches take them; a row may come several times or never."""


class Instance(Sampler):
    """Every sample once, in random order: ``p_i = 1 / N``."""

    name = "instance"

    def order(self, epoch: Epoch) -> Tensor:
        """A permutation."""
        return torch.randperm(epoch.labels.numel(), generator=epoch.generator)


class ClassAware(Sampler):
    """Classes in shuffled cycles, ``run`` consecutive samples of each; a class's samples in cycles, shuffled again when used up.

    Kang et al., "Decoupling", ICLR 2020: facebookresearch/classifier-balancing ``data/ClassAwareSampler.py``, ``num_samples_cls`` 4, an epoch cut to N.
    The official cycles of classes and of samples run on from one epoch to the next; here they begin anew, so that an epoch's order depends on nothing before it.
    Classes without samples are left out.
    """

    name = "class_aware"

    def __init__(self, run: int = 4) -> None:
        if run < 1:
            raise UserError(f"sampler class_aware: run is {run}, expected at least 1")
        self.run = run

    def order(self, epoch: Epoch) -> Tensor:
        """Runs of classes, filled from each class's own cycle."""
        n, present = epoch.labels.numel(), epoch.counts.nonzero().squeeze(1)
        runs = -(-n // self.run)
        cycles = -(-runs // present.numel())
        classes = torch.cat([present[torch.randperm(present.numel(), generator=epoch.generator)] for _ in range(cycles)])[:runs]
        return _cycled_within_class(classes.repeat_interleave(self.run)[:n], epoch)


class ClassBalanced(Sampler):
    """With replacement, every class equally likely: ``p_i = 1 / (K n_y)``, K classes with samples (Keke921/GCLLoss ``sampler.py``, BalancedRS)."""

    name = "class_balanced"

    def order(self, epoch: Epoch) -> Tensor:
        """A class, then one of its samples."""
        return _with_replacement((epoch.counts > 0).double(), epoch)


class SquareRoot(Sampler):
    """With replacement, a class's probability proportional to the root of its size: ``p_i ~ n_y^(-1/2)`` (Decoupling, ``feat_squareroot.yaml``)."""

    name = "square_root"

    def order(self, epoch: Epoch) -> Tensor:
        """A class, then one of its samples."""
        return _with_replacement(epoch.counts.double().sqrt(), epoch)


class Progressive(Sampler):
    """With replacement, from instance-balanced to class-balanced: ``p_c = (1 - t) n_c / N + t / K``, t from 0 in the first epoch to 1 in the last.

    Decoupling, ``feat_shift.yaml``; K counts the classes with samples.
    """

    name = "progressive"

    def order(self, epoch: Epoch) -> Tensor:
        """A class, then one of its samples."""
        counts, present = epoch.counts.double(), (epoch.counts > 0).double()
        return _with_replacement((1 - epoch.progress) * (counts / counts.sum()) + epoch.progress * (present / present.sum()), epoch)


class EffectiveNumber(Sampler):
    """With replacement, by the inverse effective number of a class: ``p_i ~ (1 - beta) / (1 - beta^n_y)`` (kaidic/LDAM-DRW, train rule Resample)."""

    name = "effective_number"

    def __init__(self, beta: float = 0.9999) -> None:
        if not 0 <= beta < 1:
            raise UserError(f"sampler effective_number: beta is {beta}, expected 0 to below 1")
        self.beta = beta

    def order(self, epoch: Epoch) -> Tensor:
        """A class, then one of its samples."""
        per_sample = (1 - self.beta) / (1 - self.beta ** epoch.counts.double().clamp_min(1))
        return _with_replacement(per_sample * epoch.counts, epoch)


class Weighted(Sampler):
    """With replacement, by the weights that the strategy keeps of its samples: ``p_i ~ s_i``, s its ``sample_weights`` (N,) before the epoch."""

    name = "weighted"

    def order(self, epoch: Epoch) -> Tensor:
        """Samples by weight.

        Raises:
            UserError: the strategy gives no weights, or ones that are negative, not finite or all 0.
        """
        weight = epoch.sample_weight
        if weight is None:
            raise UserError("sampler weighted: the strategy's sample_weights() is None, expected one weight for every training sample (N,)")
        weight = weight.double()
        if not bool(torch.isfinite(weight).all()) or float(weight.min()) < 0 or float(weight.sum()) <= 0:
            raise UserError("sampler weighted: sample_weights() holds negative numbers, NaN or infinity, or nothing but 0")
        return _categorical(weight, epoch)


SAMPLERS: dict[str, type[Sampler]] = {
    cls.name: cls for cls in (Instance, ClassAware, ClassBalanced, SquareRoot, Progressive, EffectiveNumber, Weighted)
}


def resolve_sampler(sampler: str | Sampler | type[Sampler]) -> Sampler:
    """The sampler of a name, dotted path, class or instance.

    Args:
        sampler: a name of ``SAMPLERS``, with parameters or without (``effective_number(beta=0.99)``); the dotted path of a class (``my_file.MySampler``); a
            subclass of ``Sampler``, or an instance.

    Raises:
        UserError: no such sampler, with the nearest; a parameter that it does not have; a class that is no ``Sampler``, or defines no ``order``.
    """
    if isinstance(sampler, Sampler):
        return sampler
    cls, arguments, named = _read_call(sampler) if isinstance(sampler, str) else (sampler, [], {})
    if not (isinstance(cls, type) and issubclass(cls, Sampler)):
        raise UserError(f"sampler {sampler!r} is not a subclass of lt_bench.features.samplers.Sampler")
    try:
        return cls(*arguments, **named)
    except TypeError as error:
        raise UserError(f"sampler {sampler!r}: {' '.join(str(error).split())}") from None


def _read_call(text: str) -> tuple[Any, list[Any], dict[str, Any]]:
    """Class and arguments of ``name``, ``name(0.99)`` or ``package.module.Class(beta=0.99)``."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
        arguments = [ast.literal_eval(one) for one in call.args]
        named = {one.arg: ast.literal_eval(one.value) for one in call.keywords if one.arg}
    except (SyntaxError, ValueError):
        raise UserError(f"sampler {text!r}: expected a name with literal parameters, e.g. effective_number(beta=0.99)") from None
    name = ast.unparse(call.func)
    if "." in name:
        return object_at(name), arguments, named
    if name not in SAMPLERS:
        known = f"one of {', '.join(SAMPLERS)}, or package.module.Class of your own"
        raise UserError(f"unknown sampler {name!r}{suggestion(name, SAMPLERS)}; {known}")
    return SAMPLERS[name], arguments, named


class EpochOrder(TorchSampler[Tensor]):
    """The global order of each epoch, for S repetitions side by side.

    Iterating gives chunks (S, n) of rows v * N + i of the concatenated training views, n a multiple of the batch size but for the last; sample and view
    are drawn from (repetition, epoch) and, where the sampler uses them, the sample weights. Lightning calls ``set_epoch``.

    Args:
        labels: (N,) training labels.
        counts: (K,) training images per class.
        sampler: what ``resolve_sampler`` takes.
        repetitions: S of them.
        views: positions v, in the split, of the views to draw from.
        epochs: how many epochs the fit has.
        batch_size: samples per step, all processes together.
        samples_of: of the N samples of an epoch's order, how many it takes; None for all.
        steps_per_chunk: steps handed over at once.
        sample_weights: gives the weights of the samples, (N,) or (S, N), one row a repetition; called once at the start of every epoch. Equal on all
            processes.
    """

    def __init__(
        self,
        labels: Tensor,
        counts: Tensor,
        sampler: str | Sampler | type[Sampler],
        repetitions: tuple[int, ...],
        views: tuple[int, ...],
        *,
        epochs: int,
        batch_size: int,
        samples_of: Callable[[int, int], int] | None = None,
        steps_per_chunk: int = 512,
        sample_weights: Callable[[], Tensor | None] | None = None,
    ) -> None:
        self._labels, self._counts = labels.cpu(), counts.cpu()
        self._sampler, self._repetitions, self._views = resolve_sampler(sampler), repetitions, torch.tensor(views)
        self._epochs, self._batch_size, self._chunk = epochs, batch_size, batch_size * steps_per_chunk
        self._samples_of, self._sample_weights, self._epoch = samples_of, sample_weights, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch = epoch

    def order(self, repetition: int, epoch: int, sample_weight: Tensor | None = None) -> Tensor:
        """The whole order (N,) of one repetition and epoch.

        Raises:
            UserError: the sampler returns anything but N row numbers.
        """
        generator = torch.Generator().manual_seed(derive_seed("order", repetition, epoch))
        drawn = Epoch(self._labels, self._counts, epoch, self._epochs, self._batch_size, generator, sample_weight)
        rows, N = self._sampler.order(drawn), self._labels.numel()
        if not isinstance(rows, Tensor) or rows.shape != (N,) or rows.dtype != torch.long or int(rows.min()) < 0 or int(rows.max()) >= N:
            returned = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
            raise UserError(
                f"sampler {type(self._sampler).__name__}: order() returned {returned}, expected N = {N} row numbers 0..{N - 1} (int64)"
            )
        view = self._views[torch.randint(self._views.numel(), rows.shape, generator=generator)]
        return view * N + rows

    def __iter__(self) -> Iterator[Tensor]:
        weights, S = self._sample_weights() if self._sample_weights else None, len(self._repetitions)
        if weights is not None and weights.shape not in ((self._labels.numel(),), (S, self._labels.numel())):
            raise UserError(
                f"sample_weights() has shape {tuple(weights.shape)}, expected ({self._labels.numel()},), one weight for every training sample"
            )
        rows = [None] * S if weights is None else weights.detach().cpu().expand(S, -1)
        orders = torch.stack([self.order(one, self._epoch, weight) for one, weight in zip(self._repetitions, rows, strict=True)])
        yield from orders[:, : self._taken()].split(self._chunk, dim=1)

    def __len__(self) -> int:
        return -(-self._taken() // self._chunk)

    def _taken(self) -> int:
        """Samples of the present epoch."""
        N = self._labels.numel()
        return N if self._samples_of is None else self._samples_of(self._epoch, N)


def _by_class(labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Positions sorted by class (N,), and where each class starts (K,)."""
    return torch.argsort(labels, stable=True), counts.cumsum(0) - counts


def _categorical(mass: Tensor, epoch: Epoch) -> Tensor:
    """N draws with replacement from 0..n-1, in proportion to ``mass`` (n,), which is not negative."""
    bounds = (mass / mass.sum()).cumsum(0)  # inverse transform: multinomial is limited to 2**24 categories and slower
    drawn = torch.rand(epoch.labels.numel(), generator=epoch.generator, dtype=torch.float64)
    # right: a bound belongs to the category above it
    return torch.searchsorted(bounds, drawn, right=True).clamp_max(int(mass.nonzero()[-1]))


def _with_replacement(class_mass: Tensor, epoch: Epoch) -> Tensor:
    """N draws of a class in proportion to ``class_mass`` (K,), then of one of its samples, all equally likely."""
    members, starts = _by_class(epoch.labels, epoch.counts)
    classes = _categorical(class_mass * (epoch.counts > 0), epoch)
    sizes = epoch.counts[classes]
    within = (torch.rand(classes.numel(), generator=epoch.generator, dtype=torch.float64) * sizes).long().clamp_max(sizes - 1)
    return members[starts[classes] + within]


def _cycled_within_class(drawn: Tensor, epoch: Epoch) -> Tensor:
    """For a sequence of classes, samples of them: each class runs through random permutations of its samples, one after the other."""
    counts, generator = epoch.counts, epoch.generator
    members, starts = _by_class(epoch.labels, counts)
    need = torch.bincount(drawn, minlength=counts.numel())
    rounds = torch.where(counts > 0, -(-need // counts.clamp_min(1)), 0)
    # All permutations at once: one segment per class and round, its samples sorted by a random key.
    segment_class = torch.repeat_interleave(torch.arange(counts.numel()), rounds)
    sizes = counts[segment_class]
    segment = torch.repeat_interleave(torch.arange(segment_class.numel()), sizes)
    offset = torch.arange(segment.numel()) - (sizes.cumsum(0) - sizes)[segment]
    shuffled = torch.argsort(segment + torch.rand(segment.numel(), generator=generator, dtype=torch.float64))
    pool = members[starts[segment_class[segment]] + offset][shuffled]
    pool_start = (rounds * counts).cumsum(0) - rounds * counts
    # The t-th draw of a class takes the t-th entry of its pool.
    by_class = torch.argsort(drawn, stable=True)
    rank = torch.empty_like(drawn)
    rank[by_class] = torch.arange(drawn.numel()) - (need.cumsum(0) - need)[drawn[by_class]]
    return pool[pool_start[drawn] + rank]
