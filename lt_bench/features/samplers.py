"""How batches are drawn: one global, seeded order of an epoch, which processes then share.

Every sampler returns an epoch of exactly N positions, so that epochs cost the same whatever the sampler; the order depends on (repetition, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from lt_bench.core.errors import UserError
from lt_bench.core.seeds import derive_seed

CLASS_AWARE_RUN = 4
EFFECTIVE_NUMBER_BETA = 0.9999


def instance(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """Every sample once, in random order."""
    return torch.randperm(labels.numel(), generator=generator)


def class_aware(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """Classes in shuffled cycles, ``CLASS_AWARE_RUN`` consecutive samples of each, a class's samples in cycles reshuffled when used up.

    Kang et al., "Decoupling", ICLR 2020: facebookresearch/classifier-balancing ``data/ClassAwareSampler.py``, ``num_samples_cls`` 4, an epoch cut to N.
    Classes without samples are left out.
    """
    n, present = labels.numel(), counts.nonzero().squeeze(1)
    slots = -(-n // CLASS_AWARE_RUN)
    cycles = -(-slots // present.numel())
    classes = torch.cat([present[torch.randperm(present.numel(), generator=generator)] for _ in range(cycles)])[:slots]
    drawn = classes.repeat_interleave(CLASS_AWARE_RUN)[:n]
    return _cycled_within_class(drawn, labels, counts, generator)


def class_balanced(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """Samples with replacement, every class equally likely (Keke921/GCLLoss ``sampler.py``, BalancedRS)."""
    return _with_replacement(labels, counts, (counts > 0).double(), generator)


def square_root(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """Samples with replacement, a class's probability proportional to the root of its size (Decoupling, ``feat_squareroot.yaml``)."""
    return _with_replacement(labels, counts, counts.double().sqrt(), generator)


def progressive(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """From instance-balanced in the first epoch to class-balanced in the last, linearly (Decoupling, ``feat_shift.yaml``)."""
    natural, balanced = counts.double() / counts.sum(), (counts > 0).double() / (counts > 0).sum()
    return _with_replacement(labels, counts, (1 - progress) * natural + progress * balanced, generator)


def effective_number(labels: Tensor, counts: Tensor, progress: float, generator: torch.Generator) -> Tensor:
    """Samples with replacement, each with probability proportional to (1 - b) / (1 - b^n) of its class, b = 0.9999 (kaidic/LDAM-DRW, train rule Resample)."""
    per_sample = (1 - EFFECTIVE_NUMBER_BETA) / (1 - EFFECTIVE_NUMBER_BETA ** counts.double().clamp_min(1))
    return _with_replacement(labels, counts, per_sample * counts, generator)


SAMPLERS: dict[str, Callable[[Tensor, Tensor, float, torch.Generator], Tensor]] = {
    function.__name__: function for function in (instance, class_aware, class_balanced, square_root, progressive, effective_number)
}


class EpochOrder(Sampler[Tensor]):
    """The global order of each epoch, for S repetitions side by side.

    Iterating gives chunks (S, n) of rows v * N + i of the concatenated training views, n a multiple of the batch size but for the last; sample and view
    are drawn from (repetition, epoch) alone. Lightning calls ``set_epoch``.

    Args:
        labels: (N,) training labels.
        counts: (K,) training images per class.
        sampler: a name of ``SAMPLERS``.
        repetitions: S of them.
        views: positions v, in the split, of the views to draw from.
        epochs: how many epochs the fit has, for the progressive sampler.
        batch_size: samples per step, all processes together.
        steps_per_chunk: steps handed over at once.
    """

    def __init__(
        self,
        labels: Tensor,
        counts: Tensor,
        sampler: str,
        repetitions: tuple[int, ...],
        views: tuple[int, ...],
        *,
        epochs: int,
        batch_size: int,
        steps_per_chunk: int = 512,
    ) -> None:
        if sampler not in SAMPLERS:
            raise UserError(f"unknown sampler {sampler!r}; one of {', '.join(SAMPLERS)}")
        self._labels, self._counts = labels.cpu(), counts.cpu()
        self._sampler, self._repetitions, self._views = sampler, repetitions, torch.tensor(views)
        self._epochs, self._chunk = epochs, batch_size * steps_per_chunk
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is of."""
        self._epoch = epoch

    def order(self, repetition: int, epoch: int) -> Tensor:
        """The whole order (N,) of one repetition and epoch."""
        generator = torch.Generator().manual_seed(derive_seed("order", repetition, epoch))
        progress = epoch / max(1, self._epochs - 1)
        index = SAMPLERS[self._sampler](self._labels, self._counts, progress, generator)
        view = self._views[torch.randint(self._views.numel(), index.shape, generator=generator)]
        return view * self._labels.numel() + index

    def __iter__(self) -> Iterator[Tensor]:
        orders = torch.stack([self.order(repetition, self._epoch) for repetition in self._repetitions])
        yield from orders.split(self._chunk, dim=1)

    def __len__(self) -> int:
        return -(-self._labels.numel() // self._chunk)


def _by_class(labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Positions sorted by class (N,), and where each class starts (K,)."""
    return torch.argsort(labels, stable=True), counts.cumsum(0) - counts


def _with_replacement(labels: Tensor, counts: Tensor, class_mass: Tensor, generator: torch.Generator) -> Tensor:
    members, starts = _by_class(labels, counts)
    mass = class_mass * (counts > 0)
    bounds = (mass / mass.sum()).cumsum(0)  # inverse transform: multinomial is limited to 2**24 categories and slower
    drawn = torch.rand(labels.numel(), generator=generator, dtype=torch.float64)
    classes = torch.searchsorted(bounds, drawn, right=True).clamp_max(
        int(mass.nonzero()[-1])
    )  # right: a bound belongs to the class above it
    within = (torch.rand(labels.numel(), generator=generator, dtype=torch.float64) * counts[classes]).long().clamp_max(counts[classes] - 1)
    return members[starts[classes] + within]


def _cycled_within_class(drawn: Tensor, labels: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """For a sequence of classes, samples of them: each class runs through random permutations of its samples, one after the other."""
    members, starts = _by_class(labels, counts)
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
