"""Values that options of several verbs take."""

import os
from typing import Literal

DRAWS = 100
"""Draws of validation images by ``tune``, which say how settled its choice is; they take milliseconds, as no point is fitted again."""
Wandb = Literal["off", "offline", "online"]


def wandb_mode(wandb: Wandb, logger: str) -> Wandb:
    """Mode of W&B: as ``--wandb`` says; with ``--logger wandb`` as W&B's own WANDB_MODE says, online where it says nothing."""
    if logger != "wandb" or wandb != "off":
        return wandb
    return "offline" if os.environ.get("WANDB_MODE", "online") in ("offline", "dryrun") else "online"


Accelerator = Literal["auto", "cpu", "gpu"]
Dtype = Literal["float16", "float32", "affine8"]
Augment = Literal["none", "crop", "flip", "crop+flip", "crop+flip+jitter"]
Head = Literal["weights", "text", "fit"]
Fitted = Literal["fit"]
Precision = Literal["bf16", "fp32"]
