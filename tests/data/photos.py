"""Folders of small photographs for tests."""

import numpy as np
from PIL import Image


def photo(seed=0, size=(24, 18)):
    """A smooth RGB image of (width, height)."""
    low = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)


def write_photos(root, counts, suffix=".png", size=(24, 18)):
    """``counts``: images by folder name relative to root; returns root."""
    for c, (folder, n) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            photo(1000 * c + i, size).save(root / folder / f"{i}{suffix}")
    return root
