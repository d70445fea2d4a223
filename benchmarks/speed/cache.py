"""Opening and reading the shipped cache, beside reading the bytes of its files."""

from __future__ import annotations

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import shipped


def measure(setting: Setting) -> list[Figure]:
    """Page cache warm; reading includes every checksum."""
    figures = []
    for path in sorted(p.parent for p in shipped("checkpoints").glob("*/manifest.json")):
        cache = open_cache(path)
        size = f"{path.name}, {sum(f.stat().st_size for f in path.iterdir()) / 2**20:.1f} MiB, {cache.manifest.dtype}"

        def files(path=path) -> int:
            for file in path.iterdir():
                file.read_bytes()
            return 1

        def opened(path=path) -> int:
            open_cache(path)
            return 1

        def read(cache=cache) -> int:
            for split in cache.manifest.views:
                cache.split(split, device=setting.device)
            cache.head()
            return 1

        contestants: dict[str, Contestant] = {"bytes of its files": files, "open": opened, "read all, verified": read}
        figures += race(setting, "cache", size, contestants, {"open": "bytes of its files", "read all, verified": "bytes of its files"})
    return figures
