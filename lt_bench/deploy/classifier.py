"""An exported classifier, used without the suite's training code.

from lt_bench.deploy.classifier import load_classifier
model = load_classifier("classifier")
logits = model(images)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.imported import Recipe
from lt_bench.backbones.transform import Prepared, Transform, read_transform
from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError
from lt_bench.core.inference_heads import head_from
from lt_bench.data.images.decode import BrokenImage, decode

FORMAT = 1
DESCRIPTION, TENSORS, PROGRAM, HEAD_PROGRAM, ONNX = (
    "classifier.json",
    "classifier.safetensors",
    "classifier.pt2",
    "head.pt2",
    "classifier.onnx",
)
TOP = 5

Images = Tensor | Image.Image | str | Path | Sequence[Image.Image | str | Path]


@dataclass(frozen=True)
class Prediction:
    """Prediction for one input: the class, its softmax probability, and the first five classes with theirs."""

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]


class ImageNetwork(nn.Module):
    """Pixels (B, 3, H, W), uint8 or floating point 0..1, to logits (B, K): normalisation, backbone, head."""

    def __init__(self, prepared: Prepared, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        backbone.add_module("fc", nn.Identity())
        self.prepared, self.backbone, self.head = prepared, backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.head(self.backbone(self.prepared(images)))


class _Program(nn.Module):
    """An exported program as a module: it has no training mode to be switched."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> _Program:
        """Nothing to switch."""
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K)."""
        return self.program(features)


class Classifier(nn.Module):
    """A network with its class names and its way of preparing images, in eval mode.

    Attributes:
        classes: K names; column k of the logits is class k.
        description: the whole of ``classifier.json``: transform, provenance.
        transform: how an image is resized and cut; None for a classifier of features.
        network: the module from tensors to logits: pixels where there is a backbone, else features (B, D).
    """

    def __init__(self, network: nn.Module, classes: tuple[str, ...], transform: Transform | None, description: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.classes, self.transform, self.description = network, classes, transform, description
        self.eval()

    def forward(self, inputs: Images) -> Tensor:
        """Logits (B, K).

        Args:
            inputs: a PIL image, a path, a list of these (any size: they are prepared as the training images were), or a tensor: pixels (B, 3, H, W), uint8 or
                floating point 0..1, already of the input size; features (B, D) for a classifier of features.

        Raises:
            UserError: a file is no image, or images are given to a classifier of features.
        """
        tensor = inputs if isinstance(inputs, Tensor) else self.prepare(inputs)
        return self.network(tensor.to(self.device))

    def prepare(self, inputs: Image.Image | str | Path | Sequence[Image.Image | str | Path]) -> Tensor:
        """Images or paths as pixels (B, 3, H, W) uint8."""
        if self.transform is None:
            raise UserError("this classifier takes features, it was exported without a backbone; give it a tensor (B, D)")
        several = [inputs] if isinstance(inputs, Image.Image | str | Path) else inputs
        return self.transform.batch([_opened(one) for one in several])

    def predict(self, inputs: Images) -> list[Prediction]:
        """A ``Prediction`` for every input."""
        with torch.inference_mode():
            probabilities = self(inputs).float().softmax(-1).cpu()
        confidences, classes = probabilities.topk(min(TOP, len(self.classes)))
        return [
            Prediction(self.classes[row[0]], values[0], tuple((self.classes[k], value) for k, value in zip(row, values, strict=True)))
            for row, values in zip(classes.tolist(), confidences.tolist(), strict=True)
        ]

    @property
    def device(self) -> torch.device:
        """Device of the network; ``model.to("cuda")`` moves it."""
        return next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device("cpu"))


def load_classifier(path: str | Path) -> Classifier:
    """The classifier that ``lt-bench export`` wrote into directory ``path``.

    Raises:
        UserError: not an export, or a file of it is missing or damaged.
    """
    directory = Path(path)
    description = _description(directory / DESCRIPTION)
    try:
        tensors = load_file(directory / TENSORS)
        head = _head(
            directory, description["head"], {key.removeprefix("head."): t for key, t in tensors.items() if key.startswith("head.")}
        )
        classes = tuple(description["class_names"])
        if description["input"] == "features":
            return Classifier(head, classes, None, description)
        transform = read_transform(description["transform"]["words"], description["transform"]["size"])
        network = ImageNetwork(Prepared(transform.mean, transform.std), Recipe(**description["backbone"]["recipe"]).build(1), head)
        network.backbone.load_state_dict({key.removeprefix("backbone."): t for key, t in tensors.items() if key.startswith("backbone.")})
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{directory}: a damaged export ({' '.join(str(error).split())[:200]}); export it again") from None
    return Classifier(network.requires_grad_(False), classes, transform, description)


def _description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent}: not an exported classifier (no {path.name}); `lt-bench export --record RECORD.json` makes one")
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); export it again") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise UserError(f"{path}: not of format {FORMAT}; export it again with this version")
    return description


def _head(directory: Path, parts: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    if parts["kind"] == "program":
        return _Program(torch.export.load(directory / HEAD_PROGRAM).module())
    return head_from(parts, tensors)


def _opened(one: Image.Image | str | Path) -> Image.Image:
    if isinstance(one, Image.Image):
        return one.convert("RGB")
    try:
        return decode(Path(one))
    except BrokenImage as error:
        raise UserError(f"{one}: {error}") from None
