"""Calibration of exported classifiers on a test set whose class shares are those of training, uniform, or its own.

    python benchmarks/calibration.py --cache plankton --strategies joint balanced_softmax los --results results

Each strategy is fitted, exported (head only) and loaded again. Test images are drawn class by class with replacement until their shares are those asked for, as many as the test set has; for its own shares the set is
taken as it is. Columns: expected calibration error (15 bins, %) of the head's softmax, of the calibrated probabilities, of those under the true prior (`set_prior`), and under the prior that EM and black-box shift
estimation find in the same images without their labels, each with the total variation distance of the estimate from the true shares (%).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import lt_bench as lt
from lt_bench.bench.options import ExportOptions
from lt_bench.deploy.classifier import Classifier
from lt_bench.deploy.export import export
from lt_bench.metrics.calibration import CalibrationError
from lt_bench.results.store import Store

COLUMNS = ("head", "calibrated", "prior set", "EM", "TV", "black-box", "TV")


def with_shares(labels: Tensor, shares: Tensor) -> Tensor:
    """Row numbers (N,) of images that are drawn with replacement within classes, so that class shares are ``shares`` (K,), restricted to classes with images."""
    draws, rows = np.random.default_rng(0), []
    shares = torch.where(torch.bincount(labels, minlength=len(shares)) > 0, shares, 0)
    ends = (shares.cumsum(0) / shares.sum() * len(labels)).round().long().tolist()
    for k, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            rows.append(torch.from_numpy(draws.choice(torch.nonzero(labels == k).flatten().numpy(), end - start)))
    return torch.cat(rows)


def error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error, %."""
    measure, (confidence, predicted) = CalibrationError(), probabilities.max(1)
    measure.update(confidence, predicted == labels)
    return 100 * float(measure.compute())


def figures(model: Classifier, logits: Tensor, labels: Tensor) -> list[float]:
    """One row of the table, for logits (N, K) and labels (N,): the values of `COLUMNS`, in %."""
    true = torch.bincount(labels, minlength=len(model.classes)).double() / len(labels)
    model.set_prior(None)
    row = [error(logits.double().softmax(1), labels), error(model.probabilities(logits), labels)]
    model.set_prior(true)
    row.append(error(model.probabilities(logits), labels))
    for method in ("em", "black_box"):
        shares = model.estimate_from(logits, method).shares
        model.set_prior(shares)
        row += [error(model.probabilities(logits), labels), 50 * float((shares - true).abs().sum())]
    return row


def main() -> None:
    """Fit, export, measure; print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", required=True)
    parser.add_argument("--strategies", nargs="+", default=["joint", "balanced_softmax", "los"])
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    cache, store = lt.open_cache(options.cache), Store(options.results)
    test, counts = cache.split("test", views=["plain"]), torch.tensor(cache.manifest.dataset.train_counts)
    labels = test.labels.long()
    wanted = {"training": counts.double(), "uniform": (counts > 0).double(), "its own": None}
    print(f"| strategy | shares of the classes | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
    for strategy in options.strategies:
        (run,) = lt.fit(strategy, cache, seeds=0, results=options.results)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "export"
            export(ExportOptions(record=store.path(run.record), cache=str(cache.path), out=place, head_only=True))
            model = lt.load_classifier(place)
        with torch.inference_mode():
            logits = model(test.view("plain").float())
        for title, shares in wanted.items():
            rows = torch.arange(len(labels)) if shares is None else with_shares(labels, shares)
            cells = " | ".join(f"{value:.1f}" for value in figures(model, logits[rows], labels[rows]))
            print(f"| `{strategy}` | {title} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
