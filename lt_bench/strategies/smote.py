"""SMOTE of features, by imbalanced-learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
from lt_bench.features.source import FeatureSource
from lt_bench.strategies.contract import Batch, Recipe, Strategy
from lt_bench.strategies.hyper import hyper


class Smote(Strategy):
    """SMOTE: every class filled up with points between its own features and their neighbours; the points are those of imbalanced-learn.

    ``h = h_i + u (h_j - h_i)``, u uniform in [0, 1), j one of the k nearest of i in its class; ``l_i = CE(z_i, y_i)`` with every class equally likely, its samples and
    its points alike. Classes are filled up to the largest, at most to ``fill``; one of n samples has at most n - 1 neighbours, and one of a single sample no points.

    The points are made once, from the plain training view (``imblearn.over_sampling.SMOTE``, a seed for each repetition), and held in memory. The package comes
    with ``lt-bench[smote]``. The recipe is that of other heads.
    """

    name = "smote"
    family = "feature synthesis"
    paper = "Chawla et al., SMOTE: Synthetic Minority Over-sampling Technique, JAIR 2002; code scikit-learn-contrib/imbalanced-learn"
    sampler = "class_balanced"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5), "weight_decay": (5e-4, 5e-3)}

    k: int = hyper(5, low=1, high=1000, grid=(1, 5), help="neighbours")
    fill: int = hyper(1000, low=1, high=1_000_000, help="samples and points up to which a class is filled at most")

    def begin(self, train: FeatureSource) -> None:
        """Make the points, class after class."""
        try:
            from imblearn.over_sampling import SMOTE
        except ImportError:
            raise UserError("smote needs the package imbalanced-learn; install lt-bench with its extra: lt-bench[smote]") from None
        features, labels = train.view("plain").float().cpu().numpy(), train.labels.cpu().numpy()
        counts = dict(enumerate(self.facts.class_counts))
        target = min(self.fill, max(counts.values()))
        rare = {c: min(self.k, n - 1) for c, n in counts.items() if 1 < n < target}
        points, owners = [torch.zeros(0, features.shape[1])], [torch.zeros(0, dtype=torch.int64)]
        for k in sorted(set(rare.values())):
            wanted: Any = {c: target for c, neighbours in rare.items() if neighbours == k}
            assert isinstance(self.facts.init_seed, int)
            sampler = SMOTE(sampling_strategy=wanted, k_neighbors=k, random_state=self.facts.init_seed % 2**32)
            new, classes = sampler.fit_resample(features, labels)[:2]
            points.append(torch.from_numpy(new[len(features) :]))
            owners.append(torch.from_numpy(classes[len(features) :]))
        order = torch.cat(owners).argsort(stable=True)
        self._points = torch.cat(points)[order].to(train.device)
        self._number = torch.bincount(torch.cat(owners), minlength=len(counts)).to(train.device)
        self._first = self._number.cumsum(0) - self._number

    def augment(self, batch: Batch) -> Batch:
        """A point in place of a sample, as often as its class has points beside samples."""
        number = self._number[batch.labels].unsqueeze(1)
        uniform: Tensor = self.draws.uniform(batch.features[:, :1].float()).double() * (
            number + self.class_counts[batch.labels].unsqueeze(1)
        )
        place = (self._first[batch.labels].unsqueeze(1) + uniform.long()).clamp_max(len(self._points) - 1).squeeze(1)
        if not len(self._points):
            return batch
        return batch._replace(features=torch.where(uniform < number, self._points[place.clamp_min(0)].to(batch.features), batch.features))
