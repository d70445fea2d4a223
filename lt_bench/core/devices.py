"""Devices by the names that a user writes and reads."""

from __future__ import annotations

import torch

from lt_bench.core.errors import UserError


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


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
