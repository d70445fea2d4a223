r"""Logits magnitude (LoMa) and regularised standard deviation (RSD) of each class.

Both were introduced with LOS ("Rethinking classifier re-training in long-tailed recognition", ICLR 2025). Its official code computes
neither and its text leaves open what the means run over, so two readings are kept. With logits `z` (N, K) and labels `y` (N,):

    column   LoMa_k = mean_{i: y_i = k} z_ik - mean_{i: y_i != k} z_ik              blind to a bias of class k
    row      LoMa_k = mean_{i: y_i = k} ( z_ik - mean_{j != k} z_ij )               blind to a shift of sample i

    RSD_k = sigma_k / LoMa_k

sigma, always with ddof 0: in the column reading `sqrt((SS_own + SS_other) / N)`, the spread *within* the two groups of samples (option
`all`: over all samples of column k, which contains LoMa itself: `sigma_all^2 = sigma_within^2 + p (1 - p) LoMa^2`, p the share of class k); in the
row reading the standard deviation of the row difference over the samples of class k. On a class-balanced set both readings have the same mean LoMa.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from lt_bench.core.errors import UserError
from lt_bench.metrics._batches import check_logits, check_num_classes, class_counts, class_sums, in_float64, row_chunks

Sigma = Literal["within", "all"]


class LogitMagnitude(Metric):
    """LoMa and RSD of each class under both readings, float64, in O(K) memory and one pass.

    `compute()` returns `{"loma_column", "rsd_column", "loma_row", "rsd_row"}`, float64 (K,) each. A class without samples (column: also
    one without others) has LoMa NaN; a class whose LoMa is not positive has RSD NaN.

    The states are count, mean and sum of squared deviations, not sums of squares: those cancel when a class has a large bias.

    Args:
        num_classes: K, at least 2.
        sigma: the column reading's sigma, `within` (default) or `all`; the row reading has only one.

    Raises:
        UserError: fewer than two classes, an unknown sigma.
    """

    full_state_update = False
    column: Tensor
    own: Tensor
    row: Tensor

    def __init__(self, num_classes: int, sigma: Sigma = "within") -> None:
        super().__init__()
        if sigma not in get_args(Sigma):
            raise UserError(f"sigma must be one of {', '.join(get_args(Sigma))}, got {sigma!r}")
        self.num_classes = check_num_classes(num_classes)
        self.sigma = sigma
        for name in ("column", "own", "row"):
            self.add_state(name, torch.zeros(3, num_classes, dtype=torch.float64), dist_reduce_fx=merge_moments)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits (B, K) of any floating dtype with labels (B,); raises UserError where the shapes are wrong."""
        check_logits(logits, labels, self.num_classes)
        if not len(labels):
            return
        column, row_sums = _column_moments(logits)
        own = logits.gather(1, labels.long()[:, None]).squeeze(1).double()
        row = own - (row_sums - own) / (self.num_classes - 1)
        self.column = _add(self.column, column)
        self.own = _add(self.own, _class_moments(own, labels, self.num_classes))
        self.row = _add(self.row, _class_moments(row, labels, self.num_classes))

    def compute(self) -> dict[str, Tensor]:
        """Return LoMa and RSD of each class, see the class."""
        total, mean, squares = self.column.unbind()
        count, own_mean, _ = self.own.unbind()
        others = total - count
        both = (count > 0) & (others > 0)
        # Own minus others, written with the mean over all: (m_own - m_all) N / N_other.
        column = torch.where(both, (own_mean - mean) * total / others, torch.nan)
        if self.sigma == "within":
            squares = squares - count * others / total * column.square()
        row = torch.where(count > 0, self.row[1], torch.nan)
        return {
            "loma_column": column,
            "rsd_column": _rsd(squares / total, column),
            "loma_row": row,
            "rsd_row": _rsd(self.row[2] / count, row),
        }


def merge_moments(parts: Tensor) -> Tensor:
    """Merge (P, 3, K) stacked [count, mean, sum of squared deviations] into (3, K), exactly (Chan et al. 1983); empty parts add nothing."""
    count, mean, squares = parts.unbind(1)
    total = count.sum(0)
    merged = (count * mean).sum(0) / total.clamp(min=1)
    return torch.stack([total, merged, squares.sum(0) + (count * (mean - merged).square()).sum(0)])


def _add(state: Tensor, batch: Tensor) -> Tensor:
    return merge_moments(torch.stack([state, batch]))


def _column_moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Moments (3, K) of every column, and the sum (B,) of every row, of logits (B, K), B > 0."""
    chunks = list(row_chunks(logits))
    shift = logits[chunks[0]].mean(0, dtype=torch.float64)
    sums, squares, row_sums = torch.zeros_like(shift), torch.zeros_like(shift), []
    for rows in chunks:
        chunk = in_float64(logits[rows])
        row_sums.append(chunk.sum(1))
        centred = chunk.sub_(shift)
        sums += centred.sum(0)
        squares += centred.square_().sum(0)
    offset = sums / len(logits)
    moments = torch.stack([torch.full_like(shift, len(logits)), shift + offset, (squares - sums * offset).clamp(min=0)])
    return moments, torch.cat(row_sums)


def _class_moments(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Moments (3, K) of values (B,) over the samples of each class."""
    count = class_counts(labels, num_classes).double()
    mean = class_sums(values, labels, num_classes) / count.clamp(min=1)
    return torch.stack([count, mean, class_sums((values - mean[labels]).square(), labels, num_classes)])


def _rsd(variance: Tensor, loma: Tensor) -> Tensor:
    return torch.where(loma > 0, variance.clamp(min=0).sqrt() / loma, torch.nan)
