"""A smaller copy of a feature cache for checkpoints/: the plain views alone, in compressed files. What is stored of them is the same to the bit.

python -m benchmarks.ship_cache CACHE checkpoints/NAME
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from torch import Tensor

from lt_bench.core.leftovers import temporary_beside
from lt_bench.core.tensors import COMPRESSED, save_tensors, stored_tensor
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.manifest import Manifest
from lt_bench.features.write import Description, new_place, publish


def main() -> None:
    """Copy the cache that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    manifest = plain_copy(open_cache(options.cache), options.out)
    print(f"{options.out}: key {manifest.key}, {sum(path.stat().st_size for path in options.out.iterdir()):,} bytes")


def plain_copy(cache: FeatureCache, directory: Path) -> Manifest:
    """Write the copy.

    Args:
        cache: of which every checksum is verified.
        directory: of the copy, whose name is that of the new cache.

    Raises:
        UserError: the cache is damaged, or there is something at ``directory``.
    """
    cache.verify()
    place, groups = new_place(directory), dict[str, dict[str, Tensor]]()
    for name, tensor in _plain(cache).items():
        groups.setdefault(name.split("/")[0], {})[name] = tensor
    staging = temporary_beside(place)
    try:
        staging.mkdir(parents=True)
        for group, tensors in groups.items():
            save_tensors(tensors, staging / f"{group}.safetensors{COMPRESSED}")
        parts = {
            name: [(f"{group}.safetensors{COMPRESSED}", name, tensor)] for group, some in groups.items() for name, tensor in some.items()
        }
        return publish(staging, place, _description(cache.manifest, directory.name), parts)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _plain(cache: FeatureCache) -> dict[str, Tensor]:
    """All stored arrays but those of other views than the plain one."""
    return {
        name: torch.cat([stored_tensor(cache.path / part.file, part.key) for part in info.parts])
        for name, info in cache.manifest.arrays.items()
        if "/features/" not in name or name.split("/")[2].split(".")[0] == "plain"
    }


def _description(of: Manifest, name: str) -> Description:
    command = f"{of.command} && python -m benchmarks.ship_cache CACHE checkpoints/{name}"
    return Description(
        name, of.dataset, of.backbone, of.transform, of.dtype, of.origin, command, of.created_with, of.audit, of.independence
    )


if __name__ == "__main__":
    main()
