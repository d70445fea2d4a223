"""``lt-bench push`` and ``pull``: caches, records and tunings on the Hugging Face hub, ``hf://OWNER/NAME``. Pulled files are checked before they are put in place."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_bench.bench.options import PullOptions, PushOptions
from lt_bench.cli.output import Output
from lt_bench.cli.validate import CACHE, RECORD, TUNING, faults_at, items_at
from lt_bench.core.activity import doing, steps
from lt_bench.core.commands import word
from lt_bench.core.errors import UserError
from lt_bench.core.extras import require_extra
from lt_bench.core.files import write_atomic
from lt_bench.core.leftovers import temporary_beside
from lt_bench.core.seals import digest_of
from lt_bench.features.locate import find_cache, home
from lt_bench.features.manifest import read_manifest
from lt_bench.results.store import Store, arrays_of, read_record

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = ("*.json", "*.npz", "*.safetensors", "*.safetensors.gz", "*.csv")
"""File types of caches, records and tunings; no other file is sent or fetched."""
CACHES = "caches/"
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def push_verb(options: PushOptions, output: Output) -> None:
    """Check the files and send those that the repository lacks, in one commit; no file of the repository is replaced.

    Raises:
        UserError: nothing to send, a file that fails its check, two files of one name, a name there with other content, or a refusal by the hub.
    """
    repo, revision = _parsed(options.to)
    files: dict[str, Path] = {}
    names = [path if Path(path).exists() else str(find_cache(path)) for path in options.paths]
    for path, kind in _checked([Path(name) for name in names], "push"):
        for name, file in _files_of(path, kind).items():
            if (other := files.setdefault(name, file)) != file and not name.startswith(CACHES) and other.read_bytes() != file.read_bytes():
                raise UserError(f"push: {other} and {file} would both be {name} there, with other content; push them to two repositories")
    with _hub(options.to) as api:
        from huggingface_hub import CommitOperationAdd

        api.create_repo(repo, repo_type="dataset", private=options.private, exist_ok=True)
        there = {one.path: one for one in api.list_repo_tree(repo, recursive=True, repo_type="dataset", revision=revision)}
        new = _not_there(files, there, options.to)
        operations = [CommitOperationAdd(name, str(path)) for name, path in sorted(new.items())]
        with doing(f"sending {len(new)} files to {options.to}"):
            if operations:
                api.create_commit(repo, operations, commit_message="lt-bench push", repo_type="dataset", revision=revision)
    output.say(f"{len(files)} files in {options.to}, {len(new)} of them new; `lt-bench pull {word(options.to)}` brings them elsewhere")


def pull_verb(options: PullOptions, output: Output) -> None:
    """Fetch into a temporary folder, check seals and checksums, and put the files in place: caches among the known ones, records and tunings into the results directory.

    Raises:
        UserError: the hub refuses, nothing is there, a file fails its check (nothing is put in place then), or other content lies at its path.
    """
    repo, revision = _parsed(options.source)
    caches = home() / "caches"
    caches.mkdir(parents=True, exist_ok=True)
    folder = temporary_beside(caches / "pull")
    try:
        with _hub(options.source) as api, doing(f"fetching {options.source}"):
            api.snapshot_download(repo, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=list(FILES))
        items = _checked([folder], "pull", options.source)
        places = {CACHE: lambda path: _put_cache(path, caches), RECORD: lambda path: _put_record(path, options.results)}
        places[TUNING] = lambda path: _put_tuning(path, options.results)
        _refuse_clashes(items, caches, options.results)
        put = [places[kind](path) for path, kind in items]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in put:
        output.say(line)
    output.data(put)


def _parsed(address: str) -> tuple[str, str | None]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(f"{address or 'no address'}: expected hf://OWNER/NAME, or hf://OWNER/NAME@REVISION")
    return match["repo"], match["revision"]


@contextmanager
def _hub(address: str) -> Iterator[HfApi]:
    """The client of the hub; within the block, its errors become one-line errors."""
    require_extra("huggingface_hub", "hub", address)
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are those of the HTTP library, which is another one in other versions.
    errors = (OSError, ValueError, RuntimeError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))
    try:
        yield huggingface_hub.HfApi()
    except errors as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise UserError(f"{address}: {error.filename or home()} cannot be read or written here ({error.strerror})") from None
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{address}: the hub does not do it ({reason}); see that the name is right, that there is a network, and `hf auth login`"
        ) from None


def _checked(paths: list[Path], verb: str, address: str = "") -> list[tuple[Path, str]]:
    """Caches, records and tunings at these paths, after a check of all of them."""
    items = [item for path in paths for item in (items_at(path) if path.exists() else ()) if item[1] in (CACHE, RECORD, TUNING)]
    if not items:
        raise UserError(
            f"{verb} {address or ' '.join(map(str, paths))}: no cache, record or tuning; name caches, results directories or records"
        )
    faults = [
        fault.replace(f"{paths[0]}/", f"{address}/") if address else fault
        for path, kind in steps(items, "checked")
        for fault in faults_at(path, kind)
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
        raise UserError(f"{verb}: {faults[0]}{more}; nothing was {'put in place' if verb == 'pull' else 'sent'}")
    return items


def _files_of(path: Path, kind: str) -> dict[str, Path]:
    """The files of a cache, record or tuning, by their names in the repository."""
    if kind == CACHE:
        manifest = read_manifest(path)
        folder = f"{CACHES}{re.sub(r'[^A-Za-z0-9_.-]', '_', manifest.name)}-{manifest.key}"
        return {f"{folder}/{one.name}": one for pattern in FILES for one in path.glob(pattern)}
    if kind == TUNING:
        return {f"results/tuning/{path.name}": path}
    record = read_record(path)
    return {f"results/{record.dataset.name}/{path.stem}{suffix}": path.with_suffix(suffix) for suffix in (".json", ".npz")}


def _not_there(files: dict[str, Path], there: Mapping[str, Any], address: str) -> dict[str, Path]:
    """The files that the repository lacks; files of a cache are compared by name, which contains the key, others by content.

    Raises:
        UserError: the repository has other content under one of the names.
    """
    new = {name: path for name, path in files.items() if name not in there}
    for name, path in files.items():
        if name in there and not name.startswith(CACHES) and not _is_content(there[name], path):
            raise UserError(f"{address}: {name} is there with other content than {path}; push to another repository or @REVISION")
    return new


def _is_content(there: Any, path: Path) -> bool:
    """Whether a file of the repository has the content of a local one, by the hub's hash: SHA-256 for large files, git's for others."""
    if there.lfs is not None:
        return there.lfs.sha256 == digest_of(path)
    data = path.read_bytes()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _refuse_clashes(items: list[tuple[Path, str]], caches: Path, results: Path) -> None:
    """Refuse files that would replace other caches, records or tunings here, or each other, before anything is put in place."""
    places: dict[Path, Path] = {}
    for path, kind in items:
        if kind == RECORD:
            record = read_record(path)
            Store(results).stored(record, arrays_of(record, path.with_suffix(".npz")))
            continue
        place = caches / path.name if kind == CACHE else results / "tuning" / path.name
        if place.exists() and not _same(path, place):
            raise UserError(f"{place}: other content under this name; move it away, and pull again")
        if not _same(path, places.setdefault(place, path)):
            raise UserError(f"{place}: the repository has two {kind}s of this name; pull a revision that has one")


def _same(one: Path, other: Path) -> bool:
    return read_manifest(one).key == read_manifest(other).key if other.is_dir() else one.read_bytes() == other.read_bytes()


def _put_cache(path: Path, caches: Path) -> str:
    place = caches / path.name
    if place.exists():
        return f"there already: cache {place}"
    path.replace(place)
    return f"cache {place}"


def _put_record(path: Path, results: Path) -> str:
    record, store = read_record(path), Store(results)
    before = store.has(record.id)
    store.write(record, arrays_of(record, path.with_suffix(".npz")))
    return f"{'there already: ' if before else ''}record {store.path(record)}"


def _put_tuning(path: Path, results: Path) -> str:
    place = results / "tuning" / path.name
    if place.exists():
        return f"there already: tuning {place}"
    content = path.read_bytes()
    write_atomic(place, lambda file: file.write(content))
    return f"tuning {place}"
