"""Devices by the names that a user writes and reads, and how much of their memory features may take."""

from __future__ import annotations

import torch

from lt_bench.core.errors import UserError
from lt_bench.core.resources import free_memory

FEATURES_SHARE = 0.5  # of free memory; the rest is for heads, logits and other programs


def pick_device(accelerator: str) -> torch.device:
    """The device of ``auto``, ``cpu`` or ``gpu``.

    Raises:
        UserError: a GPU is asked for and there is none, or the name is unknown.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise UserError(f"accelerator {accelerator!r} is not one of auto, cpu, gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available; use --accelerator cpu")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def feature_memory(device: torch.device, processes: int = 1) -> int:
    """Bytes that features may take on a device: a share of its free memory.

    Args:
        device: device that is to hold the features.
        processes: processes of this node that load features; they share its CPU memory, while each GPU belongs to one process.
    """
    if device.type == "cuda":
        return int(FEATURES_SHARE * torch.cuda.mem_get_info(device)[0])
    return int(FEATURES_SHARE * free_memory()) // processes


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
