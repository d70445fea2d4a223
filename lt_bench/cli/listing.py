"""``lt-bench list``: strategies, data sets, backbones, caches and slots, read without importing torch. Each is a ``Kind`` in ``KINDS``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table

from lt_bench.bench.options import ListOptions
from lt_bench.cli.output import Output
from lt_bench.cli.vocabulary import show_slot, slot_facts, slot_rows
from lt_bench.core.errors import UserError
from lt_bench.core.names import suggestion
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.features.collapse import Collapse, collapse_line, collapse_of, collapse_text, known_collapse
from lt_bench.features.locate import find_cache, known_caches
from lt_bench.features.manifest import Manifest, read_manifest
from lt_bench.features.shared import shared_of
from lt_bench.results.shared_images import shared_words
from lt_bench.strategies.entry import Entry
from lt_bench.strategies.hyper import type_name
from lt_bench.strategies.official import listed
from lt_bench.strategies.registry import find, strategy_names

_WIDE = 110
Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of item that can be listed, such as strategies.

    Attributes:
        rows: function that gives one row for each item, by column, for table and JSON.
        facts: function that gives one item, by name, in full for JSON.
        show: function that prints one item in full.
        uncut: columns that are never cut to the width of the terminal, since users type their content.
        left_out: columns that a narrow terminal has no room for.
    """

    rows: Callable[[], list[Row]]
    facts: Callable[[str], Any]
    show: Callable[[str, Output], None]
    uncut: tuple[str, ...] = ("name",)
    left_out: tuple[str, ...] = ()

    def table(self, title: str, width: int) -> Table:
        """Table of all items of this kind."""
        rows, table = self.rows(), _table(title)
        for column in (name for name in (rows[0] if rows else ()) if width >= _WIDE or name not in self.left_out):
            cells = [str(row[column]) for row in rows]
            table.add_column(column, overflow="fold", min_width=max(map(cell_len, cells)) if column in self.uncut else None)
        for row in rows:
            table.add_row(*(str(value) for name, value in row.items() if width >= _WIDE or name not in self.left_out))
        return table


def show_list(options: ListOptions, output: Output) -> None:
    """Print one kind of item, all kinds, or one item in full.

    Raises:
        UserError: no such kind, or no such item.
    """
    if options.what and options.what not in KINDS:
        raise UserError(f"cannot list {options.what!r}{suggestion(options.what, KINDS)}; one of {', '.join(KINDS)}")
    if options.what and options.name:
        kind = KINDS[options.what]
        if output.json:
            output.data(kind.facts(options.name))
        else:
            kind.show(options.name, output)
        return
    chosen = {options.what: KINDS[options.what]} if options.what else KINDS
    if output.json:
        rows = {title: kind.rows() for title, kind in chosen.items()}
        output.data(rows[options.what] if options.what else rows)
        return
    for title, kind in chosen.items():
        output.say(kind.table(title, output.console.width))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _strategies() -> list[Row]:
    return [
        {"name": one.name, "family": one.family, "trains": one.trains, "sampler": one.sampler if one.fitting == "sgd" else "none", "source": _source(one)}
        for one in map(find, strategy_names())
    ]  # fmt: skip


def _source(entry: Entry) -> str:
    authors, _, rest = entry.paper.partition(",")
    years = re.findall(r"\b(?:19|20)[0-9]{2}\b(?![.])", authors + rest.partition(";")[0])  # no number of arXiv, and of no other work
    return f"{authors} {''.join(years[:1])}".strip()


def _datasets() -> list[Row]:
    return [{"name": name, "summary": dataset_spec(name).summary} for name in dataset_names()]


def _backbones() -> list[Row]:
    from lt_bench.backbones.maps import key_map_names, read_key_map
    from lt_bench.backbones.registry import backbone_names, backbone_spec

    rows = []
    for spec in map(backbone_spec, backbone_names()):
        summary = spec.summary if not spec.transform else f"{spec.summary}: {spec.transform.partition(';')[0]}"
        rows.append({"name": spec.name, "features": spec.dim, "summary": summary})
    rows.append({"name": "timm.NAME", "features": "", "summary": "any model of timm, where it is installed"})
    rows.append({"name": "open_clip.NAME", "features": "", "summary": "any model of open_clip, with --weights FILE or TAG"})
    rows.append(
        {
            "name": "transformers.PATH",
            "features": "",
            "summary": "an image encoder of transformers: DINOv2, CLIP, SigLIP; a folder or a name on the hub",
        }
    )
    maps = {name: read_key_map(name).title for name in key_map_names()}
    return rows + [{"name": name, "features": "", "summary": f"published checkpoints: {title}"} for name, title in maps.items()]


def _caches() -> list[Row]:
    return [
        {
            "name": one.name, "IF": "" if one.dataset.imbalance_factor is None else f"{one.dataset.imbalance_factor:g}",
            "N x D": f"{sum(one.dataset.train_counts):,} x {one.backbone.dim}", "views": len(one.views["train"]),
            "collapse": collapse_text(known_collapse(one.key) or {}) or "not measured", "key": one.key,
        }
        for _, one in known_caches()
    ]  # fmt: skip


def _strategy_facts(name: str) -> Row:
    entry = find(name)
    facts = {
        field.name: getattr(entry, field.name) for field in dataclasses.fields(entry) if field.name not in ("hyperparameters", "members")
    }
    kinds = {key: type_name(kind) for key, kind in entry.types().items()}
    resolved = {key: {"type": kinds[key], "default": value} for key, value in entry.resolve("").items()}
    facts["official"] = list(map(vars, entry.official))
    return facts | {"recipe": vars(entry.recipe), "hyperparameters": resolved, "composition": entry.as_composition}


def _show_strategy(name: str, output: Output) -> None:
    entry, said = find(name), output.say
    said(f"{entry.name} ({entry.family}), {entry.class_path}\n{entry.paper}\n")
    said(entry.doc)
    table = _table("hyper-parameters", "option", "type", "default")
    types = {hyperparameter.name: type_name(hyperparameter.type) for hyperparameter in entry.hyperparameters}
    for key, value in entry.resolve("").items():
        table.add_row(f"--strategy.{key}", types.get(key, "recipe"), str(value))
    said(table)
    said(f"trains {entry.trains}; sampler {entry.sampler}; starts from {entry.initial_head}")
    said("\n".join(["official settings:", *(f"  {line}" for line in listed(entry.official))]))
    for dataset, settings in entry.settings.items():
        said(f"on {dataset}: {settings}")
    if entry.grid:
        said(f"tuning tries: {entry.grid}")
    if not entry.is_composition:
        composition = entry.as_composition
        said(f"as a composition: {composition}" if composition else "slots cannot say it: it is a class with methods of its own")


def _show_dataset(name: str, output: Output) -> None:
    spec = dataset_spec(name)
    counts = spec.train_counts()
    output.say(f"{spec.title} ({spec.name}): {spec.summary}")
    if counts:
        output.say(f"{len(counts)} classes, {sum(counts):,} training images, {max(counts)} to {min(counts)} per class")
    output.say(f"How to get it: {spec.obtain}\nLicence: {spec.licence}\nHomepage: {spec.homepage}")


def _collapse(path: Path, manifest: Manifest) -> Collapse:
    """The collapse of a cache, measured unless it is stored."""
    if (known := known_collapse(manifest.key)) is not None:
        return known
    from lt_bench.features.cache import FeatureCache

    return collapse_of(FeatureCache(path, manifest))


def _cache_facts(name: str) -> Row:
    manifest = read_manifest(path := find_cache(name))
    return dataclasses.asdict(manifest) | {"collapse": _collapse(path, manifest)}


def _show_cache(name: str, output: Output) -> None:
    manifest = read_manifest(path := find_cache(name))
    output.say(f"{manifest.name} key {manifest.key}\n{manifest.origin}\nviews {manifest.views}\nmade by: {manifest.command}")
    output.say(collapse_line(_collapse(path, manifest)))
    if shared := shared_words(shared_of(manifest)):
        output.say(shared)


def _backbone(name: str) -> Any:
    from lt_bench.backbones.maps import is_key_map, read_key_map
    from lt_bench.backbones.registry import backbone_spec

    return read_key_map(name) if is_key_map(name) else backbone_spec(name)


KINDS: dict[str, Kind] = {
    "strategies": Kind(_strategies, _strategy_facts, _show_strategy, uncut=("name", "sampler"), left_out=("trains", "sampler")),
    "slots": Kind(slot_rows, slot_facts, show_slot, uncut=("slot",), left_out=("what it is",)),
    "datasets": Kind(_datasets, lambda name: vars(dataset_spec(name)), _show_dataset),
    "backbones": Kind(_backbones, lambda name: vars(_backbone(name)), lambda name, output: output.console.print(_backbone(name))),
    "caches": Kind(_caches, _cache_facts, _show_cache, uncut=("name", "key"), left_out=("collapse",)),
}
