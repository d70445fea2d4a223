"""The interface of backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder with a linear classifier on top.

    Attributes:
        fc: the classifier, D to K.
        dim: feature dimension D.
        encoder_prefix: prefix of the encoder's tensors in our state dict, absent from published files.
        classifier_key: name of the classifier in published files, before ``.weight`` and ``.bias``.
        unused: prefixes of tensors in published files that belong neither to the encoder nor the classifier, e.g. auxiliary classifiers.
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
    """A network of another library as a backbone: its last linear layer becomes ``fc``, the inputs of that layer are the features.

    Args:
        network: without its classifier, from images to features (B, D).
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
