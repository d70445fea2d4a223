"""Published accuracies, shown beside measured ones with their source and never mixed with them.

`published_numbers.csv` has one line for each published accuracy. A line's `source_kind` says how it was read: `paper`, `readme`, `repo_table`, `log`,
`third_party`, `index` (an index page: marked with a dagger); lines of kind `memory` are never shown.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources

DAGGER = "†"
_NEVER_SHOWN = "memory"
_KINDS = ("paper", "log", "readme", "repo_table", "third_party", "index")  # nearest to the authors first
_DATASETS = {
    "CIFAR-100-LT": "cifar100_lt",
    "CIFAR-10-LT": "cifar10_lt",
    "Tiny-ImageNet-LT": "tiny_imagenet_lt",
    "ImageNet-LT": "imagenet_lt",
    "Places-LT": "places_lt",
    "iNaturalist18": "inat2018",
    "ICText-LT": "ictext_lt",
}
# Splits that exist with one imbalance only, whatever factor a paper writes beside them.
_ONE_FACTOR = {"imagenet_lt", "places_lt", "inat2018", "ictext_lt"}
# Published names that are exactly a strategy of ours under another name.
_STRATEGIES = {
    "ce_joint": "joint",
    "crt (instance-balanced stage1)": "crt",
    "la_posthoc": "logit_adjustment",
    "weight_balancing(WD+MaxNorm+CB)": "weight_balancing",
    "lort/los": "los",
    "tau_norm(1.9)": "tau_norm",
    "cb_ce": "cb",
    "wd_stage1": "weight_decay",
    "inverse_freq": "inverse_frequency",
    "cosine_classifier": "cosine",
    "prog_balanced_sampling": "progressive_sampling",
    "balanced_softmax_decoupled": "balanced_softmax",
}


@dataclass(frozen=True)
class Published:
    """One published result; accuracies in per cent as printed, None where the source does not give one."""

    name: str
    strategy: str
    dataset: str
    imbalance_factor: float | None
    backbone: str
    top1: float | None
    many: float | None
    medium: float | None
    few: float | None
    source: str
    source_kind: str
    notes: str

    @property
    def mark(self) -> str:
        """A dagger for index pages."""
        return DAGGER if self.source_kind == "index" else ""

    @property
    def citation(self) -> str:
        """Source and its kind."""
        return f"{self.source} ({self.source_kind.replace('_', ' ')})" + (f"; {self.notes}" if self.notes else "")


@functools.cache
def published() -> tuple[Published, ...]:
    """Every line that may be shown, in the order of the file."""
    text = resources.files("lt_bench.leaderboard").joinpath("published_numbers.csv").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> tuple[Published, ...]:
    """Lines of a CSV text in the format of `published_numbers.csv`, without those from memory."""
    return tuple(
        Published(
            name=line["strategy"],
            strategy=_STRATEGIES.get(line["strategy"], line["strategy"]),
            dataset=_DATASETS.get(line["dataset"], line["dataset"]),
            imbalance_factor=_number(line["imbalance_factor"]),
            backbone=line["backbone"],
            top1=_number(line["top1"]),
            many=_number(line["many"]),
            medium=_number(line["medium"]),
            few=_number(line["few"]),
            source=line["source"],
            source_kind=line["source_kind"],
            notes=line["notes"],
        )
        for line in csv.DictReader(text.splitlines())
        if line["source_kind"] != _NEVER_SHOWN
    )


def for_dataset(dataset: str, imbalance_factor: float) -> tuple[Published, ...]:
    """The published lines of a dataset at an imbalance factor (NaN: any)."""
    return tuple(
        line for line in published() if line.dataset == dataset and (dataset in _ONE_FACTOR or line.imbalance_factor == imbalance_factor)
    )


def nearest(strategy: str, dataset: str, imbalance_factor: float, backbone: str) -> Published | None:
    """The published line of a strategy whose setting is nearest: the same backbone first, then the source nearest to the authors."""
    fitting = [line for line in for_dataset(dataset, imbalance_factor) if line.strategy == strategy and line.top1 is not None]
    return min(fitting, key=lambda line: (not same_backbone(line.backbone, backbone), _KINDS.index(line.source_kind)), default=None)


def same_backbone(first: str, second: str) -> bool:
    """Whether two spellings name one backbone ("ResNet-34 (inferred)", "resnet34")."""
    return _plain(first) == _plain(second)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.partition("(")[0].lower() if letter.isalnum())


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
