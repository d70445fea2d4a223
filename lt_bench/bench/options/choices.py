"""Values that options of several verbs take."""

from typing import Literal

Wandb = Literal["off", "offline", "online"]
Accelerator = Literal["auto", "cpu", "gpu"]
Dtype = Literal["float16", "float32", "affine8"]
Augment = Literal["none", "crop", "flip", "crop+flip", "crop+flip+jitter"]
Head = Literal["weights", "text", "fit"]
Fitted = Literal["fit"]
Precision = Literal["bf16", "fp32"]
