"""Published stage-1 checkpoints as backbones, by a key map."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_bench.backbones.base import Backbone
from lt_bench.backbones.checkpoints import read_checkpoint, tensors_at
from lt_bench.backbones.maps import HeadMap, KeyMap
from lt_bench.backbones.order import argsort_introsort
from lt_bench.backbones.registry import build_backbone
from lt_bench.core.errors import UserError

Linear = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """Architecture of an imported checkpoint's network.

    Attributes:
        encoder: name of the backbone of every expert.
        experts: how many there are.
        normalised: whether the features of an expert are brought to unit length, as cosine classifiers do.
        config: JSON of the configuration, of a network of transformers.
    """

    encoder: str
    experts: int = 1
    normalised: bool = False
    config: str = ""

    def build(self, num_classes: int) -> Backbone:
        """The network with fresh weights."""
        if self.config:
            from lt_bench.backbones.transformers_nets import build

            return build(self.encoder, num_classes, self.config)
        if self.experts == 1 and not self.normalised:
            return build_backbone(self.encoder, num_classes)
        return Experts([build_backbone(self.encoder, 1) for _ in range(self.experts)], num_classes, self.normalised)


class Experts(Backbone):
    """Encoders whose features (optionally normalised to unit length) are concatenated; D is the sum of their dimensions.

    A linear classifier whose blocks are the experts' own classifiers, divided by their number, gives the average of the experts' logits.

    Args:
        encoders: the experts; their classifiers are taken away.
        num_classes: K.
        normalised: see above.
    """

    def __init__(self, encoders: Sequence[Backbone], num_classes: int, normalised: bool) -> None:
        super().__init__()
        self.dim, self.normalised = sum(encoder.dim for encoder in encoders), normalised
        for encoder in encoders:
            encoder.add_module("fc", nn.Identity())
        self.encoders = nn.ModuleList(encoders)
        self.fc = nn.Linear(self.dim, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D), expert after expert."""
        features = [encoder(images) for encoder in self.encoders]
        return torch.cat([F.normalize(one, dim=1) for one in features] if self.normalised else features, dim=1)


@dataclass(frozen=True)
class Import:
    """Parts of a checkpoint: recipe of the network, a state dict per expert, the classifier over their features, and names of unused tensors."""

    recipe: Recipe
    encoders: tuple[dict[str, Tensor], ...]
    head: Linear | None
    unused: tuple[str, ...]


def read_import(key_map: KeyMap, path: Path, dataset: str, train_counts: Sequence[int], expert: int | None = None) -> Import:
    """Read the parts of a checkpoint by its map.

    Args:
        key_map: the layout.
        path: the file.
        dataset: data set to use the checkpoint on, which decides some scales and label orders.
        train_counts: (K,) training images per class, for label orders by frequency.
        expert: number of the only expert to read, from 0; None: all.

    Raises:
        UserError: nothing was published, the file is not laid out so, or there is no such expert.
    """
    if key_map.weights == "none" and not key_map.keys:
        raise UserError(f"{key_map.name}: {key_map.note}")
    state = _gather(key_map, read_checkpoint(path), path)
    count = _experts(key_map, state)
    if expert is not None and expert >= count:
        raise UserError(f"{path}: expert {expert} is asked for and there are {count}, from 0; name one of them after @")
    chosen = [expert] if expert is not None else list(range(count))
    head_map = next((head for head in key_map.heads if _has(head, state, chosen)), None)
    encoders = tuple(_encoder_state(key_map, state, i, head_map) for i in chosen)
    name = _fitting(key_map, encoders[0], path)
    scale = head_map.scale_on(dataset) if head_map else None
    head = _joined([_head(head_map, state, i, scale) for i in chosen]) if head_map else None
    if head is not None and dataset in key_map.relabelled:
        head = _relabelled(head, train_counts, path)
    return Import(Recipe(name, len(chosen), scale is not None), encoders, head, _unused(key_map, state, count))


def _gather(key_map: KeyMap, content: object, path: Path) -> dict[str, Tensor]:
    """Tensors of the checkpoint's parts under the map's prefixes, without the prefix of data-parallel training."""
    gathered: dict[str, Tensor] = {}
    for prefix, places in key_map.state.items():
        optional = places.endswith("?")
        alternatives = places.removesuffix("?").split("|")
        part = next((tensors for place in alternatives if (tensors := tensors_at(content, place)) is not None), None)
        if part is None and not optional:
            top = ", ".join(list(map(str, content))[:6]) if isinstance(content, Mapping) else type(content).__name__
            raise UserError(f"{path}: no state dict at {' or '.join(filter(None, alternatives)) or 'its top'}; it has {top}")
        gathered |= {prefix + key: tensor for key, tensor in without_module(part or {}).items()}
    return gathered


def without_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the ``module.`` that data-parallel training puts before every name."""
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return dict(state)


def _experts(key_map: KeyMap, state: Mapping[str, Tensor]) -> int:
    patterns = [before for before, _ in key_map.keys if "{i}" in before]
    count = 0
    while any(key.startswith(pattern.replace("{i}", str(count))) for pattern in patterns for key in state):
        count += 1
    return max(count, 1)


def _has(head: HeadMap, state: Mapping[str, Tensor], experts: Sequence[int]) -> bool:
    names = [name.replace("{i}", str(i)) for name in (head.weight, head.bias) if name for i in experts]
    return all(name in state for name in names) and state[names[0]].dim() == 2


def _encoder_state(key_map: KeyMap, state: Mapping[str, Tensor], expert: int, head: HeadMap | None) -> dict[str, Tensor]:
    taken = {name.replace("{i}", str(expert)) for name in (head.weight, head.bias)} if head else set()
    encoder = {}
    for key, tensor in state.items():
        if key in taken or key.startswith(key_map.ignore):
            continue
        for before, after in key_map.keys:
            beginning = before.replace("{i}", str(expert))
            if key.startswith(beginning):
                encoder[after + key.removeprefix(beginning)] = tensor
                break
    return encoder


def _fitting(key_map: KeyMap, state: Mapping[str, Tensor], path: Path) -> str:
    """The first network of the map whose tensors have exactly these names and shapes."""
    nearest, complaint = -1, ""
    given = {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    for name in key_map.encoder:
        wanted = encoder_shapes(name)
        if given == wanted:
            return name
        agreeing = sum(given.get(key) == shape for key, shape in wanted.items())
        if agreeing > nearest:
            wrong = next((key for key in wanted if given.get(key) != wanted[key]), None)
            extra = next((key for key in given if key not in wanted), None)
            nearest = agreeing
            complaint = f"{wrong} is {given.get(wrong, 'absent')}, expected {wanted[wrong]}" if wrong else f"{extra} is unknown to it"
    raise UserError(
        f"{path}: not laid out as {key_map.name}'s checkpoints, none of {', '.join(key_map.encoder)} fits; nearest miss: {complaint}"
    )


def encoder_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of an encoder's tensors, by the names of published files."""
    with torch.device("meta"):
        network = build_backbone(name, 1)
    prefix = network.encoder_prefix
    return {
        key.removeprefix(prefix): tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }


def _head(head: HeadMap, state: Mapping[str, Tensor], expert: int, scale: float | None) -> Linear:
    """One expert's classifier (K, D) and (K,); a cosine one with its scale and its rows' norms folded in, for features of unit length."""
    weight = state[head.weight.replace("{i}", str(expert))].float()
    weight = weight.T.contiguous() if head.transposed else weight
    if scale is not None:
        weight = F.normalize(weight, dim=1) * scale
    bias = state[head.bias.replace("{i}", str(expert))].float() if head.bias else torch.zeros(weight.shape[0])
    return weight, bias


def _joined(heads: Sequence[Linear]) -> Linear:
    """The average of the experts' logits as one classifier over their features in a row."""
    return torch.cat([weight for weight, _ in heads], dim=1) / len(heads), torch.stack([bias for _, bias in heads]).mean(0)


def _relabelled(head: Linear, train_counts: Sequence[int], path: Path) -> Linear:
    weight, bias = head
    if len(train_counts) != weight.shape[0]:
        raise UserError(f"{path}: a classifier of {weight.shape[0]} classes and a data set of {len(train_counts)}; the wrong data set")
    place = torch.empty(len(train_counts), dtype=torch.long)
    place[torch.tensor(argsort_introsort([-count for count in train_counts]))] = torch.arange(len(train_counts))
    return weight[place].contiguous(), bias[place].contiguous()


def _unused(key_map: KeyMap, state: Mapping[str, Tensor], experts: int) -> tuple[str, ...]:
    """Tensors that the map does not know, by the beginning of their names."""
    heads = {name.replace("{i}", str(i)) for head in key_map.heads for name in (head.weight, head.bias) for i in range(experts)}
    beginnings = tuple(before.replace("{i}", str(i)) for before, _ in key_map.keys for i in range(experts))
    left = [key for key in state if key not in heads and not key.startswith(key_map.ignore) and not key.startswith(beginnings)]
    return tuple(sorted({re.split(r"\.\d+\.|\.weight|\.bias", key)[0] for key in left}))
