"""Runs, tunings and choices, which the functions of the API return."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lt_bench.api.cache import floats
from lt_bench.bench.tuned import objective_in, openness_of_choice
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import Standardised
from lt_bench.leaderboard.choice.conclusion import sentences
from lt_bench.leaderboard.choice.output import choice_csv
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.results.record import RunRecord
from lt_bench.strategies.entry import Entry

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Run:
    """A head that was fitted and measured.

    Attributes:
        record: the run's record, as ``lt-bench run`` writes it.
        head: a plain module from features (B, D) to logits (B, K), on the device of the fit.
        arrays: what is stored beside a record: test predictions (N,), vectors (K,) by ``view/name``.
        standardisation: mean and divisor (D,) by which the cache standardised the features that the head takes; None where it did not.
    """

    record: RunRecord
    head: nn.Module
    arrays: Mapping[str, NDArray[Any]]
    standardisation: tuple[Tensor, Tensor] | None = None

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Every metric by view (``test``, ``train``, ``val``, ``test_flip``) and name; accuracies are fractions."""
        return self.record.metrics

    @property
    def classes(self) -> tuple[str, ...]:
        """K names in label order."""
        return tuple(self.record.dataset.class_names)

    def logits(self, X: ArrayLike | Tensor) -> NDArray[np.float32]:
        """Logits (N, K) of features (N, D) as they come from the backbone: a standardised cache's mean and spread are applied here.

        Raises:
            UserError: features of another shape.
        """
        features = floats(X)
        if features.dim() != 2 or features.shape[1] != self.record.backbone.dim:
            raise UserError(f"features of shape {tuple(features.shape)}, expected (N, {self.record.backbone.dim})")
        tensors = [*self.head.parameters(), *self.head.buffers()]
        device = tensors[0].device if tensors else torch.device("cpu")
        head = self.head if self.standardisation is None else Standardised(self.head, *self.standardisation).to(device)
        with torch.inference_mode():
            return head(features.to(device)).float().cpu().numpy()

    def predict(self, X: ArrayLike | Tensor) -> NDArray[np.int64]:
        """The class (N,) of each row of features (N, D), 0..K-1."""
        return self.logits(X).argmax(1)

    def __repr__(self) -> str:
        identity, test = self.record.identity, self.metrics["test"]
        return f"Run({identity.strategy}, seed {identity.seed}, {identity.tuning}: test accuracy {test['accuracy']:.4f}, macro {test['macro_accuracy']:.4f})"


class Runs(list[Run]):
    """A list of runs; ``+`` joins two."""

    @property
    def records(self) -> list[RunRecord]:
        """The record of each."""
        return [run.record for run in self]

    @property
    def frame(self) -> pd.DataFrame:
        """One line for each run: its identity, how it was fitted, and every metric as ``view/name``."""
        return from_records(self.records).frame

    def __add__(self, other: Iterable[Run]) -> Runs:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Runs([*self, *other])

    @overload
    def __getitem__(self, index: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Run | Runs:
        return Runs(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)


@dataclass(frozen=True, eq=False)
class Tuning:
    """Hyper-parameters that validation chose.

    Attributes:
        entry: of the strategy.
        document: all points tried with their scores, as ``lt-bench tune`` writes them.
    """

    entry: Entry
    document: Mapping[str, Any]

    @property
    def best(self) -> dict[str, Any]:
        """The hyper-parameters with the best objective on validation, mean over seeds, those that were fixed among them."""
        return dict(self.document["choice"])

    @property
    def frame(self) -> pd.DataFrame:
        """One line for each point of the grid, the best first: its hyper-parameters, the objective on validation (``macro_accuracy`` of macro), and that of each seed."""
        import pandas

        objective = objective_in(self.document)
        seeds = [f"seed {seed}" for seed in self.document["seeds"]]
        lines = [
            {**point["hyperparameters"], objective.metric: point["mean"], **dict(zip(seeds, point[objective.metric], strict=True))}
            for point in self.document["grid"]
        ]
        return pandas.DataFrame(lines).sort_values(objective.metric, ascending=objective.lower, kind="stable", ignore_index=True)

    def __str__(self) -> str:
        """The choice, and how settled it is."""
        return "; ".join([f"{self.entry.public_name}: {self.best}", *openness_of_choice(self.document)])


@dataclass(frozen=True, eq=False)
class Choice:
    """A strategy and hyper-parameters that rows unseen by the backbone chose.

    Attributes:
        document: the outcome, as ``lt-bench choose`` writes it to ``choice.json``.
        objective: by which the strategies were compared.
    """

    document: Mapping[str, Any]
    objective: Objective

    @property
    def strategy(self) -> str:
        """The strategy to take; ``lt.fit(choice.strategy, cache, **choice.hyperparameters)`` fits it."""
        return self.document["take"]["strategy"]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Hyper-parameters of the strategy to take; those not listed keep the strategy's own values."""
        return dict(self.document["take"]["hyperparameters"])

    @property
    def frame(self) -> pd.DataFrame:
        """One line for each strategy, the best first: the objective and its interval, many, medium and few, and how far it is behind the first."""
        import pandas

        return pandas.read_csv(io.StringIO(choice_csv(self.document, self.objective)))

    def __str__(self) -> str:
        """The conclusion in sentences."""
        return " ".join(sentences(self.document, self.objective))
