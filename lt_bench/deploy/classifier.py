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
from lt_bench.core.errors import FAILURES_OF_CODE, UserError
from lt_bench.core.inference_heads import head_from
from lt_bench.data.images.decode import BrokenImage, decode, rgb
from lt_bench.deploy.files import AGAIN, HEAD_PROGRAM, TENSORS, file_of, read_description

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


def load_classifier(path: str | Path, trust_program: bool = False) -> Classifier:
    """The classifier that ``lt-bench export`` wrote into directory ``path``. What is read is checked against its digests first.

    Args:
        path: of the export.
        trust_program: run the program that a head of a kind unknown to the suite was exported as. A program is code: say so only of an export whose maker you
            trust. Every other export is tensors and plain values, and runs nothing of its own.

    Raises:
        UserError: not an export, a file of it is missing or damaged, or its head is a program and ``trust_program`` is not given.
    """
    directory = Path(path)
    description = read_description(directory)
    try:
        tensors = load_file(file_of(directory, description, TENSORS))
        classes = tuple(str(name) for name in description["class_names"])
        head = _head(directory, description, _within(tensors, "head."), trust_program)
        if description["input"] == "features":
            return Classifier(head, classes, None, description)
        transform = read_transform(description["transform"]["words"], description["transform"]["size"])
        network = ImageNetwork(Prepared(transform.mean, transform.std), Recipe(**description["backbone"]["recipe"]).build(1), head)
        network.backbone.load_state_dict(_within(tensors, "backbone."))
    except (SafetensorError, OSError, *FAILURES_OF_CODE) as error:
        raise UserError(f"{directory}: a damaged export ({' '.join(str(error).split())[:200]}); {AGAIN}") from None
    return Classifier(network.requires_grad_(False), classes, transform, description)


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _head(directory: Path, description: dict[str, Any], tensors: dict[str, Tensor], trust_program: bool) -> nn.Module:
    parts = description["head"]
    if parts["kind"] == "program":
        if not trust_program:
            raise UserError(
                f"{directory}: its head is a program, which runs as code here; if you trust who made it, say so: "
                "predict --trust-program, or load_classifier(path, trust_program=True)"
            )
        return _Program(torch.export.load(file_of(directory, description, HEAD_PROGRAM)).module())
    head = head_from(parts, tensors)
    if len(tensors["weight"]) != len(description["class_names"]):
        raise ValueError(f"{len(description['class_names'])} class names, {len(tensors['weight'])} rows of the head")
    return head


def _opened(one: Image.Image | str | Path) -> Image.Image:
    try:
        return rgb(one) if isinstance(one, Image.Image) else decode(Path(one))
    except BrokenImage as error:
        raise UserError(f"{'image' if isinstance(one, Image.Image) else one}: {error}") from None
