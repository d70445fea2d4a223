"""The verbs that make features: ``data check``, ``import-features``, ``extract``, ``pretrain``."""

from __future__ import annotations

from lt_bench.bench.options import DataOptions, ExtractOptions, ImportOptions, PretrainOptions
from lt_bench.cli.output import Output


def data_verb(options: DataOptions, output: Output) -> None:
    """What is there of a data set."""
    from lt_bench.data.check import data_verb

    data_verb(options)


def import_verb(options: ImportOptions, output: Output) -> None:
    """Embeddings to a cache."""
    from lt_bench.features.import_arrays import import_features

    import_features(options)


def extract_verb(options: ExtractOptions, output: Output) -> None:
    """Images to a cache."""
    from lt_bench.bench.from_images import extract_verb

    extract_verb(options)


def pretrain_verb(options: PretrainOptions, output: Output) -> None:
    """Stage 1."""
    from lt_bench.bench.from_images import pretrain_verb

    pretrain_verb(options)
