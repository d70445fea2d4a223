"""Transform from the images of a data set to the inputs of a backbone, and which of the two decides it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.loading import transform_of
from lt_bench.backbones.registry import backbone_spec
from lt_bench.backbones.transform import Transform, read_transform
from lt_bench.core.errors import UserError
from lt_bench.data.images.image_list import FileData
from lt_bench.data.images.transforms import Augmentation, augmentation
from lt_bench.data.readers.small_images import ImageData
from lt_bench.data.specs import DatasetSpec


@dataclass(frozen=True)
class Inputs:
    """The transform of a data set for a backbone.

    Attributes:
        words: evaluation, augmentation and, for files, decoding, as they stand in the manifest and make its key.
        evaluation: the same as steps.
        augmentation: of files.
        upright: turn as the EXIF orientation says; a person's own photographs are turned, benchmarks are not, as in their official loaders.
    """

    words: dict[str, str]
    evaluation: Transform
    augmentation: Augmentation
    upright: bool


def inputs_of(
    data: ImageData | FileData, backbone: str, encoder: str, image_size: int | None = None, augment: str | None = None, transform: str = ""
) -> Inputs:
    """Inputs of a backbone. Their transform is the data set's, as in the papers; the backbone's for a person's own images, and where it wants another size than the data set's.

    Args:
        data: the data set.
        backbone: as it was asked for.
        encoder: the network that it is.
        image_size: height and width of the inputs, pixels; the steps before are scaled with it. None: as the transform says.
        augment: steps of the augmentation, see ``augmentation``; None: the data set's.
        transform: of the weights, in the words of a manifest, where these decide it and not the name of the backbone.

    Raises:
        UserError: small images in memory, which keep their size and augmentation.
    """
    spec = data.spec
    if isinstance(data, ImageData) and (image_size or augment):
        raise UserError(f"{spec.name}: its images keep their size and the augmentation of its papers; leave --image-size and --augment out")
    own = "" if isinstance(data, ImageData) else transform or transform_of(backbone)
    wanted = _size(own) if own else _square_input(spec, encoder)
    if own and (spec.num_classes is None or wanted != spec.input_size):
        evaluation, size = own, wanted
    else:
        size = wanted if spec.num_classes is None else spec.input_size
        steps = spec.evaluation if size == spec.input_size else f"resize {round(size * 8 / 7)}, centre crop {size}"
        evaluation = f"{steps}; mean {' '.join(map(str, spec.mean))}, std {' '.join(map(str, spec.std))}"
    if image_size:
        evaluation, size = _scaled(read_transform(evaluation, size), size, image_size).words, image_size
    augmented, upright = augmentation(spec, size, augment), spec.num_classes is None
    words = {"evaluation": evaluation, "augmentation": spec.augmentation}
    if isinstance(data, FileData):
        words |= {"augmentation": augmented.words, "decoding": "RGB, upright by EXIF" if upright else "RGB"}
    return Inputs(words, read_transform(evaluation, size), augmented, upright)


def _square_input(spec: DatasetSpec, encoder: str) -> int:
    return backbone_spec(encoder).input_size or spec.input_size


def _scaled(transform: Transform, size: int, wanted: int) -> Transform:
    """The transform with an input of ``wanted`` pixels in place of ``size``."""
    resize = transform.resize and round(transform.resize * wanted / size)
    return replace(transform, resize=resize, crop=transform.crop and wanted)


def require_size(network: Backbone, name: str, size: int | None) -> None:
    """Refuse a size of inputs that a network does not take.

    Args:
        network: in eval mode.
        name: of the network.
        size: height and width, pixels; None: the network's own.

    Raises:
        UserError: it does not.
    """
    if size is None:
        return
    if size < 1:
        raise UserError(f"--image-size is {size}, expected pixels, e.g. 128")
    try:
        with torch.inference_mode():
            network.features(torch.zeros(1, 3, size, size, device=next(network.parameters()).device))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"{name}: takes no images of {size} pixels ({' '.join(str(error).split())[:200]}); leave --image-size out"
        ) from None


def _size(words: str) -> int:
    transform = read_transform(words)
    return transform.crop or transform.resize or 0
