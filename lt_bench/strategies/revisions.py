"""The program that fits a strategy: the suite's, by revision, and the user's own, by fingerprint. Free of torch until a class of the user's own is looked at.

``revision`` of a strategy is raised when its numbers change, ``SHARED`` when those of several do: slots, engine, samplers, metrics. A test with numbers of every
strategy (``tests/strategies/test_revisions.py``) forces it. ``sources.json`` has the fingerprints of the files that make numbers, as they were when these
numbers were last compared; a file that differs is recorded by its own fingerprint, so that an edited suite never passes for the suite. `make golden` writes both.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lt_bench.core import provenance
from lt_bench.core.names import object_at
from lt_bench.strategies import ensembles
from lt_bench.strategies.entry import PACKAGE, Entry
from lt_bench.strategies.slots.vocabulary import TITLES

SHARED = 1
"""Revision of what strategies share."""
ROOT = Path(__file__).parent.parent
SOURCES = Path(__file__).with_name("sources.json")
_SHARED_FILES = (
    "strategies/_lib/*.py", "strategies/slots/*.py", "engine/*.py", "engine/heads/*.py", "metrics/*.py",
    *(f"strategies/{name}.py" for name in ("assumed_prior", "composition", "contract", "facts", "hyper", "noise", "recipe")),
    *(f"features/{name}.py" for name in ("cache", "encoding", "samplers", "source")),
    *(f"core/{name}.py" for name in ("inference_heads", "memory_heads", "processes", "seeds", "shortlist_head", "threads")),
    # Features of fits on images: augmentation, normalisation, networks.
    "data/images/augment.py", "data/priors.py", "data/specs.py", "engine/pretrain/stage1.py",
    *(f"backbones/{name}.py" for name in ("base", "cifar", "imported", "maps", "order", "small", "timm_nets", "torchvision_nets", "transform", "variants")),
)  # fmt: skip
_MAKE_NO_NUMBERS = {
    f"strategies/{name}.py"
    for name in ("class_checks", "ensembles", "entries_from_source", "entry", "pages", "registry", "revisions", "source", "__init__")
}


@dataclass(frozen=True)
class Code:
    """The program of a run.

    Attributes:
        text: code in the identity of a record: ``revision 1``, or ``own 0123456789abcdef, revision 1``.
        parts: fingerprints, by file, of code of the user's own and of edited files of the suite.
    """

    text: str
    parts: dict[str, str] = field(default_factory=dict)


def code_of(entry: Entry, hyperparameters: Mapping[str, Any]) -> Code:
    """The program that fits a strategy with these hyper-parameters.

    Raises:
        UserError: a file was edited after its import, so the code that runs is not that of the file.
    """
    if entry.members:
        codes = [code_of(member, own) for member, own in zip(entry.members, ensembles.parts(entry.members, hyperparameters), strict=True)]
        texts = [f"{member.public_name} {code.text}" for member, code in zip(entry.members, codes, strict=True)]
        itself = _code_of(entry, hyperparameters)
        return Code(", ".join([itself.text, *texts]), {name: one for code in (itself, *codes) for name, one in code.parts.items()})
    return _code_of(entry, hyperparameters)


def _code_of(entry: Entry, hyperparameters: Mapping[str, Any]) -> Code:
    """The code of a strategy; for an ensemble, of the class that averages its members."""
    own = provenance.fingerprints(own_objects(entry, hyperparameters))
    words = [f"own {provenance.combined(own)}"] if own else []
    revision = f"revision {revision_of(entry)}"
    changed = edited_of(entry)
    if changed:
        _check_loaded(changed)
        revision += f" edited {provenance.combined(changed)}"
    return Code(", ".join([*words, revision]), own | {f"lt_bench/{name}": one for name, one in changed.items()})


def own_objects(entry: Entry, hyperparameters: Mapping[str, Any]) -> list[Any]:
    """Classes of the user's own that take part in a run: the strategy, its sampler and initial head, entries of a composition."""
    texts = [hyperparameters.get(slot) for slot in TITLES] if entry.is_composition else [entry.sampler, entry.initial_head]
    objects: list[Any] = [entry.load()] if entry.is_own else []
    for value in texts:
        name = value.partition("(")[0] if isinstance(value, str) else ""
        if "." in name:
            objects.append(_named(entry, name))
    return objects


def _named(entry: Entry, name: str) -> Any:
    """The class of a sampler or initial head of this name: that in the strategy's attribute, else the class at the dotted path."""
    for slot in ("sampler", "initial_head") if entry.is_own else ():
        value = getattr(entry.load(), slot)
        cls = value if isinstance(value, type) else type(value)
        module = cls.__module__.replace("__mp_main__", "__main__")  # in a worker the main script goes by the former
        if f"{module}.{cls.__qualname__}" == name:
            return cls
    return object_at(name)


def revision_of(entry: Entry) -> str:
    """The revision: ``2``, or ``2.3`` once the shared revision is above 1; a class of the user's own inherits it from the suite's strategy that it derives from."""
    own = entry.load().revision if entry.is_own else entry.revision
    return str(own) if SHARED == 1 else f"{own}.{SHARED}"


# ---- the suite's own files ------------------------------------------------------------------------------------------------------------------------


def files() -> tuple[dict[str, Path], dict[str, Path]]:
    """Files that make numbers, by path in the package: those of strategies, and those that all share."""
    shared = {path.relative_to(ROOT).as_posix(): path for pattern in _SHARED_FILES for path in sorted(ROOT.glob(pattern))}
    every = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "strategies").glob("*.py"))}
    return {name: path for name, path in every.items() if name not in shared and name not in _MAKE_NO_NUMBERS}, shared


def fingerprints_of_files() -> dict[str, list[str]]:
    """The content of ``sources.json``: for every file a digest of its bytes, which is read fast, and the fingerprint of its code."""
    strategies, shared = files()
    return {
        name: [provenance.digest(path.read_bytes()), provenance.source_digest(path.read_bytes())]
        for name, path in sorted({**strategies, **shared}.items())
    }


@cache
def _known() -> dict[str, list[str]]:
    return json.loads(SOURCES.read_text(encoding="utf-8"))


@cache
def _edited() -> tuple[dict[str, str], dict[str, str]]:
    """Fingerprints of edited files, those of strategies and shared ones, as they are when a process first asks; other files are left out."""
    return tuple({name: one for name, path in group.items() if (one := _changed(name, path)) is not None} for group in files())  # pyright: ignore[reportReturnType]


def _changed(name: str, path: Path) -> str | None:
    raw, code = _known().get(name, ("", ""))
    text = path.read_bytes()
    if provenance.digest(text) == raw:
        return None
    now = provenance.source_digest(text)
    return None if now == code else now


def edited_of(entry: Entry) -> dict[str, str]:
    """Fingerprints, by path, of the suite's edited files that take part in a strategy."""
    of_strategies, shared = _edited()
    return shared | ({name: one for name, one in of_strategies.items() if name in _files_of(entry)} if of_strategies else {})


def _files_of(entry: Entry) -> set[str]:
    """Files of the strategies that a strategy is made of."""
    modules = {base.__module__ for base in entry.load().__mro__} if entry.is_own else {entry.class_path.rpartition(".")[0]}
    waiting, reached = [f"strategies/{one.removeprefix(PACKAGE)}.py" for one in modules if one.startswith(PACKAGE)], set()
    while waiting:
        name = waiting.pop()
        if name not in reached and name in files()[0]:
            reached.add(name)
            waiting += _imported(ROOT / name)
    return reached


def _imported(path: Path) -> Iterator[str]:
    """Files of strategies that a file imports."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            yield f"strategies/{node.module.removeprefix(PACKAGE)}.py"


def _check_loaded(changed: Mapping[str, str]) -> None:
    for name in changed:
        module = sys.modules.get("lt_bench." + name.removesuffix(".py").replace("/", "."))
        if module is not None:
            provenance.check_module(module, ROOT / name)
