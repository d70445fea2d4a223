"""Norms of the classifier's rows and their angles to the features, class by class, over the epochs of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.engine.evaluate import profile_of
from lt_bench.engine.heads.stacks import head_of
from lt_bench.features.source import FeatureSource
from lt_bench.metrics.decomposition import Profile, decomposed
from lt_bench.strategies.contract import Strategy

POINTS = 20
MEASURES = ("weight_norm", "feature_norm", "cosine")


class NormTrajectory(Callback):
    """Per class and head: classifier norm, mean feature norm and mean cosine to the own row, on the plain training view, before the first and after chosen epochs.

    They are those of ``metrics.decomposition.NormDecomposition``, so the last point equals the record's ``train/...`` vectors. At most ``POINTS`` + 1 epochs, evenly
    distributed; O(H K) numbers each. As a mean of cosines is the product of the row's direction with the class mean of unit features, those means are computed once
    where features stay as they are. A strategy that takes no epochs has one point, its head.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self._values: list[Tensor] = []
        self._profile: Profile | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A new fit."""
        self.reset()

    def reset(self) -> None:
        """Forget the fit before."""
        self.load_state_dict({"epochs": [], "values": []})

    def state_dict(self) -> dict[str, Any]:
        """The values measured so far, for checkpoints."""
        return {"epochs": self.epochs, "values": self._values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the values measured so far."""
        self.epochs, self._values, self._profile = list(state_dict["epochs"]), list(state_dict["values"]), None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the heads after the epochs before."""
        assert isinstance(pl_module, Strategy)
        total, done = pl_module.recipe.epochs, trainer.current_epoch
        if done not in self.epochs and (done == 0 or done * POINTS // total > (done - 1) * POINTS // total):
            self.measure(pl_module, done)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the end."""
        assert isinstance(pl_module, Strategy)
        self.measure(pl_module, pl_module.recipe.epochs)

    @torch.no_grad()
    def measure(self, strategy: Strategy, epoch: int, train: FeatureSource | None = None) -> None:
        """Add a point: the heads as they are after ``epoch`` epochs, on ``train`` or the features they are fitted on.

        Raises:
            UserError: the strategy has no classifier matrix.
        """
        train = strategy.training_data if train is None else train
        moving = train.moves or type(strategy).classifier_input is not Strategy.classifier_input
        points = []
        for number in range(strategy.heads or 1):
            head = head_of(strategy, number)
            rows = head.classifier_rows()
            if rows is None:
                raise UserError(
                    f"{strategy.name} has no matrix of classifier directions (classifier_rows), so its norms cannot be analysed"
                )
            if moving or self._profile is None:
                dtype = strategy.dtype
                assert isinstance(dtype, torch.dtype)
                self._profile = profile_of(train.view("plain"), train.labels, strategy.facts.num_classes, dtype, head.classifier_input)
            measures = decomposed(rows.to(self._profile.units.device), self._profile)
            points.append(torch.stack([measures[name] for name in MEASURES]))
        self._values.append(torch.stack(points).cpu())
        self.epochs.append(epoch)

    def arrays(self, head: int) -> dict[str, NDArray[np.float64]]:
        """The measures of one head: ``course/epoch`` (E,), and (E, K) of each of ``MEASURES``; NaN for a class without training samples."""
        values = torch.stack([point[head] for point in self._values]).numpy()
        measured = {f"course/{name}": values[:, number] for number, name in enumerate(MEASURES)}
        return {"course/epoch": np.asarray(self.epochs, dtype=np.float64), **measured}
