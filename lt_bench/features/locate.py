"""Finding caches: in ``$LT_BENCH_HOME/caches``, then among those shipped with the suite. Free of torch."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lt_bench.core.commands import word
from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.folders import matching
from lt_bench.core.launchers import is_first_process
from lt_bench.core.names import suggestion, word_after
from lt_bench.features.manifest import MANIFEST_NAME, Manifest, read_manifest

KEY_DIGITS = 8  # of a key, in the titles of boards


def home() -> Path:
    """``$LT_BENCH_HOME``, by default ``lt-bench`` in the user's cache directory (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    if os.environ.get("LT_BENCH_HOME"):
        return Path(os.environ["LT_BENCH_HOME"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lt-bench"


def elsewhere(directory: Path) -> str:
    """Advice where a cache cannot be written to this directory, which may be a known one that no option named."""
    return "choose another place with --out" + (
        ", or another home with LT_BENCH_HOME" if home().resolve() in directory.resolve().parents else ""
    )


def shipped(folder: str) -> Path:
    """A folder that comes with the suite (``checkpoints``, ``suites``, ``tuned``): inside an installed wheel, or in the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "shipped" / folder
    if inside.is_dir():
        return inside
    return package.parent / {"checkpoints": "checkpoints"}.get(folder, f"benchmarks/{folder}")


def known_caches() -> list[tuple[Path, Manifest]]:
    """Every readable cache in the known places, home first, sorted by name within a place; a damaged one is left out and named on stderr, once."""
    return _readable(_known_directories())


def _readable(directories: Iterable[Path]) -> list[tuple[Path, Manifest]]:
    caches = []
    for directory in directories:
        try:
            caches.append((directory, read_manifest(directory)))
        except UserError as error:
            _say_left_out(str(error))
    return caches


def _known_directories() -> list[Path]:
    """The folders with a manifest in the known places; what cannot be read is named on stderr."""
    folders = []
    for place in (home() / "caches", shipped("checkpoints")):
        try:
            inside = matching(place, "[!.]*")  # hidden folders are unfinished caches
        except UserError as error:
            _say_left_out(str(error))
            continue
        folders += [one for one in inside if _holds_manifest(one)]
    return folders


def _holds_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_NAME).exists()
    except PermissionError as error:
        _say_left_out(str(unreadable(folder, error)))
        return False


@cache
def _say_left_out(why: str) -> None:
    if is_first_process():
        print(f"lt-bench: left out {why}", file=sys.stderr)  # noqa: T201


def find_cache(name: str) -> Path:
    """The cache at a path, or in the known places the one of this name, of this key, or of the only key that begins so (eight digits or more).

    Raises:
        UserError: there is none, several keys begin so, it is an address of the hub, or the one in the folder of this name is damaged; lists those there are.
    """
    if name.startswith("hf://"):
        raise UserError(f"{name} is on the hub; `lt-bench pull {word(name)}` brings its caches and says their names")
    if (Path(name) / MANIFEST_NAME).is_file() or "/" in name:
        return Path(name)
    for directory in _known_directories():
        if directory.name == name:
            read_manifest(directory)
    caches = known_caches()
    for path, manifest in caches:
        if name in (manifest.name, manifest.key, path.name):
            return path
    begun = {manifest.key: path for path, manifest in reversed(caches) if len(name) >= KEY_DIGITS and manifest.key.startswith(name)}
    if len(begun) == 1:
        return next(iter(begun.values()))
    if begun:
        raise UserError(f"the keys of several caches begin with {name}: {', '.join(sorted(begun))}; give more digits")
    names = [manifest.name for _, manifest in caches]
    listed = ", ".join(names) or "none"
    raise UserError(
        f"no cache {name!r}{suggestion(name, names)}: not a directory with a {MANIFEST_NAME}, nor a name or key among the known caches ({listed})"
    )


def caches_of(key: str, command: str) -> list[tuple[Path, Manifest]]:
    """The known caches of a key, else the one at the path that a command names with ``--cache``."""
    place = Path(word_after(shlex.split(command), "--cache") or "")
    here = [place] if (place / MANIFEST_NAME).is_file() else []
    return [one for one in known_caches() if one[1].key == key] or [one for one in _readable(here) if one[1].key == key]


def known_as(path: Path, manifest: Manifest) -> str:
    """The word for a cache in a command: its name where that leads to it, else its path."""
    first = next((one for place, one in known_caches() if manifest.name in (one.name, one.key, place.name)), None)
    return manifest.name if first is not None and first.key == manifest.key else str(path)


def fitting_caches(dataset: str, imbalance_factor: float | None = None, backbone: str | None = None) -> list[tuple[Path, Manifest]]:
    """Known caches of a data set, and of an imbalance factor and backbone where these are given; of several shipped caches of one factor and backbone, the first."""
    fitting = [
        (path, manifest)
        for path, manifest in known_caches()
        if manifest.dataset.name == dataset
        and (imbalance_factor is None or manifest.dataset.imbalance_factor == imbalance_factor)
        and (backbone is None or manifest.backbone.name == backbone)
    ]
    first: dict[tuple[float | None, str], Path] = {}
    for path, manifest in fitting:
        if path.parent == shipped("checkpoints"):
            first.setdefault((manifest.dataset.imbalance_factor, manifest.backbone.name), path)
    return [(path, manifest) for path, manifest in fitting if path.parent != shipped("checkpoints") or path in first.values()]
