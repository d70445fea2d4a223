"""Backbones with their weights, from any source; used by extraction, training and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.checkpoints import read_state
from lt_bench.backbones.encoders import Prompt
from lt_bench.backbones.imported import Import, Linear, Recipe, read_import, without_module
from lt_bench.backbones.maps import Stated, is_key_map, read_key_map
from lt_bench.backbones.registry import HUB, OPEN_CLIP, TIMM, TORCHVISION, TRANSFORMERS, BackboneSpec, backbone_spec, build_backbone
from lt_bench.backbones.training_rows import read_training_rows
from lt_bench.backbones.weights import weights_hash
from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError

IMAGENET = "imagenet_lt"


@dataclass(frozen=True)
class Loaded:
    """A backbone with its weights.

    Attributes:
        network: in eval mode; ``network.fc`` is the stage-1 classifier where there is one, else fresh.
        recipe: how to rebuild the network.
        head: the stage-1 classifier, weight (K, D) and bias (K,), or None: other classes than the data set's, or none.
        weights_hash: identity of the weights.
        imported: whether it is a published checkpoint, read by a key map.
        stated: the accuracy that the owners state for it.
        notes: remarks for the user, one line each.
        rows: hashes of the images that it was trained on, where the weights say so.
        stage1: how it was trained, in words, where its publisher is known.
        transform: of its images, in the words of a manifest, where the weights decide it.
    """

    network: Backbone
    recipe: Recipe
    head: Linear | None
    weights_hash: str
    imported: bool = False
    stated: Stated | None = None
    notes: tuple[str, ...] = ()
    rows: Hashes | None = None
    stage1: str = ""
    transform: str = ""


def load_backbone(
    name: str,
    weights: Path | str | None,
    num_classes: int,
    dataset: str = "",
    train_counts: Sequence[int] = (),
    prompt: Prompt | None = None,
) -> Loaded:
    """Build a backbone and load its weights.

    Args:
        name: a backbone of the registry, a published source (``paco``; ``ride@0`` for one expert), or a key map file.
        weights: a local file, or ``hub`` (``hub:VERSION``) for the pretrained weights of torchvision and timm; None for those that a package brings.
        num_classes: K of the data set.
        dataset: its name, for published sources.
        train_counts: (K,) training images per class, for published sources.
        prompt: sentences about the classes, of which a text tower makes the head where there is one.

    Raises:
        UserError: no such backbone, file or weights; they do not fit; the hub cannot be reached.
    """
    base, _, expert = name.partition("@")
    if is_key_map(name):
        if expert and not expert.isdecimal():
            raise UserError(f"backbone {name!r}: after @ stands the number of an expert, from 0")
        if weights is None:
            raise UserError(f"{name}: name its checkpoint with --weights")
        return _load_import(base, Path(weights), num_classes, dataset, train_counts, int(expert) if expert else None)
    spec = backbone_spec(name)
    if name.startswith((OPEN_CLIP, TRANSFORMERS)):
        return _load_encoder(name, weights, num_classes, prompt)
    if weights is None:
        return _load_packaged(spec, num_classes)
    of_hub = str(weights).partition(":")[0] == HUB
    state = _hub_state(spec.name, str(weights)) if of_hub else read_state(Path(weights))
    network = build_backbone(spec.name, num_classes)
    head = fill(network, state, str(weights))
    if of_hub and dataset != IMAGENET:
        head = None  # its classes are ImageNet's, even where the data set has as many
    notes = () if head is not None else (f"{weights}: no classifier for the {num_classes} classes of the data set there",)
    rows = None if of_hub else read_training_rows(Path(weights))
    return Loaded(network.eval(), Recipe(spec.name), head, weights_hash(state), notes=notes, rows=rows)


def _load_encoder(name: str, weights: Path | str | None, num_classes: int, prompt: Prompt | None) -> Loaded:
    if name.startswith(OPEN_CLIP):
        from lt_bench.backbones.open_clip_nets import load
    else:
        from lt_bench.backbones.transformers_nets import load
    encoder = load(name, weights, num_classes, prompt)
    stage1 = f"published weights {weights or name.removeprefix(TRANSFORMERS)}"
    if encoder.head is not None and prompt is not None:
        stage1 += f"; head: text tower, {prompt.template!r}"
        put_head(encoder.network, encoder.head)
    return Loaded(
        encoder.network, Recipe(name, config=encoder.config), encoder.head, weights_hash(encoder.network.network.state_dict()), stage1=stage1,
        transform=encoder.transform,
    )  # fmt: skip


def _load_packaged(spec: BackboneSpec, num_classes: int) -> Loaded:
    if not spec.package:
        raise UserError(f"{spec.name}: brings no weights of its own; name a file with --weights")
    from lt_bench.backbones.packaged import packaged_state  # builds timm's network, which no other backbone needs

    state, network = packaged_state(spec.name), build_backbone(spec.name, num_classes)
    fill(network, state, spec.package)
    return Loaded(network.eval(), Recipe(spec.name), None, weights_hash(state), stage1=f"ImageNet-1k, weights of {spec.package}")


def fill(network: Backbone, state: Mapping[str, Tensor], origin: str) -> Linear | None:
    """Copy a state dict, with our names or the library's, into a network; a classifier with another number of classes is left out.

    Returns:
        The classifier, if it was copied.

    Raises:
        UserError: names the first tensor of the encoder that is missing, unknown or of another shape.
    """
    state = without_module(state)
    own = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("fc.")}
    ours = network.encoder_prefix and all(key.startswith((network.encoder_prefix, "fc.")) for key in state)
    prefix, classifier = ("", "fc") if ours else (network.encoder_prefix, network.classifier_key)
    unused = (f"{classifier}.", *network.unused)
    encoder = {prefix + key: tensor for key, tensor in state.items() if not key.startswith(unused)}
    _check_encoder(own, encoder, origin)
    network.load_state_dict(encoder, strict=False)
    weight, bias = state.get(f"{classifier}.weight"), state.get(f"{classifier}.bias")
    if weight is None or weight.shape != network.fc.weight.shape:
        return None
    bias = torch.zeros(weight.shape[0]) if bias is None else bias
    return put_head(network, (weight.float(), bias.float()))


def put_head(network: Backbone, head: Linear) -> Linear:
    """Make ``head`` the classifier of a network, and return it."""
    with torch.no_grad():
        network.fc.weight.copy_(head[0])
        network.fc.bias.copy_(head[1])
    return head


def transform_of(name: str) -> str:
    """Image transform of the pretrained weights of a backbone, in the words of a manifest; empty if the data set decides."""
    if name.startswith(TIMM):
        from lt_bench.backbones.timm_nets import build, transform_words

        return transform_words(build(name, 1))
    return "" if is_key_map(name) else backbone_spec(name).transform


def _load_import(name: str, path: Path, num_classes: int, dataset: str, train_counts: Sequence[int], expert: int | None) -> Loaded:
    key_map = read_key_map(name)
    taken = read_import(key_map, path, dataset, train_counts, expert)
    network = taken.recipe.build(num_classes)
    for encoder, state in zip(getattr(network, "encoders", [network]), taken.encoders, strict=True):
        encoder.load_state_dict({encoder.encoder_prefix + key: tensor for key, tensor in state.items()}, strict=False)
    notes = [f"{path}: layout of {key_map.title or name}; {key_map.tested or 'a map of your own'}"]
    notes += [f"{path}: not used: {', '.join(taken.unused)}"] if taken.unused else []
    head = taken.head
    if head is not None and head[0].shape != network.fc.weight.shape:
        notes.append(f"{path}: its classifier has {head[0].shape[0]} classes, the data set {num_classes}; the cache has no stage-1 head")
        head = None
    if head is not None:
        put_head(network, head)
    stated = key_map.stated_on(dataset, taken.recipe.encoder) if expert is None else None
    return Loaded(network.eval(), taken.recipe, head, _import_hash(taken), True, stated, tuple(notes))


def _import_hash(taken: Import) -> str:
    """Identity of the tensors that were read from a checkpoint; other content of the file does not count."""
    tensors = {f"{i}.{key}": tensor for i, state in enumerate(taken.encoders) for key, tensor in state.items()}
    if taken.head is not None:
        tensors |= {"head.weight": taken.head[0], "head.bias": taken.head[1]}
    return weights_hash(tensors)


def _hub_state(name: str, weights: str) -> dict[str, Tensor]:
    version = weights.partition(":")[2] or "DEFAULT"
    try:
        if name.startswith(TORCHVISION):
            from lt_bench.backbones.torchvision_nets import hub_state
        elif name.startswith(TIMM):
            from lt_bench.backbones.timm_nets import hub_state
        else:
            raise UserError(f"{name}: no pretrained weights are published for it; name a file with --weights")
        return hub_state(name, version)
    except KeyError:
        raise UserError(f"{name}: torchvision has no weights called {version}; try --weights hub") from None
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name}: the hub's weights cannot be fetched ({reason}); download them elsewhere and name the file with --weights"
        ) from None


def _check_encoder(own: Mapping[str, Tensor], given: Mapping[str, Tensor], origin: str) -> None:
    for key in own:
        if key not in given and not key.endswith("num_batches_tracked"):
            raise UserError(f"{origin}: has no {key}; the weights are of another backbone")
    for key, tensor in given.items():
        if key not in own:
            raise UserError(f"{origin}: {key} is unknown to this backbone; the weights are of another one")
        if tensor.shape != own[key].shape:
            raise UserError(
                f"{origin}: {key} has shape {tuple(tensor.shape)}, the backbone {tuple(own[key].shape)}; the weights are of another one"
            )
