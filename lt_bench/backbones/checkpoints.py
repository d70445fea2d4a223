"""Safe reading of checkpoints: tensors are read, objects of other classes become inert stand-ins, no code of the file runs."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lt_bench.backbones.weights import weights_seal
from lt_bench.core.errors import FAILURES_OF_CODE, UserError, unreadable
from lt_bench.core.files import require_readable
from lt_bench.core.seals import SEAL, archive_holds

_LEGACY_PICKLES = 4  # magic number, protocol, system, object


class Dropped:
    """Stand-in for an object of a class that is not imported; it has the object's attributes, so that tensors of a pickled module can be read."""

    def __init__(self, *_: object, **__: object) -> None:
        """Arguments are ignored."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def read_checkpoint(path: Path) -> Any:
    """The content of a safetensors file or a file of ``torch.save``; other objects as ``Dropped``, pickled modules as state dicts.

    Torch's restricted unpickler (``weights_only=True``) reads the file; it calls only functions that rebuild tensors, and these stand-ins. A file that the suite
    wrote carries a seal, which has to hold.

    Raises:
        UserError: the file is absent, damaged (its seal does not hold), or refers to a function that must not be called.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such weights file; name one with --weights")
    try:
        if path.suffix == ".safetensors":
            return _tensors(path)
        if archive_holds(path) is False:
            raise UserError(f"{path}: damaged: its bytes are not what was written; take a copy, or train again")
        stand_ins: list[Any] = [(_stand_in(name), name) for name in _foreign_names(path)]
        with torch.serialization.safe_globals(stand_ins):
            return _plain(torch.load(path, map_location="cpu", weights_only=True))
    except PermissionError as error:
        raise unreadable(path, error) from None
    except pickle.UnpicklingError as error:
        line = next((line.strip() for line in str(error).splitlines() if "nsupported" in line or "locked" in line), "unknown objects")
        reason = line.partition(" Please use")[0].rstrip(".")
        raise UserError(f"{path}: not read for safety ({reason}); save its state_dict alone") from None
    except (
        SafetensorError,
        OSError,
        EOFError,
        ImportError,
        zipfile.BadZipFile,
        *FAILURES_OF_CODE,
    ) as error:  # a damaged pickle can ask for anything
        raise UserError(f"{path}: damaged or not a weights file ({(str(error).splitlines() or ['empty'])[0]})") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; where it carries a seal, they are what was sealed."""
    require_readable(path)
    state = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if SEAL in metadata and metadata[SEAL] != weights_seal(state, metadata):
        raise UserError(f"{path}: damaged: its tensors are not what was written; take a copy, or train again")
    return state


def tensors_at(content: Any, path: str) -> dict[str, Tensor] | None:
    """The tensors of the state dict under dotted keys of a checkpoint (the whole of it for an empty path), or None where there is none."""
    for key in path.split(".") if path else ():
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    if not isinstance(content, Mapping):
        return None
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    return tensors or None


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name: bare, or under ``state_dict`` or ``model``.

    Raises:
        UserError: as ``read_checkpoint``; or there is no state dict.
    """
    content = read_checkpoint(path)
    for place in ("state_dict", "model", ""):
        state = tensors_at(content, place)
        if state is not None:
            return state
    raise UserError(f"{path}: not a state dict; save the tensors by name")


def _stand_in(name: str) -> type:
    """A separate class for every name, since torch looks up stand-ins by name and class."""
    return type(name.rpartition(".")[2], (Dropped,), {})


def _foreign_names(path: Path) -> list[str]:
    """``module.name`` of every global that a pickle refers to, except for torch's functions that rebuild tensors; the pickle is scanned, not run."""
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                inner = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
                if not inner or any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    raise UserError(f"{path}: a TorchScript archive, which is a program; save its state_dict alone")
                with archive.open(inner[0]) as pickled:
                    names = _globals(pickled, 1)
        else:
            file.seek(0)
            names = _globals(file, _LEGACY_PICKLES)
    return sorted({name for name in names if not name.startswith(("torch._utils._rebuild", "collections.OrderedDict"))})


def _globals(file: BinaryIO | Any, pickles: int) -> list[str]:
    return [
        re.sub(r"^__builtin__\.", "builtins.", str(argument).replace(" ", "."))  # the old name is that of protocol 2
        for _ in range(pickles)
        for opcode, argument, _position in pickletools.genops(file)
        if opcode.name == "GLOBAL"
    ]


def _plain(content: Any) -> Any:
    """A pickled module as its state dict, also inside of dictionaries."""
    if isinstance(content, Dropped) and "_modules" in content.__dict__:
        return dict(_module_tensors(content, ""))
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    return content


def _module_tensors(module: Dropped, prefix: str):
    attributes = module.__dict__
    for name, tensor in {**attributes.get("_parameters", {}), **attributes.get("_buffers", {})}.items():
        if isinstance(tensor, Tensor):
            yield prefix + name, tensor.detach()
    for name, child in attributes.get("_modules", {}).items():
        if isinstance(child, Dropped):
            yield from _module_tensors(child, f"{prefix}{name}.")
