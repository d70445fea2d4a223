"""A smaller copy of a feature cache for checkpoints/: in compressed files, and without the views that are named. The others are the same to the bit.

python -m benchmarks.ship_cache CACHE checkpoints/NAME --without test/flip
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lt_bench.core.errors import UserError
from lt_bench.core.tensors import COMPRESSED
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.features.manifest import Manifest
from lt_bench.features.write import Description, new_place, write_stored


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
    views = [f"{split}/{view}" for split, names in cache.manifest.views.items() for view in names]
    if unknown := set(without) - set(views):
        raise UserError(f"--without {' '.join(sorted(unknown))}: the views are {', '.join(views)}")
    left_out = {f"{split}/features/{view}" for split, view in (one.split("/") for one in without)}
    # the scale and offset of 8-bit codes have their array's name and an ending after a dot
    stored = {name: cache.stored(name) for name in cache.manifest.arrays if name.partition(".")[0] not in left_out}
    return write_stored(new_place(directory), _description(cache.manifest, directory.name, without), stored, COMPRESSED)


def _description(of: Manifest, name: str, without: Sequence[str]) -> Description:
    more = f" && python -m benchmarks.ship_cache CACHE checkpoints/{name} --without {' '.join(without)}" if without else ""
    return Description(
        name, of.dataset, of.backbone, of.transform, of.dtype, of.origin, of.command + more, of.created_with, of.audit, of.independence
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"benchmarks.ship_cache: {error}\n")
        sys.exit(2)
