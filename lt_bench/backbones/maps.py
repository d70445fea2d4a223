"""Key maps describe the layout of published checkpoints. The shipped ones are in ``importers/``; a user's own has the same form. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lt_bench.core.documents import parse_yaml
from lt_bench.core.errors import UserError


@dataclass(frozen=True)
class HeadMap:
    """A possible place of the classifier in a checkpoint, used if all its tensors exist. ``{i}`` is the number of an expert.

    Attributes:
        weight: name of the weight.
        bias: name of the bias; none for a classifier without.
        transposed: stored as (D, K).
        scale: of a cosine classifier, which no checkpoint stores: a number, or one per data set (others are plain linear).
    """

    weight: str
    bias: str = ""
    transposed: bool = False
    scale: float | dict[str, float] | None = None

    def scale_on(self, dataset: str) -> float | None:
        """The scale for a data set; None for a linear classifier."""
        return self.scale.get(dataset) if isinstance(self.scale, dict) else self.scale


@dataclass(frozen=True)
class Stated:
    """Accuracy that the owners state for a checkpoint, in per cent, and its source."""

    dataset: str
    encoder: str
    accuracy: float
    source: str


@dataclass(frozen=True)
class KeyMap:
    """The layout of one source's checkpoints.

    Attributes:
        name: as on the command line.
        title: the method and its paper.
        repository: the official code.
        weights: which weights are published, in words; "none" if there are none.
        tested: how the map was tested, in words.
        state: prefix to put before the names of a state dict, and where that dict stands in the file: dotted keys, alternatives separated by ``|``, a ``?`` at
            the end for one that may be absent.
        encoder: candidate networks; the first whose tensors fit is used.
        keys: beginning of a name in the checkpoint, and what it becomes in the encoder; the first that fits. ``{i}`` is the number of an expert.
        heads: possible places of the classifier.
        ignore: prefixes of tensors that belong to neither encoder nor classifier.
        relabelled: data sets on which label c of the checkpoint is the c-th class by falling number of training images.
        stated: accuracies that the owners state.
        note: a further remark, one sentence.
    """

    name: str
    title: str = ""
    repository: str = ""
    weights: str = ""
    tested: str = ""
    state: dict[str, str] = field(default_factory=lambda: {"": "state_dict|model|"})
    encoder: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    heads: tuple[HeadMap, ...] = ()
    ignore: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    stated: tuple[Stated, ...] = ()
    note: str = ""

    def stated_on(self, dataset: str, encoder: str) -> Stated | None:
        """The stated accuracy of an encoder on a data set."""
        return next((one for one in self.stated if (one.dataset, one.encoder) == (dataset, encoder)), None)


@cache
def key_map_names() -> tuple[str, ...]:
    """Names of the shipped maps."""
    return tuple(
        sorted(path.name.removesuffix(".yaml") for path in files("lt_bench.backbones.importers").iterdir() if path.name.endswith(".yaml"))
    )


def is_key_map(name: str) -> bool:
    """Whether the name of a backbone is that of a shipped map or a map file; an expert's number may follow after ``@``."""
    base = name.partition("@")[0]
    return base in key_map_names() or base.endswith((".yaml", ".yml"))


def read_key_map(name: str) -> KeyMap:
    """A shipped map by name, or a user's own from a file.

    Raises:
        UserError: no such file, not YAML, or a field is missing or unknown.
    """
    if name in key_map_names():
        text, origin = files("lt_bench.backbones.importers").joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"importers/{name}.yaml"
    else:
        origin = name
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{name}: the key map cannot be read ({error})") from None
    try:
        document = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{origin}: not YAML ({' '.join(str(error).split())})") from None
    return _key_map(document, origin, Path(name).stem)


def _key_map(document: Any, origin: str, name: str) -> KeyMap:
    if not isinstance(document, dict):
        raise UserError(f"{origin}: a key map is a YAML mapping with encoder, keys and heads")
    known = {one.name for one in fields(KeyMap)}
    if unknown := sorted(set(document) - known):
        raise UserError(f"{origin}: unknown field {unknown[0]}; a key map has {', '.join(sorted(known))}")
    if document.get("weights") != "none" and not (document.get("encoder") and document.get("keys")):
        raise UserError(f"{origin}: a key map needs `encoder` (names of backbones) and `keys` (pairs of beginnings)")
    try:
        given = dict(document) | {
            "name": name,
            "encoder": tuple(document.get("encoder", ())),
            "keys": tuple((str(before), str(after)) for before, after in document.get("keys", ())),
            "heads": tuple(HeadMap(**head) for head in document.get("heads", ())),
            "ignore": tuple(document.get("ignore", ())),
            "relabelled": tuple(document.get("relabelled", ())),
            "stated": tuple(Stated(**one) for one in document.get("stated", ())),
        }
        return KeyMap(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{origin}: {' '.join(str(error).split())}") from None
