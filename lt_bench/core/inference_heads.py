"""Inference heads that are not one linear layer, and how any of them is kept in a file. Plain modules of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.core.memory_heads import Neighbours, Quadratic
from lt_bench.core.shortlist_head import Shortlist

STANDARDISATION = ("input.mean", "input.divisor")
"""Names of the tensors of a ``Standardised`` head, beside those of the head within."""
SHORTEST = 1e-12
"""A feature or row that is shorter counts as one of this length, as in ``torch.nn.functional.normalize``."""


class NormalisedLinear(nn.Module):
    """A linear layer on features brought to the unit sphere: ``weight @ f / ||f|| + bias`` with ``f = scale * sign(h) |h|^power + shift``.

    Args:
        weight: (K, D).
        bias: (K,) or None.
        scale: per dimension (D,), None for 1.
        shift: per dimension (D,), None for 0; minus the training mean for centred features.
        squash: divide by 1 + ||f|| instead, so that short features stay short (OLTR).
        power: of each dimension.
    """

    scale: Tensor | None
    shift: Tensor | None
    options: ClassVar[tuple[str, ...]] = ("squash", "power")

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None, shift: Tensor | None = None, squash: bool = False,
        power: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.register_buffer("scale", None if scale is None else scale.detach().clone())
        self.register_buffer("shift", None if shift is None else shift.detach().clone())
        self.squash, self.power = squash, power

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        features = signed_power(features, self.power)
        if self.scale is not None:
            features = features * self.scale
        if self.shift is not None:
            features = features + self.shift
        return F.linear(on_sphere(features, self.squash), self.weight, self.bias)


def on_sphere(features: Tensor, squash: bool = False) -> Tensor:
    """``f / ||f||``, or ``f / (1 + ||f||)``, along the last dimension; zero stays zero."""
    norms = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    return features * (1 + norms if squash else norms.clamp_min(SHORTEST)).reciprocal()  # a product is several times as fast as a division


def signed_power(features: Tensor, power: float) -> Tensor:
    """``sign(h) |h|^power`` of each number; the features themselves for power 1."""
    return features if power == 1 else features.sign() * features.abs() ** power


class ConfidenceHead(nn.Module):
    """A linear classifier whose logits are scaled and shifted per class, as much as a confidence in the sample says: ``z_c (1 + g(h) s_c) + g(h) t_c``.

    Args:
        weight: (K, D) of the classifier, and its ``bias`` (K,).
        bias: see ``weight``.
        scale: s (K,).
        shift: t (K,).
        gate_weight: v (D,) of g(h) = sigmoid(v h + b).
        gate_bias: b, a scalar tensor.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor
    shift: Tensor
    gate_weight: Tensor
    gate_bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, gate_weight: Tensor, gate_bias: Tensor) -> None:
        super().__init__()
        tensors = {"weight": weight, "bias": bias, "scale": scale, "shift": shift, "gate_weight": gate_weight, "gate_bias": gate_bias}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        gate = torch.sigmoid(features @ self.gate_weight + self.gate_bias).unsqueeze(-1)
        return F.linear(features, self.weight, self.bias) * (1 + gate * self.scale) + gate * self.shift


class LinearAndCosine(nn.Module):
    """A linear classifier plus the cosine between the centred feature and one direction a class: ``W h + b + P (f - c) / ||f - c||``, ``f = sign(h) |h|^power``.

    Args:
        weight: (K, D) of the classifier, and its ``bias`` (K,).
        bias: see ``weight``.
        prototypes: P (K, D), directions times the weight of the cosine.
        centre: c (D,).
        power: of each dimension.
    """

    weight: Tensor
    bias: Tensor
    prototypes: Tensor
    centre: Tensor
    options: ClassVar[tuple[str, ...]] = ("power",)

    def __init__(self, weight: Tensor, bias: Tensor, prototypes: Tensor, centre: Tensor, power: float = 1.0) -> None:
        super().__init__()
        self.power = power
        for name, tensor in {"weight": weight, "bias": bias, "prototypes": prototypes, "centre": centre}.items():
            self.register_buffer(name, tensor.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        directions = on_sphere(signed_power(features, self.power) - self.centre)
        return F.linear(features, self.weight, self.bias) + F.linear(directions, self.prototypes)


class Standardised(nn.Module):
    """A head fitted on standardised features, made to take raw features: ``head((h - mean) / divisor)``.

    Args:
        head: of standardised features.
        mean: (D,) float64.
        divisor: (D,) float64; in double precision, a large common offset of raw features costs no digits.
    """

    mean: Tensor
    divisor: Tensor

    def __init__(self, head: nn.Module, mean: Tensor, divisor: Tensor) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("mean", mean.detach().double().clone())
        self.register_buffer("divisor", divisor.detach().double().clone())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of raw features (B, D)."""
        return self.head(((features.double() - self.mean) / self.divisor).float())


class AllClasses(nn.Module):
    """A head of K' classes as a head of all K classes, with a logit of minus infinity for the others.

    Args:
        head: head of the classes with training rows, from features (B, D) to logits (B, K').
        numbers: (K',) numbers of these classes among all K.
        num_classes: K.
    """

    numbers: Tensor

    def __init__(self, head: nn.Module, numbers: Tensor, num_classes: int) -> None:
        super().__init__()
        self.head, self.num_classes = head, num_classes
        self.register_buffer("numbers", numbers.detach())

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K), minus infinity for the classes without training rows."""
        logits = self.head(features)
        return logits.new_full((logits.shape[0], self.num_classes), -torch.inf).index_copy(1, self.numbers, logits)


class Averaged(nn.Module):
    """The mean of the logits of several heads.

    Args:
        heads: each from features (B, D) to logits (B, K).
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        return torch.stack([head(features) for head in self.heads]).mean(0)


def averaged(heads: Sequence[nn.Module]) -> nn.Module:
    """The mean of the logits of several heads, one linear layer where all of them are."""
    linear = [head for head in heads if type(head) is nn.Linear]
    if len(linear) < len(heads):
        return Averaged(heads)
    first = linear[0]
    biases = [first.weight.new_zeros(first.out_features) if head.bias is None else head.bias for head in linear]
    mean = nn.Linear(first.in_features, first.out_features, device=first.weight.device, dtype=first.weight.dtype)
    with torch.no_grad():
        mean.weight.copy_(torch.stack([head.weight for head in linear]).mean(0))
        mean.bias.copy_(torch.stack(biases).mean(0))
    return mean.requires_grad_(False).eval()


KINDS: dict[str, type[nn.Module]] = {
    "normalised_linear": NormalisedLinear,
    "confidence": ConfidenceHead,
    "linear_and_cosine": LinearAndCosine,
    "neighbours": Neighbours,
    "quadratic": Quadratic,
    "shortlist": Shortlist,
}
"""Kinds beside ``linear``, ``averaged``, ``all_classes`` and ``standardised``: the class takes its tensors by name, and the plain values that ``options`` names."""


def head_parts(head: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Description (plain JSON) and tensors of a head, from which ``head_from`` rebuilds it; None for a module of a kind not known here."""
    if isinstance(head, Standardised):
        inner = head_parts(head.head)
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in zip(STANDARDISATION, (head.mean, head.divisor), strict=True)
        }
        return inner and ({**inner[0], "standardised": True}, {**inner[1], **tensors})
    if isinstance(head, AllClasses):
        inner = head_parts(head.head)
        tensors = {"numbers": head.numbers.detach().cpu().contiguous()}
        return inner and (
            {"kind": "all_classes", "head": inner[0], "num_classes": head.num_classes},
            tensors | {f"head.{name}": tensor for name, tensor in inner[1].items()},
        )
    if isinstance(head, Averaged):
        inner = [head_parts(one) for one in head.heads]
        if not all(inner):
            return None
        named = {f"{number}.{name}": tensor for number, (_, tensors) in enumerate(filter(None, inner)) for name, tensor in tensors.items()}
        return {"kind": "averaged", "heads": [parts for parts, _ in filter(None, inner)]}, named
    kind = "linear" if type(head) is nn.Linear else next((name for name, of in KINDS.items() if type(head) is of), None)
    if kind is None:
        return None
    parts = {"kind": kind, **{name: getattr(head, name) for name in getattr(head, "options", ())}}
    return parts, {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}


def head_from(parts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The head that ``head_parts`` took apart, without gradients.

    Raises:
        KeyError: an unknown kind, or a tensor or plain value is missing.
    """
    if parts.get("standardised"):
        inner = head_from(
            {name: part for name, part in parts.items() if name != "standardised"},
            {name: tensor for name, tensor in tensors.items() if name not in STANDARDISATION},
        )
        return Standardised(inner, *(tensors[name] for name in STANDARDISATION)).requires_grad_(False)
    if parts["kind"] == "all_classes":
        of_head = {name.removeprefix("head."): tensor for name, tensor in tensors.items() if name != "numbers"}
        head: nn.Module = AllClasses(head_from(parts["head"], of_head), tensors["numbers"], parts["num_classes"])
    elif parts["kind"] == "averaged":
        split = [(int(number), rest, tensor) for name, tensor in tensors.items() for number, _, rest in [name.partition(".")]]
        inner = [head_from(one, {rest: tensor for of, rest, tensor in split if of == number}) for number, one in enumerate(parts["heads"])]
        head = Averaged(inner)
    elif parts["kind"] == "linear":
        weight, bias = tensors["weight"], tensors.get("bias")
        head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        head.load_state_dict(dict(tensors))
    else:
        of: Any = KINDS[parts["kind"]]
        head = of(**tensors, **{name: parts[name] for name in getattr(of, "options", ()) if name in parts})
    return head.requires_grad_(False)
