"""Priors of a test set: the long tails that test-agnostic recognition is measured on, and priors of files. NumPy only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lt_bench.core.errors import UserError
from lt_bench.data.class_files import read_prior

_TAIL = re.compile(r"(forward|backward):(\d+(?:\.\d+)?)")
_USUAL, _OF = (50, 10), {"inat2018": (3, 2)}


def usual_imbalances(dataset: str) -> tuple[int, ...]:
    """Imbalances of the forward and backward long tails that a data set is tested on, the largest first. Zhang et al., NeurIPS 2022 (SADE), table 9."""
    return _OF.get(dataset, _USUAL)


def tail_prior(train_counts: NDArray[np.integer], imbalance: float, *, backward: bool = False) -> NDArray[np.float64]:
    """A long tail (K,) over the classes in the order of their training images: shares in proportion to ``imbalance^(-r / (K - 1))``, adding up to 1.

    r = 0 is the class with most training images, or, backward, the one with fewest; classes with equally many stand in label order. Zhang et al., NeurIPS 2022.
    K counts the classes with training images; the others have no share.
    """
    K, order = int((train_counts > 0).sum()), np.argsort(-train_counts, kind="stable")
    places = np.arange(K)[::-1] if backward else np.arange(K)
    shares = np.zeros(len(train_counts))
    shares[order[:K]] = imbalance ** (-places / max(K - 1, 1))
    return shares / shares.sum()


def usual_tails(dataset: str, train_counts: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """The long tails that a data set is tested on, by name: ``forward_50``."""
    return {
        f"{way}_{imbalance}": tail_prior(train_counts, imbalance, backward=way == "backward")
        for way in ("forward", "backward")
        for imbalance in usual_imbalances(dataset)
    }


def is_tail(text: str) -> bool:
    """Whether a text is the name of a long tail, and of no file."""
    return _TAIL.fullmatch(text) is not None


def check_prior(text: str, option: str) -> None:
    """Refuse what is neither a long tail nor a file; a file is looked for, not read.

    Raises:
        UserError: says what a prior is, names the option, or an imbalance is below 1.
    """
    if tail := _TAIL.fullmatch(text):
        if float(tail[2]) < 1:
            raise UserError(f"{option}: the imbalance of {text} is below 1")
    elif not text or not Path(text).is_file():
        raise UserError(
            f"{option}: no such file: {text}; expected a CSV file (class,prior), JSON, forward:50 or backward:50 of any imbalance"
        )


def named_prior(text: str, class_names: Sequence[str], train_counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """The prior (K,) that ``forward:50``, ``backward:50`` (any imbalance) or a file says.

    Raises:
        UserError: the file does not fit the classes.
    """
    tail = _TAIL.fullmatch(text)
    return tail_prior(train_counts, float(tail[2]), backward=tail[1] == "backward") if tail else read_prior(Path(text), class_names)
