"""Feature caches of images that are read from a folder."""

from lt_bench.core.devices import pick_device
from lt_bench.data.load import load_images
from lt_bench.data.reading import Reading
from lt_bench.features.extraction.extract import extract
from lt_bench.features.extraction.request import Request


def extract_from(dataset, data_dir, out, accelerator="cpu", **options):
    """Extract the cache `out`; the options are those of the reading and of the request."""
    reading = {name: options.pop(name) for name in Reading.__annotations__.keys() & options.keys()}
    settings = {"name": out.name, "progress": False, **options}
    return extract(Request(load_images(dataset, data_dir, **reading), out=out, device=pick_device(accelerator), **settings))
