"""Mixup of features, and the label rule of Remix."""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor

from lt_bench.features.source import training_views
from lt_bench.strategies._lib.tensors import per_class
from lt_bench.strategies.contract import Batch, Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Identity, LogCounts


class Paired(Strategy, abstract=True):
    """A strategy that combines each sample of a batch with another training sample, drawn from all alike."""

    def partners(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (S, B, D) and labels (S, B) of a random training sample for each of the batch; without S for one head."""
        train, views = self.training_data, training_views(self.training_data, self.recipe.views)
        uniform = self.draws.uniform(batch.features[..., :1].expand(*batch.features.shape[:-1], 2).float())
        sample = (uniform[..., 0] * len(train)).long().clamp_max(len(train) - 1)
        view = torch.tensor(views, device=sample.device)[(uniform[..., 1] * len(views)).long().clamp_max(len(views) - 1)]
        return train.gather(view * len(train) + sample).to(batch.features), train.labels[sample]


class FeatureMixup(Paired):
    """Mixup of features under balanced softmax: between two samples the loss is between their labels.

    ``h = s h_i + (1 - s) h_j``, ``l = s CE(z + log n, y_i) + (1 - s) CE(z + log n, y_j)``, j drawn from all training samples, s ~ Beta(alpha, alpha) once a batch.

    Mixup is of images there and trains the network; of the features under a head alone it is manifold mixup at the last layer (Verma et al., ICML 2019), and the
    recipe is inferred. In place of a permutation of the batch the partners are drawn anew.
    """

    name = "feature_mixup"
    family = "feature synthesis"
    paper = "Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018; Ren et al., Balanced Meta-Softmax, NeurIPS 2020"
    initial_head = "random"
    recipe = Recipe(lr=0.1, weight_decay=5e-4, batch_size=128, epochs=30)
    grid = {"lr": (0.01, 0.1, 0.5), "weight_decay": (5e-4, 5e-3)}
    stackable = True

    alpha: float = hyper(1.0, low=1e-3, high=100, grid=(0.2, 1.0), help="of the Beta distribution of the share")

    transform = LogCounts()

    def augment(self, batch: Batch) -> Batch:
        """The batch mixed with its partners."""
        features, other = map(self.per_head, self.partners(batch))
        share = self._share_of_batch(features)
        mixed = torch.lerp(features, self.per_head(batch.features), share.unsqueeze(-1))
        return batch._replace(features=mixed, other=other, share=self.label_share(share.expand(other.shape), batch.labels, other))

    def _share_of_batch(self, features: Tensor) -> Tensor:
        """s, the quantile of a uniform number: (1,), or (H, 1) in a stack."""
        alpha = self.alpha.cpu().numpy() if isinstance(self.alpha, Tensor) else self.alpha
        uniform = self.per_head(self.draws.row(1, features.device)).double().cpu().numpy()
        share = torch.as_tensor(betaincinv(alpha, alpha, uniform)).to(features)
        return share if self.heads is not None else share[0]

    def label_share(self, share: Tensor, labels: Tensor, other: Tensor) -> Tensor:
        """Weight of the first labels (B,), given their share of the features."""
        return share

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Between the losses of the two labels."""
        losses = super().loss(logits, batch)
        if batch.other is None or batch.share is None:
            return losses
        return torch.lerp(super().loss(logits, batch._replace(labels=batch.other)), losses, batch.share.to(losses))


class Remix(FeatureMixup):
    """Remix: mixup of features whose label goes to the rare one of two classes.

    ``h = s h_i + (1 - s) h_j``, ``l = t CE(z, y_i) + (1 - t) CE(z, y_j)``: t is 0 where ``n_i >= kappa n_j`` and s < tau, 1 where ``n_j >= kappa n_i`` and 1 - s < tau,
    else s. kappa 3 and tau 0.5 as the paper suggests (in ntucllab/imbalanced-DL ``_remix_drw.py``, a re-implementation). There it is of images, and trains the
    network; of features under a head alone the recipe is inferred.
    """

    name = "remix"
    paper = "Chou et al., Remix: Rebalanced Mixup, ECCV 2020 workshops; code ntucllab/imbalanced-DL e6c8e3a (a re-implementation)"

    kappa: float = hyper(
        3.0, low=1, high=1e6, grid=(3.0, 10.0), help="how many times as large a class is that leaves its label to the other"
    )
    tau: float = hyper(0.5, low=0, high=1, help="share of the features up to which a class loses its label")

    transform = Identity()

    def label_share(self, share: Tensor, labels: Tensor, other: Tensor) -> Tensor:
        """t (B,)."""
        own, theirs = per_class(self.class_counts, labels), per_class(self.class_counts, other)
        share = torch.where((theirs >= self.kappa * own) & (1 - share < self.tau), 1.0, share)
        return torch.where((own >= self.kappa * theirs) & (share < self.tau), 0.0, share)
