"""``lt-bench list``: what there is, read without importing torch."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from lt_bench.bench.options import ListOptions
from lt_bench.cli.output import Output
from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.features.locate import find_cache, known_caches
from lt_bench.features.manifest import read_manifest
from lt_bench.strategies.registry import find, strategy_names, suggestion, type_name

_WIDE = 110
KINDS = ("strategies", "datasets", "backbones", "caches")


def show_list(options: ListOptions, output: Output) -> None:
    """Print one kind of thing, all kinds, or one thing in full.

    Raises:
        UserError: no such kind, or no such thing.
    """
    if options.what and options.what not in KINDS:
        raise UserError(f"cannot list {options.what!r}{suggestion(options.what, KINDS)}; one of {', '.join(KINDS)}")
    console = output.console
    if options.name:
        _show_one(console, options.what, options.name)
        return
    for kind in [options.what] if options.what else KINDS:
        table = _kept_whole(_TABLES[kind]())
        if console.width < _WIDE and kind == "strategies":  # a narrow terminal has no room for all; the page of one strategy has
            table.columns = [column for column in table.columns if column.header not in ("trains", "sampler")]
        console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kept_whole(table: Table, columns: tuple[str, ...] = ("name", "key", "sampler")) -> Table:
    """The table with columns that no width may cut: what stands there is typed again."""
    for column in table.columns:
        if column.header in columns:
            column.min_width = max((cell_len(str(cell)) for cell in column.cells), default=1)
    return table


def _strategies() -> Table:
    table = _table("strategies", "name", "family", "trains", "sampler", "source")
    for name in strategy_names():
        entry = find(name)
        paper = f"{entry.paper.split(',')[0]} {''.join(re.findall(r'[0-9]{4}', entry.paper)[:1])}".strip()
        table.add_row(entry.name, entry.family, entry.trains, entry.sampler if entry.fitting == "sgd" else "none", paper)
    return table


def _datasets() -> Table:
    table = _table("datasets", "name", "summary")
    for name in dataset_names():
        table.add_row(name, dataset_spec(name).summary)
    return table


def _backbones() -> Table:
    from lt_bench.backbones.maps import key_map_names, read_key_map
    from lt_bench.backbones.registry import backbone_names, backbone_spec

    table = _table("backbones", "name", "features", "summary")
    for name in backbone_names():
        spec = backbone_spec(name)
        table.add_row(name, str(spec.dim), spec.summary if not spec.transform else f"{spec.summary}: {spec.transform.partition(';')[0]}")
    table.add_row("timm.NAME", "", "any model of timm, where it is installed")
    for name in key_map_names():
        table.add_row(name, "", f"published checkpoints: {read_key_map(name).title}")
    return table


def _caches() -> Table:
    table = _table("caches", "name", "IF", "N x D", "views", "key")
    for _, manifest in known_caches():
        dataset, backbone = manifest.dataset, manifest.backbone
        factor = "" if dataset.imbalance_factor is None else f"{dataset.imbalance_factor:g}"
        size = f"{sum(dataset.train_counts):,} x {backbone.dim}"
        table.add_row(manifest.name, factor, size, str(len(manifest.views["train"])), manifest.key)
    return table


_TABLES = {"strategies": _strategies, "datasets": _datasets, "backbones": _backbones, "caches": _caches}


def _show_one(console: Console, what: str, name: str) -> None:
    if what == "strategies":
        _show_strategy(console, name)
    elif what == "datasets":
        spec = dataset_spec(name)
        counts = spec.train_counts()
        console.print(f"[bold]{spec.title}[/] ({spec.name}): {spec.summary}")
        if counts:
            console.print(f"{len(counts)} classes, {sum(counts):,} training images, {max(counts)} to {min(counts)} per class")
        console.print(f"How to get it: {spec.obtain}\nLicence: {spec.licence}\nHomepage: {spec.homepage}", soft_wrap=True)
    elif what == "caches":
        manifest = read_manifest(find_cache(name))
        console.print(
            f"[bold]{manifest.name}[/] key {manifest.key}\n{manifest.origin}\nviews {manifest.views}\nmade by: {manifest.command}",
            soft_wrap=True,
        )
    else:
        from lt_bench.backbones.maps import is_key_map, read_key_map
        from lt_bench.backbones.registry import backbone_spec

        console.print(read_key_map(name) if is_key_map(name) else backbone_spec(name))


def _show_strategy(console: Console, name: str) -> None:
    entry = find(name)
    console.print(f"[bold]{entry.name}[/] ({entry.family}), {entry.class_path}\n{entry.paper}\n", soft_wrap=True)
    console.print(entry.doc, markup=False, highlight=False)
    table = _table("hyper-parameters", "option", "type", "default")
    types = {hyperparameter.name: type_name(hyperparameter.type) for hyperparameter in entry.hyperparameters}
    for key, value in entry.resolve("").items():
        table.add_row(f"--strategy.{key}", types.get(key, "recipe"), str(value))
    console.print(table)
    console.print(f"trains {entry.trains}; sampler {entry.sampler}; starts from {entry.initial_head}", soft_wrap=True)
    console.print(f"official for: {', '.join(entry.official) or 'no data set; the defaults are inferred'}", soft_wrap=True)
    for dataset, settings in entry.settings.items():
        console.print(f"on {dataset}: {settings}", soft_wrap=True)
    if entry.grid:
        console.print(f"tuning tries: {entry.grid}", soft_wrap=True)
