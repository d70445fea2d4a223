"""Synthetic records with known truth: the one place where tests of results/ and leaderboard/ get their records from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lt_bench.results.record import (
    BackboneInfo,
    CacheInfo,
    DatasetInfo,
    Identity,
    RunRecord,
    SeedInfo,
    StrategyInfo,
    TimeInfo,
    TrainingInfo,
    TuningInfo,
)

READINGS = ("column", "row")
ENVIRONMENT = {
    "lt_bench": "0.1.0",
    "commit": "0" * 40,
    "dirty": False,
    "python": "3.11.9",
    "torch": "2.14.1",
    "lightning": "2.6.6",
    "torchmetrics": "1.9.0",
    "numpy": "2.4.6",
    "platform": "Linux",
    "cpu": "a processor",
    "device": "cpu",
    "devices": 1,
    "threads": 1,
    "deterministic": True,
}


def generator(*axes: object) -> np.random.Generator:
    """The same randomness for the same axes, in every process."""
    return np.random.default_rng(zlib.crc32(repr(axes).encode()))


@dataclass
class Builder:
    """Makes records of one split: `num_classes` classes, `per_class` test images each, training counts from `largest` down by `imbalance`."""

    num_classes: int = 10
    per_class: int = 20
    dataset: str = "cifar10_lt"
    largest: int = 500
    imbalance: float = 100.0
    cache_key: str = "cache-a"
    protocol: Any = "clean"
    mode: Any = "head"
    backbone: str = "resnet34"
    weights: str = ""  # of each cache its own where none are named
    shared: float = 1.0  # spread of the difficulty of a test image, common to all strategies
    seed_spread: float = 0.0  # spread of a whole run's skill between seeds
    truth: dict[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> list[int]:
        power = np.arange(self.num_classes) / (self.num_classes - 1)
        return [int(value) for value in self.largest * self.imbalance**-power]

    def correct(self, strategy: str, skill: float, seed: int, tail: float = 0.0) -> np.ndarray:
        """(N,) bool: a logistic model with image difficulty, class trend and run noise; equal `skill` is a true tie."""
        n = self.num_classes * self.per_class
        difficulty = self.shared * generator(self.dataset, "difficulty").standard_normal(n)
        trend = np.repeat(np.linspace(1.0, -1.0 + tail, self.num_classes), self.per_class)
        run = self.seed_spread * generator(self.dataset, strategy, seed, "run").standard_normal()
        probability = 1 / (1 + np.exp(-(skill + run + trend + difficulty)))
        return generator(self.dataset, strategy, seed, "draw").random(n) < probability

    def make(
        self,
        strategy: str = "los",
        seed: int = 0,
        skill: float = 0.0,
        *,
        tail: float = 0.0,
        kind: Any = "official",
        trains: str = "weight and bias",
        hyperparameters: dict[str, Any] | None = None,
        varies: str | None = "head seeds, one backbone",
        fit_s: float = 2.0,
        correct: np.ndarray | None = None,
        class_path: str | None = None,
        loma: float = 4.0,
        code: str = "revision 1",
        family: str = "label softening",
    ) -> tuple[RunRecord, dict[str, np.ndarray]]:
        labels = np.repeat(np.arange(self.num_classes), self.per_class)
        hits = self.correct(strategy, skill, seed, tail) if correct is None else correct
        predictions = np.where(hits, labels, (labels + 1) % self.num_classes)
        arrays = self._arrays(strategy, seed, labels, predictions, loma)
        trains_nothing = trains == "nothing"
        metrics = {view: self._scalars(arrays, view) for view in ("test", "train")}
        metrics["test"]["accuracy"] = float(np.mean(predictions == labels))
        record = RunRecord(
            identity=Identity(strategy, {"epsilon": 0.98, "learning_rate": 5e-4} if hyperparameters is None else hyperparameters, self.cache_key, self.protocol, self.mode, kind, seed, code),
            strategy=StrategyInfo(strategy, family, "A paper, 2025", "instance", trains, class_path or f"lt_bench.strategies.{strategy}.Head", kind == "inferred"),
            dataset=DatasetInfo(
                name=self.dataset, imbalance_factor=self.imbalance, selection="seed0", split_hash=f"split-{self.dataset}", num_classes=self.num_classes,
                class_names=[f"class {k}" for k in range(self.num_classes)], train_counts=self.counts, n_train=sum(self.counts), n_val=100, n_test=len(labels), val_seen_by_backbone=False,
            ),
            backbone=BackboneInfo(self.backbone, self.weights or f"weights of {self.cache_key}", 64, "fast"),
            cache=CacheInfo(self.cache_key, "a cache", "float16", ["plain"]),
            tuning=TuningInfo(kind, "val", 12, [100], "t1") if kind == "tuned" else TuningInfo(kind),
            seeds=SeedInfo(seed, seed, seed, None if trains_nothing else varies),
            metrics=metrics,
            training=TrainingInfo(0 if trains_nothing else 20, 0 if trains_nothing else 3400, 64, 0 if trains_nothing else 650, None if trains_nothing else 0.5, [{"epoch": 1, "loss": 0.7, "lr": 0.1}]),
            time=TimeInfo(fit_s + 0.01 * seed, 0.1, "2026-11-21T05:00:00Z"),
            environment=dict(ENVIRONMENT),
            command=f"lt-bench run --strategy {strategy} --dataset {self.dataset} --seeds {seed}",
        )  # fmt: skip
        return record, arrays

    def _arrays(self, strategy: str, seed: int, labels: np.ndarray, predictions: np.ndarray, loma: float) -> dict[str, np.ndarray]:
        draw = generator(self.dataset, strategy, seed, "vectors")
        probability = np.where(predictions == labels, draw.uniform(0.5, 1.0, len(labels)), draw.uniform(0.0, 0.5, len(labels)))
        arrays: dict[str, np.ndarray] = {
            "test_predictions": predictions.astype(np.int32),
            "test_labels": labels.astype(np.int32),
            "test_true_probability": probability.astype(np.float32),
        }
        accuracy = (predictions == labels).reshape(self.num_classes, self.per_class).mean(1)
        for view, lift in (("test", 0.0), ("train", 0.3)):
            arrays[f"{view}/class_accuracy"] = np.minimum(accuracy + lift, 1.0)
            arrays[f"{view}/class_total"] = np.full(self.num_classes, self.per_class) if view == "test" else np.array(self.counts)
            for reading in READINGS:
                size = loma * np.linspace(1.3, 0.7, self.num_classes) * (1 + 0.02 * draw.standard_normal(self.num_classes))
                arrays[f"{view}/loma_{reading}"] = size
                arrays[f"{view}/rsd_{reading}"] = 0.6 + 0.02 * draw.standard_normal(self.num_classes)
            arrays[f"{view}/weight_norm"] = np.linspace(1.5, 0.5, self.num_classes)
            arrays[f"{view}/feature_norm"] = np.linspace(11.0, 9.0, self.num_classes)
            arrays[f"{view}/cosine"] = np.linspace(0.6, 0.3, self.num_classes)
        return arrays

    def _scalars(self, arrays: dict[str, np.ndarray], view: str) -> dict[str, float]:
        counts, accuracy = np.array(self.counts), arrays[f"{view}/class_accuracy"]
        groups = {"many": counts > 100, "medium": (counts >= 20) & (counts <= 100), "few": counts < 20}

        def means(values: np.ndarray) -> dict[str, float]:
            return {name: float(values[members].mean()) if members.any() else float("nan") for name, members in groups.items()}

        scalars = {
            "accuracy": float(np.average(accuracy, weights=arrays[f"{view}/class_total"])),
            "macro_accuracy": float(accuracy.mean()),
            **means(accuracy),
        }
        scalars |= {"worst_class": float(accuracy.min()), "harmonic_mean": float(len(accuracy) / np.sum(1 / np.maximum(accuracy, 1e-12)))}
        scalars |= {"nll": 1.2, "calibration_error": 0.08}
        for reading in READINGS:
            loma, rsd = arrays[f"{view}/loma_{reading}"], arrays[f"{view}/rsd_{reading}"]
            scalars |= {
                f"loma_{reading}_mean": float(loma.mean()),
                f"loma_{reading}_balance": float(loma.std() / abs(loma.mean())),
                f"rsd_{reading}_mean": float(rsd.mean()),
            }
            scalars |= {f"loma_{reading}_{name}": value for name, value in means(loma).items()} | {
                f"rsd_{reading}_{name}": value for name, value in means(rsd).items()
            }
            scalars[f"rsd_{reading}_undefined"] = 0.0
        return scalars
