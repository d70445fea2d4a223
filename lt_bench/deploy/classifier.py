"""An exported classifier, used without the suite's training code.

from lt_bench.deploy.classifier import load_classifier
model = load_classifier("classifier")
logits = model(images)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, unreadable
from lt_bench.core.inference_heads import head_from
from lt_bench.data.images.decode import BrokenImage, decode, rgb
from lt_bench.deploy.calibration import Calibration, PriorEstimate, calibration_from, estimate, exchanged
from lt_bench.deploy.files import AGAIN, HEAD_PROGRAM, TENSORS, file_of, read_description

TOP = 5
SEEN = "seen.train"
"""Name of the tensor with the hashes of the training images' files."""

UNCALIBRATED = "this export is not calibrated: export it again from a cache with validation images that the backbone has not seen"

Images = Tensor | Image.Image | str | Path | Sequence[Image.Image | str | Path]
Prior = str | Tensor | Sequence[float]


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
        """Return the program unchanged, since it has no training mode."""
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
        calibration: fitted on validation images; None where the export has none.
        prior: shares (K,) of the classes that ``set_prior`` named; None for those that the head assumes.
        seen: hashes (N,) int64 of the training images' files; None where the export does not know them.
    """

    def __init__(
        self, network: nn.Module, classes: tuple[str, ...], transform: Transform | None, description: dict[str, Any],
        calibration: Calibration | None = None, seen: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.classes, self.transform, self.description = network, classes, transform, description
        self.calibration, self.prior, self._assumed, self.seen = calibration, None, None, seen
        self.eval()

    prior: Tensor | None
    _assumed: Tensor | None

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
            return self.predictions(self.probabilities(self(inputs)))

    def predictions(self, probabilities: Tensor) -> list[Prediction]:
        """A ``Prediction`` for every row of probabilities (B, K)."""
        confidences, classes = probabilities.topk(min(TOP, len(self.classes)))
        return [
            Prediction(self.classes[row[0]], values[0], tuple((self.classes[k], value) for k, value in zip(row, values, strict=True)))
            for row, values in zip(classes.tolist(), confidences.tolist(), strict=True)
        ]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (B, K) float64, on the CPU, of logits (B, K) of the head.

        Without a prior, those of ``z / T``, whose predictions are the head's; with one, those of the bias-corrected logits, the assumed prior exchanged for it.
        """
        corrected = logits.double()
        if self.prior is None or self._assumed is None:
            return (corrected / (1.0 if self.calibration is None else self.calibration.temperature)).softmax(1).cpu()
        if self.calibration is not None:
            corrected = self.calibration.corrected(corrected)
        return exchanged(corrected, self._assumed, self.prior).softmax(1).cpu()

    def set_prior(self, prior: Prior | None, assumed: Prior | None = None) -> None:
        """State the shares of the classes in what is to be classified. Classes without training images stay impossible.

        Args:
            prior: ``"training"``, ``"uniform"`` or shares (K,) in proportion; None for the head as it is.
            assumed: the prior that the head's probabilities assume, in the same words, where the export is not calibrated; a calibrated one knows it.

        Raises:
            UserError: the shares are not K numbers from 0; not calibrated and ``assumed`` not given, or calibrated and given.
        """
        if prior is None:
            self.prior = self._assumed = None
            return
        if self.calibration is None and assumed is None:
            raise UserError(f"{UNCALIBRATED}, or state the prior that its probabilities assume (assumed=; --assumed-prior)")
        if self.calibration is not None and assumed is not None:
            raise UserError("this export is calibrated and states the prior that its probabilities assume; leave the assumed prior out")
        known = self.calibration.prior if self.calibration is not None else self._shares(assumed)
        wanted = self._shares(prior)
        if not float(wanted[known > 0].sum()) > 0:
            raise UserError("the prior has no share for any class that the head knows")
        self.prior, self._assumed = wanted, known

    def estimate_prior(self, inputs: Images, method: str = "em", batch_size: int = 64) -> PriorEstimate:
        """Shares of the classes in unlabelled inputs, with reasons to doubt them; ``set_prior(estimate.shares)`` puts them to use. See ``calibration.estimate``.

        Raises:
            UserError: as ``calibration.estimate``; or the export is not calibrated: an estimate could be off by any amount.
        """
        with torch.inference_mode():
            logits = [self(some) for some in _batches(inputs, batch_size)]
        return self.estimate_from(torch.cat(logits) if logits else torch.empty(0, len(self.classes)), method)

    def estimate_from(self, logits: Tensor, method: str = "em") -> PriorEstimate:
        """Estimate the prior as ``estimate_prior`` does, from logits (N, K) of the head."""
        return estimate(self.calibrated(), logits, method)

    def calibrated(self) -> Calibration:
        """The calibration.

        Raises:
            UserError: the export has none.
        """
        if self.calibration is None:
            raise UserError(f"{UNCALIBRATED}; a prior that is estimated, thresholds and sets are of no use without that")
        return self.calibration

    def _shares(self, prior: Prior | None) -> Tensor:
        """(K,) float64, summing to 1."""
        counts = self.description.get("provenance", {}).get("train_counts")
        if isinstance(prior, str):
            if prior not in ("training", "uniform") or (prior == "training" and counts is None):
                raise UserError(f"prior {prior!r} is not known; it is training, uniform or one share a class")
            prior = counts if prior == "training" else [1.0] * len(self.classes)
        shares = torch.as_tensor(prior, dtype=torch.float64).cpu()
        if shares.shape != (len(self.classes),) or not bool((shares >= 0).all() & shares.isfinite().all()) or not float(shares.sum()) > 0:
            raise UserError(f"a prior is {len(self.classes)} shares from 0, one a class in the order of class_names, not all 0")
        return shares / shares.sum()

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
        calibration = calibration_from(description.get("calibration"), _within(tensors, "validation."))
        if description["input"] == "features":
            return Classifier(head, classes, None, description, calibration)
        transform = read_transform(description["transform"]["words"], description["transform"]["size"])
        network = ImageNetwork(Prepared(transform.mean, transform.std), Recipe(**description["backbone"]["recipe"]).build(1), head)
        network.backbone.load_state_dict(_within(tensors, "backbone."))
    except PermissionError as error:
        raise unreadable(error.filename or directory, error) from None
    except (SafetensorError, OSError, *FAILURES_OF_CODE) as error:
        raise UserError(f"{directory}: a damaged export ({' '.join(str(error).split())[:200]}); {AGAIN}") from None
    return Classifier(network.requires_grad_(False), classes, transform, description, calibration, tensors.get(SEEN))


def _batches(inputs: Images, size: int) -> Iterator[Any]:
    several = [inputs] if isinstance(inputs, Image.Image | str | Path) else inputs
    return (several[start : start + size] for start in range(0, len(several), size))


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by their names without it."""
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
