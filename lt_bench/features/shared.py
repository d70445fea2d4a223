"""Images that splits of a cache share, from the counts in its manifest. Free of torch."""

from __future__ import annotations

from lt_bench.features.manifest import Manifest

MATTERS = {"in": 0.001, "near": 0.01, "like": 0.1}
"""Share of a split above which shared images are reported, by kind (`results.shared_images.KINDS`).

CIFAR-100's official test set shares 5 of 10,000 images with its training set; near-identical images of so large a share are groups (`data.near`).
"""


def shared_of(manifest: Manifest) -> dict[str, list[int]]:
    """Number of images of a split that another split has too, equal or nearly, and of how many, by names like ``test in train``; only where their share is above ``MATTERS``."""
    audit, known = manifest.audit, manifest.independence
    sizes = audit.get("rows", {})
    counts = {name: [count, sizes[name.partition(" ")[0]]] for name, count in audit.get("repeated_rows", {}).items() if " in " in name}
    counts |= {f"{split} near train": [of["near"], of["compared"]] for split, of in audit.get("near_rows", {}).items()}
    counts |= {
        f"{split} like train": [count, known["compared"][split]] for split, count in known.get("near_identical_to_training", {}).items()
    }
    return {name: [count, of] for name, (count, of) in counts.items() if count > MATTERS[name.split()[1]] * of}


def validation_shared(manifest: Manifest) -> dict[str, list[int]]:
    """The entries of ``shared_of`` on validation images that training has too, which bear on a choice."""
    return {name: numbers for name, numbers in shared_of(manifest).items() if name.startswith("val")}
