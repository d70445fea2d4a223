"""The verbs of a classifier in use: ``export``, ``predict``, ``evaluate``, ``update``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_bench.bench.options import EvaluateOptions, ExportOptions, PredictOptions, UpdateOptions
from lt_bench.cli.output import Output
from lt_bench.core.errors import printable
from lt_bench.core.names import counted


def export_verb(options: ExportOptions, output: Output) -> None:
    """Backbone and head as one classifier.

    Raises:
        UserError: as ``deploy.export.export``.
    """
    from lt_bench.deploy.export import export

    done = export(options)
    what = f"{done.backbone} and head" if done.backbone else "head alone: it takes features"
    differs = f"fitted again, test accuracy differs from the record by {done.difference:.2g}"
    output.say(f"wrote {done.directory}: {what}, {done.classes} classes; {differs}")
    output.say(
        f"probabilities calibrated on {counted(done.calibrated_on, 'validation image')}"
        if done.calibrated_on
        else "probabilities not calibrated: the cache has no validation images that the backbone has not seen"
    )
    if done.program:
        output.say("its head is of a kind of your own, kept as a program: to load it, `predict --trust-program` or `trust_program=True`")
    output.data(vars(done))


def predict_verb(options: PredictOptions, output: Output) -> None:
    """Classify new inputs; standard output stays free, for --out /dev/stdout.

    Raises:
        UserError: as ``deploy.predict.predict``.
    """
    from lt_bench.deploy.predict import predict

    count = predict(options)
    output.note(f"{counted(count, 'prediction')} in {options.out}")


def evaluate_verb(options: EvaluateOptions, output: Output) -> None:
    """Accuracies and the calibration error on labelled inputs.

    Raises:
        UserError: as ``deploy.evaluate.evaluate``.
    """
    from lt_bench.deploy.evaluate import evaluate

    done = evaluate(options)
    ends = {name: f"{100 * low:.1f} to {100 * high:.1f}" for name, (low, high) in done["intervals"].items()}
    K, tested = len(done["classes"]), sum(one["images"] > 0 for one in done["classes"])
    of = "" if tested == K else f" of {counted(tested, 'class', 'classes')} of {K:,}, the others have no input"
    sample = "images" if done["groups_of_inputs"] is None else f"{counted(done['groups_of_inputs'], 'group')} of images"
    output.say(
        f"{done['correct']:,} of {done['images']:,} right, accuracy {done['accuracy']:.1%} ({ends['accuracy']}), "
        f"macro {done['macro_accuracy']:.1%}{of} ({ends['macro_accuracy']}); 95 % intervals over {sample}"
    )
    if done["training_images"]:
        output.note(
            f"lt-bench: {done['training_images']:,} of these images trained the classifier, so the figures flatter it; evaluate images that it has not seen"
        )
    if unknown := done["left_out"]:
        named = ", ".join(f"{printable(name)} {count:,}" for name, count in unknown.items())
        output.note(
            f"lt-bench: left out {counted(sum(unknown.values()), 'input')} of {counted(len(unknown), 'class', 'classes')} that the export does not know, each of which it would get wrong: {named}"
        )
    groups = [f"{name} {value:.1%} ({ends[name]})" for name, value in done["groups"].items() if value == value]
    if groups:
        output.say(f"by training images: {', '.join(groups)}")
    output.say(_calibration_line(done["calibration_error"]))
    output.data(done)


def _calibration_line(error: Mapping[str, Any]) -> str:
    """Both calibration errors, with the interval of their difference where there is one."""
    said = f"calibration error {error['before']:.2%} before calibration and prior, {error['after']:.2%} after"
    if error["difference"] is None or error["before"] == error["after"]:
        return said
    low, high = (100 * end for end in error["difference"])
    told = "" if low > 0 or high < 0 else "; the two cannot be told apart"
    return f"{said}, difference {100 * (error['after'] - error['before']):+.2f} points ({low:+.2f} to {high:+.2f}{told})"


def update_verb(options: UpdateOptions, output: Output) -> None:
    """The classifier with new images, beside the earlier one.

    Raises:
        UserError: as ``deploy.update.update``.
    """
    from lt_bench.deploy.update import update

    done = update(options, output.note)
    for comparison in done.comparisons:
        output.say(comparison.line(done.objective))
    output.say(f"new classifier: {done.directory} (record {done.record}, cache {done.cache}); {options.export} stays as it is")
    output.say(done.recommendation)
    output.data(done.document())
