"""Cost of evaluation: per-class accuracy against two bincounts and against torchmetrics' table, all metrics against the softmax, over K."""

from __future__ import annotations

import torch
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.speed.measure import Contestant, Figure, Setting, race
from benchmarks.speed.problems import shipped_counts
from lt_bench.data.profiles import profile_counts
from lt_bench.metrics.accuracy import ClassAccuracy
from lt_bench.metrics.evaluation import Evaluation

ROWS = 4096


def measure(setting: Setting) -> list[Figure]:
    """Updates of ``ROWS`` samples."""
    figures = []
    for counts in (profile_counts("exponential", 500, 100, 100), shipped_counts("imagenet_lt"), shipped_counts("inat2018")):
        K = len(counts)
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(K, (ROWS,), generator=generator).to(setting.device)
        predictions = torch.randint(K, (ROWS,), generator=generator).to(setting.device)
        figures += race(
            setting,
            "accuracy",
            f"{ROWS:,} samples, K {K:,}",
            accuracies(labels, predictions, K),
            {"ours": "two bincounts", "torchmetrics, macro": "two bincounts"},
        )
        rows = min(ROWS, (1 << 22) // K)
        logits = torch.randn(rows, K, generator=generator).to(setting.device)
        size = f"{rows:,} samples, K {K:,}"
        figures += race(setting, "all metrics", size, everything(logits, labels[:rows], counts), {"all metrics": "softmax and arg max"})
    return figures


def accuracies(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> dict[str, Contestant]:
    """One update each."""
    mine = ClassAccuracy(classes).to(labels.device)
    table = MulticlassAccuracy(classes, average="macro", validate_args=False).to(labels.device)
    repeats = 200 if classes < 5000 else 50

    def bincounts() -> int:
        for _ in range(repeats):
            torch.bincount(labels, minlength=classes)
            torch.bincount(labels[predictions == labels], minlength=classes)
        return repeats

    def ours() -> int:
        for _ in range(repeats):
            mine.update(predictions, labels)
        return repeats

    def torchmetrics() -> int:
        table.update(predictions, labels)
        return 1

    return {"two bincounts": bincounts, "ours": ours, "torchmetrics, macro": torchmetrics}


def everything(logits: torch.Tensor, labels: torch.Tensor, counts: tuple[int, ...]) -> dict[str, Contestant]:
    """A whole update of ``Evaluation``."""
    evaluation = Evaluation(counts).to(logits.device)

    def softmax() -> int:
        for _ in range(3):
            logits.softmax(1).argmax(1)
        return 3

    def ours() -> int:
        for _ in range(3):
            evaluation.update(logits, labels)
        return 3

    return {"softmax and arg max": softmax, "all metrics": ours}
