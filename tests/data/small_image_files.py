"""Small parquet files of images for tests."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encode(image, kind="PNG"):
    """Bytes of an (H, W, 3) uint8 image."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write_parquet(path, images, labels, names=None):
    """A hub-like parquet file of (N, H, W, 3) images."""
    structs = [{"bytes": encode(x), "path": f"{i}.png"} for i, x in enumerate(images)]
    table = pa.table({"image": structs, "label": pa.array(labels, pa.int16())})
    if names:
        table = table.replace_schema_metadata({"classes": ",".join(names)})
    pq.write_table(table, path)


def coloured(labels, classes, seed, size=32):
    """Noisy images whose mean colour tells the class: learnable in a few steps."""
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 216, (classes, 1, 1, 3))
    return np.clip(colours[labels] + generator.normal(0, 20, (len(labels), size, size, 3)), 0, 255).astype(np.uint8)


def write_cifar10(folder, n_max=24, val=True, seed=0):
    """train.parquet (balanced, class by class), val.parquet and test.parquet of ten colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, n) in enumerate({"train": n_max, "val": 3, "test": 4}.items()):
        if split != "val" or val:
            labels = np.repeat(np.arange(10), n)
            write_parquet(folder / f"{split}.parquet", coloured(labels, 10, seed + number), labels)
    return folder
