"""The rows that may choose, their folds, and the fits without some of the folds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lt_bench.bench.choosing.folds import ALWAYS_TRAINS, folds_of
from lt_bench.bench.linear_head import WORDS, fit_linear_head
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.content import row_hashes
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache, FeatureSplit, Head
from lt_bench.features.manifest import Manifest
from lt_bench.strategies.entry import Entry

Split = Literal["val", "train"]


@dataclass(frozen=True)
class Part:
    """Fits without some folds, and the predictions that they make.

    Attributes:
        left_out: the folds on which no head is fitted; none where validation is predicted.
        rows: places of the predicted rows among those that are held out.
        outer: for each predicted row, the fold beside its own that the heads did not train on; its own fold where that alone is left out.
    """

    left_out: tuple[int, ...]
    rows: NDArray[np.int64]
    outer: NDArray[np.int64]


@dataclass(frozen=True)
class Ground:
    """Held-out rows of a cache, in folds.

    Attributes:
        bench: the opened cache.
        split: ``val`` or ``train``.
        fold: (N,) fold of every row of the split, or `ALWAYS_TRAINS`.
    """

    bench: CacheSource
    split: Split
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, bench: CacheSource, split: Split | None, folds: int, groups: NDArray | None) -> Ground:
        """Divide a split into folds, by default the split that may choose; without groups, rows of equal features stay together.

        Raises:
            UserError: the backbone has seen the split, or every split; fewer than 3 folds; ``groups`` is not as long as the split; there are fewer rows or groups than folds, or none can be held out.
        """
        split = usable_split(bench.cache, split)
        rows = bench.split(split)
        if folds < 3:
            raise UserError(f"folds is {folds}, expected at least 3: one to estimate on, one to choose on, and one more")
        if groups is not None and np.shape(groups) != (len(rows),):
            raise UserError(f"groups has shape {np.shape(groups)}, expected one for each of the {len(rows):,} rows of {split}")
        of = row_hashes(rows.view("plain").cpu().numpy()) if groups is None else np.asarray(groups)
        labels, K = rows.labels.cpu().numpy(), bench.manifest.dataset.num_classes
        if (apart := len(np.unique(of))) < folds:
            what = "rows" if groups is None else "groups"
            helps = _what_helps(bench.manifest, split, what, apart)
            raise UserError(f"{bench.cache.path}: {split} has {apart} {what} that may be apart, too few for {folds} folds; {helps}")
        fold = folds_of(labels, of, folds, K, trained=split == "train")
        if not (fold != ALWAYS_TRAINS).any():
            raise UserError(
                f"{bench.cache.path}: no row of {split} can be held out, since each is of the only {'content' if groups is None else 'group'} of a class, "
                "which then has none to train on; add images of other groups, or give a cache with validation images"
            )
        return cls(bench, split, fold)

    @cached_property
    def held_out(self) -> NDArray[np.intp]:
        """(n,) positions in the split of the rows that are held out in some fold."""
        return np.flatnonzero(self.fold != ALWAYS_TRAINS)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n,) labels of the held-out rows."""
        return self.bench.split(self.split).labels.cpu().numpy()[self.held_out]

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """(n,) folds of the held-out rows."""
        return self.fold[self.held_out]

    @property
    def identity(self) -> dict[str, Any]:
        """Inputs that determine the fits, as plain JSON."""
        folds = hashlib.sha256(self.fold.astype("<i8").tobytes()).hexdigest()
        return {"cache_key": self.bench.manifest.key, "split": self.split, "folds": folds}

    @property
    def shape(self) -> tuple[int, int]:
        """F and N of predictions (P, S, F, N)."""
        return int(self.folds.max()) + 1 if self.split == "train" else 1, len(self.held_out)

    @cached_property
    def parts(self) -> list[Part]:
        """The parts to fit. For validation: one, on all training rows. For training: one without each fold, and one without each pair of folds, which chooses hyper-parameters for either fold of the pair."""
        every = np.arange(len(self.held_out))
        if self.split == "val":
            return [Part((), every, np.zeros_like(every))]
        places = [every[self.folds == k] for k in range(self.shape[0])]
        alone = [Part((k,), rows, np.full_like(rows, k)) for k, rows in enumerate(places)]
        pairs = [
            Part((j, k), np.concatenate([places[j], places[k]]), np.repeat([k, j], [len(places[j]), len(places[k])]))
            for j, k in itertools.combinations(range(len(places)), 2)
        ]
        return [*alone, *pairs]

    def without(self, part: Part, entry: Entry) -> CacheSource:
        """A cache of the training rows without the folds of a part, with a stage-1 head where the strategy uses one; it has no other split."""
        train, manifest = self.bench.split("train"), self.bench.manifest
        if part.left_out:
            train = _rows(train, np.flatnonzero(~np.isin(self.fold, part.left_out)))
        counts = torch.bincount(train.labels, minlength=manifest.dataset.num_classes).tolist()
        manifest = replace(manifest, dataset=replace(manifest.dataset, train_counts=tuple(counts)), views={"train": train.views})
        head = self._head(part, train) if _uses_head(entry) else None
        return CacheSource(_Rest(self.bench.cache.path, manifest, train, head), self.bench.hardware)

    def predicted(self, part: Part) -> FeatureSplit:
        """The rows that the heads of a part predict."""
        return _rows(plain_view(self.bench.split(self.split)), self.held_out[part.rows])

    def _head(self, part: Part, train: FeatureSplit) -> Head | None:
        """The stage-1 head of the cache; one that was fitted on all training rows is fitted anew on the rows of ``train``."""
        if not part.left_out or not is_fitted(self.bench.manifest):
            return self.bench.cache.head()
        if part.left_out not in self._heads:
            val = self.bench.split("val") if self.bench.has("val") else None
            plain, classes = plain_view(train), self.bench.manifest.dataset.num_classes
            self._heads[part.left_out] = fit_linear_head(plain, val, classes)
        return self._heads[part.left_out]

    @cached_property
    def _heads(self) -> dict[tuple[int, ...], Head]:
        return {}


@dataclass(frozen=True)
class _Rest(FeatureCache):
    """A cache in memory with the training rows that a part does not leave out."""

    train: FeatureSplit
    stage1: Head | None

    def split(
        self, name: str, *, views: Sequence[str] | None = None, device: str | torch.device = "cpu", mapped: bool = False
    ) -> FeatureSplit:
        """The training rows; the cache has no other split."""
        assert name == "train"
        return self.train

    def head(self) -> Head | None:
        """The stage-1 head of these rows."""
        return self.stage1


def usable_split(cache: FeatureCache, wanted: Split | None = None) -> Split:
    """The split that may choose: validation where the backbone has not seen it, else training where it has not.

    Raises:
        UserError: the backbone has seen every split, or the wanted one; the message says what to give instead.
    """
    manifest = cache.manifest
    usable: dict[Split, bool] = {"val": _unseen_validation(manifest), "train": _unseen_training(manifest)}
    for split in (wanted,) if wanted is not None else usable:
        if usable[split]:
            return split
    no_validation = "it has no validation images" if not cache.has("val") else "the backbone was trained on its validation images"
    facts = {"val": no_validation, "train": "the backbone was trained on its training images"}
    if wanted is not None:
        other = next((f"; leave --split {wanted} out to use {split}" for split in usable if usable[split]), "")
        raise UserError(f"{cache.path}: --split {wanted}: {facts[wanted]}, so they choose nothing{other}")
    raise UserError(
        f"{cache.path}: nothing may choose here: {facts['val']}, {facts['train']}, and the test set chooses nothing; give a cache whose validation images were "
        "held out before stage 1, or features of a backbone that was not trained on these images, as of published weights (--stage1-head fit)"
    )


def is_fitted(manifest: Manifest) -> bool:
    """Whether the stage-1 head of a cache is logistic regression on its training rows."""
    return WORDS in manifest.backbone.stage1


def _what_helps(manifest: Manifest, split: Split, what: str, apart: int) -> str:
    """Advice where a split has fewer rows or groups than folds; a choice needs three."""
    of_others = " of other groups" if what == "groups" else ""
    more = f"hold out more {what} for val" if split == "val" else f"add training images{of_others}"
    helps = "use fewer --folds" if apart >= 3 else more
    if split == "val":
        return helps + (", or --split train" if _unseen_training(manifest) else "")
    return helps + (", or leave --split train out to choose on val" if _unseen_validation(manifest) else "")


def _unseen_validation(manifest: Manifest) -> bool:
    return "val" in manifest.views and not manifest.dataset.val_seen_by_backbone


def _unseen_training(manifest: Manifest) -> bool:
    """Whether training rows may be held out: the backbone is not known to be trained on them, and its head, where there is one, was made without it."""
    states_rows = str(manifest.independence.get("trained_on", "")).endswith("known images")
    own_head = "head/weight" in manifest.arrays and not is_fitted(manifest) and "head: text tower" not in manifest.backbone.stage1
    return not (states_rows or own_head or manifest.dataset.val_seen_by_backbone)


def _uses_head(entry: Entry) -> bool:
    """Whether a strategy may use the stage-1 head, whose fit takes a while; assumed of strategies of the user's own and of compositions."""
    if entry.members:
        return any(map(_uses_head, entry.members))
    return entry.is_own or entry.is_composition or not entry.initial_head.startswith(("none", "random"))


def plain_view(split: FeatureSplit) -> FeatureSplit:
    """A split with its plain view alone."""
    return split if split.views == ("plain",) else replace(split, views=("plain",), blocks=(split.view("plain"),))


def _rows(split: FeatureSplit, rows: NDArray[np.integer]) -> FeatureSplit:
    """The given rows of a split with all their views, in memory."""
    index = torch.from_numpy(rows).to(split.device)
    every = torch.cat([v * len(split) + index for v in range(len(split.views))])
    return replace(split, blocks=(split.gather(every),), labels=split.labels[index], rows=split.rows[index])
