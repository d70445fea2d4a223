"""Groups of options in the help, and which of them are shown only where they matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Options under one title.

    Attributes:
        title: of the group.
        names: of its options.
        shown_with: `--help` shows the group only beside one of these options; `--help-all` always does. Empty: it is always shown.
        verbs: where that holds; elsewhere the group is always shown.
    """

    title: str
    names: tuple[str, ...]
    shown_with: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()

    def hidden(self, verb: str, given: Iterable[str]) -> bool:
        """Whether the help of a verb leaves the group out, given the options on the line."""
        return verb in self.verbs and not set(self.shown_with) & set(given)


_READING = (
    "image_size",
    "augment",
    "stage1_head",
    "prompt",
    "profile",
    "selection",
    "image_column",
    "label_column",
    "split_column",
    "image_root",
    "split_seed",
    "group_column",
    "group_pattern",
    "skip_broken",
)
_ON_IMAGES = ("precision", "compiled", "recipe", "epochs", "phase1", "checkpoints", "checkpoint_every", "keep_epochs")
GROUPS = (
    Group("strategy", ("strategy", "strategies", "tuned")),
    Group("data", ("dataset", "data_dir", "imbalance_factor", "train", "train_labels", "val", "val_labels", "test", "test_labels", "head", "class_names", "val_fraction", "decode")),
    Group("features", ("cache", "backbone", "weights", "stage1", "val_per_class", "val_seen_by_backbone", "views", "dtype", "head_only")),
    Group("images", _READING, ("data_dir",), ("run", "tune", "choose", "budgets")),
    Group("fit", ("protocol", "mode", "split", "folds", "budget", "seeds", "seed", "matmul", "accelerator", "devices", "workers", "slurm", "slurm_options", "batch_size", "deterministic")),
    Group("on images and end to end", _ON_IMAGES, ("mode", "protocol"), ("run",)),
    Group("records and files", ("results", "name", "out", "again", "analysis", "best_test_epoch", "half_weights", "onnx", "formats", "columns", "show", "rows", "names", "digits", "interval", "full", "statistics", "tolerance", "wandb", "wandb_project", "logger", "project", "entity", "online", "plots")),
)  # fmt: skip


def group_of(name: str, verb: str = "") -> Group:
    """The group of an option; an option outside all groups goes to a group titled ``what``."""
    if (verb, name) == ("predict", "precision"):  # of decisions, not of arithmetic
        return Group("what", (name,))
    return next((group for group in GROUPS if name in group.names), Group("what", (name,)))
