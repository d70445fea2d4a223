"""Linear probes on the validation images alone: the most that their labels give as training data.

    python -m benchmarks.val_probes --cache cifar100_lt-if100-resnet10s2 --out benchmarks/results

Fits scikit-learn's logistic regression to the plain view of the validation images, over ridges, scalings of the features and both forms, and writes val-probes-CACHE.md: the test accuracy of each.
Features of each scaling are divided by the root mean square of their lengths, so that a ridge means the same in all of them. The test set chooses among them, so the best is an upper bound and no method. scikit-learn is in the group `dev`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

import lt_bench as lt
from lt_bench.core.files import write_text

Scaling = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Features (N, D) to scale and those of the validation images; returns (N, D)."""
RIDGES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
FORMS = ("multinomial", "one against the rest")
STEPS = 300


def unit_length(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their Euclidean norm."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


SCALINGS: Mapping[str, Scaling] = {
    "as they are": lambda rows, val: rows,
    "unit length": lambda rows, val: unit_length(rows),
    "centred, unit length": lambda rows, val: unit_length(rows - val.mean(0)),
    "standardised": lambda rows, val: (rows - val.mean(0)) / val.std(0).clip(1e-12),
    "square roots": lambda rows, val: np.sign(rows) * np.abs(rows) ** 0.5,
}


def scale(name: str, rows: np.ndarray, val: np.ndarray) -> np.ndarray:
    """Scaled features (N, D), whose squared length has a mean of 1 over the validation images."""
    return SCALINGS[name](rows, val) / np.sqrt(np.square(SCALINGS[name](val, val)).sum(1).mean())


def arrays(cache: lt.Cache, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the plain view, (N, D), and labels, (N,), of images with a label."""
    rows = cache.split(split)
    known = (rows.labels >= 0).numpy()
    return rows.view("plain").float().numpy()[known], rows.labels.numpy()[known]


def accuracy(form: str, ridge: float, val: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Test accuracy of the probe that minimises mean cross-entropy + ridge / 2 ||W||^2 over the validation images."""
    probe = LogisticRegression(C=1 / (ridge * len(val[1])), max_iter=STEPS)
    model = probe if form == "multinomial" else OneVsRestClassifier(probe)
    return float(np.mean(np.asarray(model.fit(*val).predict(test[0])) == test[1]))


def report(cache: lt.Cache, ridges: Sequence[float] = RIDGES, scalings: Sequence[str] = tuple(SCALINGS)) -> str:
    """A row for each scaling and form, a column for each ridge."""
    (val, labels), (test, truth) = arrays(cache, "val"), arrays(cache, "test")
    lines = [
        f"# Probes on the validation images alone, {cache.manifest.name}\n",
        f"Made by `python -m benchmarks.val_probes`. Test accuracy in per cent, plain view, {len(labels)} validation images; the test set chooses, so the best is an upper bound.\n",
        "| features | form | " + " | ".join(f"ridge {ridge:g}" for ridge in ridges) + " |",
        "|---|---|" + "--:|" * len(ridges),
    ]
    best = 0.0
    for name in scalings:
        scaled = scale(name, val, val), scale(name, test, val)
        for form in FORMS:
            found = [accuracy(form, ridge, (scaled[0], labels), (scaled[1], truth)) for ridge in ridges]
            best = max(best, *found)
            lines.append(f"| {name} | {form} | " + " | ".join(f"{100 * one:.2f}" for one in found) + " |")
    return "\n".join([*lines, f"\nThe best: {100 * best:.2f}."]) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="cifar100_lt-if100-resnet10s2")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cache = lt.open_cache(options.cache)
    write_text(options.out / f"val-probes-{cache.manifest.name}.md", report(cache))


if __name__ == "__main__":
    main()
