"""Weights of backbones: reading, writing, identity."""

from __future__ import annotations

import hashlib
import os
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lt_bench.errors import UserError


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file: safetensors, or a state dict saved by torch (also under ``state_dict``), read without running any code in it.

    Raises:
        UserError: no such file, damaged, or it holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weights file; name one with --weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError) as error:
        raise UserError(f"{path}: damaged or not a weights file ({str(error).splitlines()[0]})") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path}: holds Python objects beside tensors, which are not read for safety; save its state_dict alone") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a state dict; save the tensors by name")
    return state


def load_weights(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy ``state`` into ``network``; ``num_batches_tracked`` counters may be absent.

    Raises:
        UserError: names the first key that is missing, unknown, or of another shape.
    """
    own = network.state_dict()
    for key in own:
        if key not in state and not key.endswith("num_batches_tracked"):
            raise UserError(f"{origin}: has no {key}; the weights are of another backbone")
    for key, value in state.items():
        if key not in own:
            raise UserError(f"{origin}: {key} is unknown to this backbone; the weights are of another one")
        if value.shape != own[key].shape:
            raise UserError(
                f"{origin}: {key} has shape {tuple(value.shape)}, the backbone {tuple(own[key].shape)}; another backbone or number of classes"
            )
    network.load_state_dict(state, strict=False)


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Identity of weights: 16 hex digits from names, types, shapes and bytes, whatever the file format; counters of batches do not count."""
    total = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith("num_batches_tracked"):
            tensor = state[name].detach().cpu().contiguous()
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def save_weights(network: nn.Module, path: Path, half: bool = False) -> str:
    """Write a network's state dict as safetensors, whole or not at all, and return its ``weights_hash``.

    Args:
        network: the network.
        path: where to; an existing file is replaced.
        half: store matrices and kernels as float16. Vectors stay float32: under strong weight decay running variances fall below what float16 holds.
    """
    state = {
        name: (tensor.half() if half and tensor.is_floating_point() and tensor.dim() > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        save_file(state, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write the weights ({error.strerror or error})") from None
    return weights_hash(state)
