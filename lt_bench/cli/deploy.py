"""The verbs of a classifier in use: ``export``, ``predict``."""

from __future__ import annotations

from lt_bench.bench.options import ExportOptions, PredictOptions
from lt_bench.cli.output import Output


def export_verb(options: ExportOptions, output: Output) -> None:
    """Backbone and head as one classifier."""
    from lt_bench.deploy.export import export

    export(options)


def predict_verb(options: PredictOptions, output: Output) -> None:
    """Classify new inputs."""
    from lt_bench.deploy.predict import predict

    predict(options)
