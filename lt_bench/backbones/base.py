"""What every backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder with a linear classifier on top.

    Attributes:
        fc: the classifier, D to K.
        dim: feature dimension D.
        encoder_prefix: what the names of the encoder's tensors begin with here and not in the files that others publish.
        classifier_key: what the classifier's tensors are called in those files, before ``.weight`` and ``.bias``.
        unused: beginnings of names in those files that are no part of the encoder, e.g. auxiliary classifiers.
    """

    fc: nn.Linear
    dim: int
    encoder_prefix: str = ""
    classifier_key: str = "fc"
    unused: tuple[str, ...] = ()

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D) of normalised images (B, 3, H, W): what the classifier sees."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.fc(self.features(images))


class Wrapped(Backbone):
    """A network of another library as a backbone: its last linear layer becomes ``fc``, and what that layer saw are the features.

    Args:
        network: gives features (B, D) once its own classifier is taken away.
        dim: D.
        num_classes: K.
        classifier_key: name of the classifier in the library's own state dict.
        unused: see ``Backbone``.
    """

    encoder_prefix = "network."

    def __init__(self, network: nn.Module, dim: int, num_classes: int, classifier_key: str, unused: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network, self.dim = network, dim
        self.classifier_key, self.unused = classifier_key, unused
        self.fc = nn.Linear(dim, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D)."""
        return self.network(images)
