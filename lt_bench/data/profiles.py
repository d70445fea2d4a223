"""Long-tailed profiles: training images per class. Free of torch."""

from __future__ import annotations

import math
from typing import Literal

from lt_bench.core.errors import UserError

Profile = Literal["exponential", "step"]


def check_imbalance_factor(value: float) -> None:
    """Refuse a number that is no IF = n_max / n_min.

    Raises:
        UserError: it is below 1 or not finite.
    """
    if not (math.isfinite(value) and value >= 1):
        raise UserError(f"imbalance factor is {value:g}, expected a number of at least 1")


def profile_counts(profile: Profile, n_max: int, imbalance_factor: float, num_classes: int) -> tuple[int, ...]:
    """Images per class, class 0 first (the head), in the label order of the data set.

    ``exponential``: ``n_c = int(n_max * IF ** (-c / (K - 1)))``; ``step``: the first half of the classes keep n_max, the others ``int(n_max / IF)``
    (Cao et al. 2019, LDAM-DRW ``imbalance_cifar.py``; ``int`` truncates in both).

    Args:
        profile: exponential or step.
        n_max: images of the largest class.
        imbalance_factor: IF = n_max / n_min, at least 1.
        num_classes: K, at least 2.

    Raises:
        UserError: an argument is out of range, or a class would be left empty.
    """
    check_imbalance_factor(imbalance_factor)
    if num_classes < 2 or n_max < 1:
        raise UserError(f"a long-tailed profile needs 2 classes and 1 image at least, got {num_classes} classes and n_max {n_max}")
    if profile == "exponential":
        counts = [int(n_max * imbalance_factor ** (-c / (num_classes - 1))) for c in range(num_classes)]
    else:
        half = num_classes // 2
        counts = [n_max] * half + [int(n_max / imbalance_factor)] * (num_classes - half)
    if counts[-1] < 1:
        raise UserError(
            f"imbalance factor {imbalance_factor:g} leaves class {counts.index(0)} without an image: n_max is {n_max}; choose at most {n_max}"
        )
    return tuple(counts)
