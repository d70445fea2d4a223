"""The files of an export: what they are called, how they are checked, and how new ones take the place of old ones. Free of torch.

``classifier.json`` describes the export, carries a seal over itself and lists every other file with its digest. It is replaced last and in one step, so that a
process that is killed leaves the old export or the new one to ``load_classifier``. Whole programs (``classifier.pt2``, ``classifier.onnx``) keep their names, which
other software opens: where a later export is killed just before its description is written, they may be the new ones already. ``faults_of`` then names them; the
same export mends it. The description to come lies in ``.classifier.json.next`` meanwhile, so that the next export knows the files of one that was killed by name and
digest, and takes no others for its own; it also lists the files that were to go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_bench.core.errors import UserError, unreadable
from lt_bench.core.files import put_on_disk, require_place, write_text
from lt_bench.core.folders import holds_anything
from lt_bench.core.seals import SEAL, digest_of, read_json_object, seal_of, sealed

FORMAT = 2
DESCRIPTION, TENSORS, PROGRAM, HEAD_PROGRAM, ONNX = (
    "classifier.json",
    "classifier.safetensors",
    "classifier.pt2",
    "head.pt2",
    "classifier.onnx",
)
NEXT = f".{DESCRIPTION}.next"
REPLACED = "replaced"
"""Field of the next description: files of the earlier export, which will be removed."""
READ = (TENSORS, HEAD_PROGRAM)
"""Files that ``load_classifier`` reads; the others are whole classifiers of their own."""
AGAIN = "export it again"
_FILE = re.compile(r"(classifier|head)(-[0-9a-f]{8})?\.(safetensors|pt2|onnx)")


def read_description(directory: Path) -> dict[str, Any]:
    """The description of an export, whose seal holds.

    Raises:
        UserError: not an export, or one whose description is damaged or of another format.
    """
    path = directory / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{directory}: not an exported classifier (no {DESCRIPTION}); `lt-bench export --record RECORD.json` makes one")
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    description = read_json_object(path, AGAIN)
    if description.get("format") != FORMAT:
        raise UserError(f"{path}: not of format {FORMAT}; export it again with this version, to another place")
    if description.get(SEAL) != _seal(description):
        raise UserError(f"{path}: a damaged export (its content is not what was written); {AGAIN}")
    for listed in (description.get("files"), description.get(REPLACED, {})):
        if not isinstance(listed, dict) or not all(
            isinstance(one, dict) and _FILE.fullmatch(str(one.get("name"))) for one in listed.values()
        ):
            raise UserError(f"{path}: a damaged export (its list of files); {AGAIN}")
    return description


def file_of(directory: Path, description: Mapping[str, Any], what: str) -> Path:
    """The path of one of an export's files, whose content is what was written.

    Args:
        directory: of the export.
        description: of the export.
        what: TENSORS, PROGRAM, HEAD_PROGRAM or ONNX.

    Raises:
        UserError: missing, or other bytes than were written.
    """
    listed = description["files"].get(what)
    if listed is None:
        raise UserError(f"{directory}: a damaged export (it has no {what}); {AGAIN}")
    path = directory / listed["name"]
    try:
        digest = digest_of(path)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise UserError(f"{path}: a damaged export ({error.strerror or error}); {AGAIN}") from None
    if digest != listed.get("sha256"):
        raise UserError(f"{path}: a damaged export (its bytes are not what was written); {AGAIN}")
    return path


def faults_of(directory: Path) -> list[str]:
    """One line for each missing or damaged file of an export."""
    try:
        description = read_description(directory)
    except UserError as error:
        return [str(error)]
    faults = []
    for what in description["files"]:
        try:
            file_of(directory, description, what)
        except UserError as error:
            faults.append(str(error))
    return faults


def require_export_place(directory: Path, written: tuple[str, ...]) -> None:
    """Refuse a directory that an export must not be written to: one that cannot be written, holds other things than an earlier export, or has a file of another's that would be replaced.

    Raises:
        UserError: so it is, ``directory`` is no directory, or it holds an export whose files are not known.
    """
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory}: not a directory; name another place with --out")
    earlier = _names(directory)
    for name in written:
        if (directory / name).exists() and name not in earlier:
            raise UserError(f"{directory / name}: not of an earlier export and would be replaced; name another place with --out")
    if not any((directory / name).exists() for name in (DESCRIPTION, NEXT)) and holds_anything(directory):
        raise UserError(f"{directory}: holds other things and no export; name a new place or an empty folder with --out")
    require_place(directory, "choose another place with --out", "an export")


def publish(directory: Path, staging: Path, description: Mapping[str, Any]) -> None:
    """Make the files in ``staging`` the export in ``directory``; files of an earlier export go, all others stay.

    Args:
        directory: of the export; made where it does not exist.
        staging: a directory on the same disk that holds files by the names above, and nothing else; empty or gone afterwards.
        description: of the new export, without its list of files and its seal.

    Raises:
        UserError: as ``require_export_place``.
        OSError: the disk is full, or a place cannot be written.
    """
    digests = {path.name: digest_of(path) for path in sorted(staging.iterdir())}
    earlier = set()
    if directory.exists():
        require_export_place(directory, (PROGRAM, ONNX) if ONNX in digests else (PROGRAM,))
        earlier = _names(directory)
    names = {what: _free_name(directory, what, digest) for what, digest in digests.items()}
    content = sealed({**description, "files": {what: {"name": names[what], "sha256": digest} for what, digest in digests.items()}})
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if not directory.exists():
        write_text(staging / DESCRIPTION, text)
        staging.rename(directory)
        put_on_disk(directory.parent)
        return
    going = {name: {"name": name, "sha256": digest_of(directory / name)} for name in earlier if (directory / name).is_file()}
    write_text(directory / NEXT, json.dumps(sealed({**content, REPLACED: going}), ensure_ascii=False))
    put_on_disk(directory)
    for what, name in names.items():
        (staging / what).replace(directory / name)
    put_on_disk(directory)
    write_text(directory / DESCRIPTION, text)
    put_on_disk(directory)
    for name in (*sorted(earlier - set(names.values())), NEXT):  # the list of files to remove is removed last
        (directory / name).unlink(missing_ok=True)


def _names(directory: Path) -> set[str]:
    """Names of the files of an earlier export: those that it lists, and those of a killed export."""
    killed = _files_of_killed(directory)
    if not (directory / DESCRIPTION).exists():
        return killed
    try:
        return killed | {one["name"] for one in read_description(directory)["files"].values()}
    except UserError as error:
        raise UserError(f"{directory}: holds an export whose files are not known ({error}); name another place with --out") from None


def _files_of_killed(directory: Path) -> set[str]:
    """Names of the files that a killed export wrote or was to remove, as far as they have the digests in its next description."""
    try:
        description = _read(directory / NEXT)
    except UserError:  # no export was killed, or nothing is known of it
        return set()
    listed = [*description["files"].values(), *description.get(REPLACED, {}).values()]
    return {one["name"] for one in listed if (path := directory / one["name"]).is_file() and digest_of(path) == one.get("sha256")}


def _free_name(directory: Path, what: str, digest: str) -> str:
    """The usual name of a file; a name with its digest where a file of that name exists, which ``load_classifier`` reads until the new description is written."""
    return f"{Path(what).stem}-{digest[:8]}{Path(what).suffix}" if what in READ and (directory / what).exists() else what


def _seal(description: Mapping[str, Any]) -> str | None:
    try:
        return seal_of(description)
    except UserError:  # NaN, which no export holds
        return None
