"""Key maps: how a published checkpoint is laid out, as data. The shipped ones are the files of ``importers/``; a user's own has the same form. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lt_bench.core.errors import UserError


@dataclass(frozen=True)
class HeadMap:
    """One way in which a classifier can stand in a checkpoint; it is taken where all its tensors are there. ``{i}`` is the number of an expert.

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
    """An accuracy that the owners state for a checkpoint, in per cent, and where they do."""

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
        weights: what has been published, in words; "none" where nothing.
        tested: on what the map was tried, in words.
        state: prefix to put before the names of a state dict, and where that dict stands in the file: dotted keys, alternatives separated by ``|``, a ``?`` at
            the end for one that may be absent.
        encoder: networks that it may be, the first whose tensors fit.
        keys: beginning of a name in the checkpoint, and what it becomes in the encoder; the first that fits. ``{i}`` is the number of an expert.
        heads: ways in which the classifier can stand there.
        ignore: beginnings of names that are known to be neither.
        relabelled: data sets on which label c of the checkpoint is the c-th class by falling number of training images.
        stated: accuracies that the owners state.
        note: what else to know, one sentence.
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
    """Whether a backbone's name means a shipped map or a map file; an expert's number may follow after ``@``."""
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
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
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
