"""Checks before a verb begins: known names, existing files, possible numbers of workers. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lt_bench.backbones.maps import is_key_map, read_key_map
from lt_bench.backbones.registry import DEFAULT_BACKBONE, HUB, OPEN_CLIP, TRANSFORMERS, backbone_spec, require_package
from lt_bench.bench.options import Augment, Dtype, WritingOptions
from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.data.specs import dataset_spec
from lt_bench.features.locate import shipped

NEEDS_IMAGES = "--dataset and --data-dir are needed: a data set (`lt-bench list datasets`) and where its images are"


def check_workers(workers: int | None, processes: int, slurm: str | None = None) -> None:
    """Refuse a number of workers that is impossible, or that conflicts with fits of several processes.

    Raises:
        UserError: fewer than one worker; several workers, or SLURM, with several processes a fit.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}, expected at least 1")
    if processes > 1 and ((workers or 1) > 1 or slurm is not None):
        raise UserError("--devices shares every fit between processes, --workers and --slurm spread the fits; use one of them")


def require_images(dataset: str, data_dir: Path | None, backbone: str | None, weights: Path | None) -> None:
    """Require that the given names are known and the given files exist.

    Raises:
        UserError: an unknown data set or backbone; no such weights, with where they are published; no such place of images.
    """
    if dataset:
        dataset_spec(dataset)
    if backbone:
        _require_backbone(backbone)
        if weights is None and brings_weights(backbone):
            require_package(backbone)
    require_weights(backbone, weights)
    if data_dir is not None and not data_dir.exists():
        raise UserError(f"{data_dir}: no such place; name the folder of the images with --data-dir")


def require_weights(backbone: str | None, weights: Path | None) -> None:
    """Require that the given weights are an existing file, unless they are on the hub or belong to a package that takes a tag or a folder.

    Raises:
        UserError: no such file, with where these weights are published.
    """
    by_tag = bool(backbone) and backbone.startswith((OPEN_CLIP, TRANSFORMERS))
    if weights is not None and not by_tag and str(weights).partition(":")[0] != HUB:
        require_file(weights, f"no such weights file{_published(backbone)}; name one with --weights")


def default_backbone(dataset: str, data_dir: Path | None, backbone: str | None, weights: Path | None) -> str:
    """The named backbone, else the default for images of the user's own, which needs no weights file; empty where neither applies."""
    if backbone or weights is not None or data_dir is None or not dataset:
        return backbone or ""
    return DEFAULT_BACKBONE if dataset_spec(dataset).num_classes is None else ""


def brings_weights(backbone: str) -> bool:
    """Whether a backbone needs no ``--weights``."""
    return bool(backbone) and not is_key_map(backbone) and (backbone.startswith(TRANSFORMERS) or bool(backbone_spec(backbone).package))


def augmented(options: WritingOptions, own: Augment = "none") -> tuple[Augment | None, int]:
    """The augmentation that the options mean (None: that of the data set) and how many augmented views a cache gets.

    Args:
        options: what was asked for.
        own: the augmentation of a person's own images.

    Raises:
        UserError: augmented views are asked for without an augmentation.
    """
    augment = options.augment or (own if dataset_spec(options.dataset).num_classes is None else None)
    if options.views and augment == "none":
        raise UserError(f"--views {options.views}: nothing augments your own images unless you say how: --augment crop, or crop+flip")
    return augment, options.views if options.views is not None else 0 if augment == "none" else 8


def stored_type(options: WritingOptions) -> Dtype:
    """Stored precision: float16 for benchmarks; float32 for images of the user's own, since 16 bits may lose dimensions that hardly vary on them."""
    return options.dtype or ("float32" if dataset_spec(options.dataset).num_classes is None else "float16")


def _require_backbone(name: str) -> None:
    if not is_key_map(name):
        backbone_spec(name)
    elif name.partition("@")[0].endswith((".yaml", ".yml")):
        read_key_map(name.partition("@")[0])


def require_file(path: Path | None, otherwise: str) -> None:
    """Require that a given file exists; ``otherwise`` is the message where it does not.

    Raises:
        UserError: the file does not exist.
    """
    if path is not None and not path.is_file():
        raise UserError(f"{path}: {otherwise}")


def _published(backbone: str | None) -> str:
    """Title and addresses of a published source of checkpoints, for messages; empty for other backbones."""
    if backbone is None or not is_key_map(backbone):
        return ""
    key_map = read_key_map(backbone.partition("@")[0])
    return f" of {key_map.title} (published: {key_map.weights}; {key_map.repository})" if key_map.repository else ""


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse an empty list of seeds, and repeated or negative seeds.

    Raises:
        UserError: the message names the seeds.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"seeds {','.join(map(str, seeds)) or '(none)'}: expected distinct numbers from 0, e.g. 0,1,2")


def suite_path(name: str) -> Path:
    """A suite file, or a shipped suite by name.

    Raises:
        UserError: there is no such suite; the message lists the shipped ones.
    """
    names = {path.stem: path for path in sorted(shipped("suites").glob("*.yaml"))}
    if Path(name).is_file():
        return Path(name)
    if name in names:
        return names[name]
    raise UserError(f"no suite {name!r}: no such file, and the shipped ones are {', '.join(names) or 'none'}{suggestion(name, names)}")


def check_budget(budget: int | None) -> None:
    """Refuse a budget of no points.

    Raises:
        UserError: the budget is below 1.
    """
    if budget is not None and budget < 1:
        raise UserError(f"--budget {budget}: expected at least 1 point")
