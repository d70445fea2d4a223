"""A smaller copy of a feature cache for checkpoints/: in compressed files, and without the views that are named. The others are the same to the bit.

python -m benchmarks.ship_cache CACHE checkpoints/NAME --without test/flip
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lt_bench.core.errors import UserError
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
    parser.add_argument("--without", nargs="*", default=[], metavar="SPLIT/VIEW", help="views to leave out")
    options = parser.parse_args()
    manifest = compressed_copy(open_cache(options.cache), options.out, options.without)
    print(f"{options.out}: key {manifest.key}, {sum(path.stat().st_size for path in options.out.iterdir()):,} bytes")


def compressed_copy(cache: FeatureCache, directory: Path, without: Sequence[str] = ()) -> Manifest:
    """Write the copy.

    Args:
        cache: of which every checksum is verified.
        directory: of the copy, whose name is that of the new cache.
        without: views to leave out, as ``split/view``.

    Raises:
        UserError: the cache is damaged or has no such view, or there is something at ``directory``.
    """
    cache.verify()
    views = [f"{split}/{view}" for split, names in cache.manifest.views.items() for view in names]
    if unknown := set(without) - set(views):
        raise UserError(f"--without {' '.join(sorted(unknown))}: the views are {', '.join(views)}")
    place, groups = new_place(directory), dict[str, dict[str, Tensor]]()
    for name, tensor in _arrays(cache, without).items():
        groups.setdefault(name.split("/")[0], {})[name] = tensor
    staging = temporary_beside(place)
    try:
        staging.mkdir(parents=True)
        for group, tensors in groups.items():
            save_tensors(tensors, staging / f"{group}.safetensors{COMPRESSED}")
        parts = {
            name: [(f"{group}.safetensors{COMPRESSED}", name, tensor)] for group, some in groups.items() for name, tensor in some.items()
        }
        return publish(staging, place, _description(cache.manifest, directory.name, without), parts)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _arrays(cache: FeatureCache, without: Sequence[str]) -> dict[str, Tensor]:
    """All stored arrays but those of some views."""
    left_out = {f"{split}/features/{view}" for split, view in (one.split("/") for one in without)}
    return {
        name: torch.cat([stored_tensor(cache.path / part.file, part.key) for part in info.parts])
        for name, info in cache.manifest.arrays.items()
        if name.partition(".")[0] not in left_out  # scale and offset of 8-bit codes follow a dot
    }


def _description(of: Manifest, name: str, without: Sequence[str]) -> Description:
    more = f" && python -m benchmarks.ship_cache CACHE checkpoints/{name} --without {' '.join(without)}" if without else ""
    return Description(
        name, of.dataset, of.backbone, of.transform, of.dtype, of.origin, of.command + more, of.created_with, of.audit, of.independence
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"benchmarks.ship_cache: {error}")
