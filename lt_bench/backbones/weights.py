"""Weights of backbones: writing and identity; reading is in ``checkpoints``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lt_bench.backbones.training_rows import ROWS, rows_text
from lt_bench.core.content import Hashes
from lt_bench.core.errors import UserError
from lt_bench.core.files import give_usual_mode, replacing
from lt_bench.core.seals import SEAL, seal_of
from lt_bench.core.tensors import save_tensors


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Identity of weights: 16 hex digits from names, types, shapes and bytes, whatever the file format; counters of batches do not count."""
    total = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith("num_batches_tracked"):
            tensor = state[name].detach().cpu().contiguous()
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def weights_seal(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The seal that a weights file of the suite's own carries in its metadata: over its tensors and all other metadata."""
    others = {name: value for name, value in metadata.items() if name != SEAL}
    return seal_of({"tensors": weights_hash(state), "metadata": others})


def save_weights(network: nn.Module, path: Path, half: bool = False, rows: Hashes | None = None) -> str:
    """Write a network's state dict as safetensors, whole or not at all, with a seal, and return its ``weights_hash``.

    Args:
        network: the network.
        path: where to; an existing file is replaced.
        half: store matrices and kernels as float16. Vectors stay float32: under strong weight decay running variances fall below what float16 holds.
        rows: hashes of the images that the network was trained on, where they are known.
    """
    state = {
        name: (tensor.half() if half and tensor.is_floating_point() and tensor.dim() > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {} if rows is None else {ROWS: rows_text(rows)}
    try:
        with replacing(path) as temporary:
            save_tensors(state, temporary, metadata | {SEAL: weights_seal(state, metadata)})
            give_usual_mode(temporary)
    except OSError as error:
        raise UserError(f"{path}: cannot write the weights ({error.strerror or error}); free the disk, or name another place") from None
    return weights_hash(state)
