"""Values that options of several verbs take."""

from typing import Literal

Wandb = Literal["off", "offline", "online"]
Accelerator = Literal["auto", "cpu", "gpu"]
Dtype = Literal["float16", "float32", "affine8"]
Precision = Literal["bf16", "fp32"]
