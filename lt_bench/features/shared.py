"""Images that splits of a cache share, of what its manifest keeps: in the records of the cache, and under its name. Free of torch."""

from __future__ import annotations

from lt_bench.features.manifest import Manifest

MATTERS = {"in": 0.001, "near": 0.01, "like": 0.1}
"""Shares of a split above which a record says it, by kind (`results.shared_images.KINDS`).

CIFAR-100's official test set shares 5 of 10,000 images with its training set; near-identical images of so large a share are groups (`data.near`).
"""


def shared_of(manifest: Manifest) -> dict[str, list[int]]:
    """Images of a split that stand in another too, where they are too many to leave numbers as they are: how many and of how many, by names like ``test in train``."""
    audit, known = manifest.audit, manifest.independence
    sizes = audit.get("rows", {})
    counts = {name: [count, sizes[name.partition(" ")[0]]] for name, count in audit.get("repeated_rows", {}).items() if " in " in name}
    counts |= {f"{split} near train": [of["near"], of["compared"]] for split, of in audit.get("near_rows", {}).items()}
    counts |= {
        f"{split} like train": [count, known["compared"][split]] for split, count in known.get("near_identical_to_training", {}).items()
    }
    return {name: [count, of] for name, (count, of) in counts.items() if count > MATTERS[name.split()[1]] * of}


def validation_shared(manifest: Manifest) -> dict[str, list[int]]:
    """Validation images that stand in training too, of ``shared_of``: those that bear on a choice."""
    return {name: numbers for name, numbers in shared_of(manifest).items() if name.startswith("val")}
