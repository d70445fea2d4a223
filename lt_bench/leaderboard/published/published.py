"""Published accuracies, shown beside measured ones with their source and never mixed with them.

`published_numbers.csv` has one line for each published accuracy. A line's `source_kind` says how it was read: `paper`, `readme`, `repo_table`, `log`,
`third_party`, `index` (an index page: marked with a dagger); `published_sources.csv` says what else is known of a source; lines of kind `memory`, and those whose notes say SUSPECT, are never shown.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass
from importlib import resources

DAGGER = "†"
_NEVER_SHOWN = "memory"
_SUSPECT = "SUSPECT"
_KINDS = ("paper", "log", "readme", "repo_table", "third_party", "index")  # nearest to the authors first
_KIND_WORDS = {
    "paper": "paper",
    "log": "log",
    "readme": "README",
    "repo_table": "repository table",
    "third_party": "re-run by others",
    "index": "index page",
}
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
    "weight_balancing(WD+MaxNorm+CB)": "weight_balancing_released",
    "lort/los": "los",
    "tau_norm(1.9)": "tau_norm",
    "cb_ce": "cb",
    "wd_stage1": "joint",  # the stage-1 network as it is; our weight_decay is a stage-2 head
    "inverse_freq": "inverse_frequency",
    "cosine_classifier": "cosine",
    "prog_balanced_sampling": "progressive_sampling",
    "balanced_softmax_decoupled": "balanced_softmax",
}


# Trained from scratch where published: a frozen-feature head is an adaptation, and the published number is no target for it.
_END_TO_END = {
    "ce", "focal", "cb", "cb_focal", "cb_focal_sigmoid", "ldam", "ldam_drw", "ib", "ib_cb", "ib_fl", "vs", "cdt", "seql", "lade", "la_loss", "ffds", "d_ffds",
    "caai25_inferred", "cosine", "label_smoothing", "inverse_frequency", "sqrt_inverse", "class_balanced_sampling", "sqrt_sampling",
    "progressive_sampling", "effective_sampling",
}  # fmt: skip
# Strategies that a source of a method is about, by the beginning of its name; of other strategies it prints a baseline that was copied or run beside the method.
_SUBJECTS = {
    "FFDS ICIP'23": ("ffds", "d_ffds"),
    "google-research/logit_adjustment": ("logit_adjustment", "la_loss"),
    "open-mmlab/mmpretrain configs/logit_adjustment": ("logit_adjustment", "la_loss"),
    "jiawei-ren/BalancedMetaSoftmax": ("balanced_softmax", "meta_sampler"),
    "hyperconnect/LADE": ("lade", "pc_softmax"),
    "KaihuaTang/Long-Tailed": ("cosine",),
    "frank-xwang/RIDE": (),
    "Vanint/SADE": (),
    "PLTR-SD": (),
    "CAR CVPR'26": (),
}
# Papers about a strategy, or about baselines: the decoupling (Kang et al. 2020) and the weight balancing (Alshammari et al. 2022).
_HOMES = ("facebookresearch/classifier-balancing", "ShadeAlsha/LTR-weight-balancing")


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
    def end_to_end(self) -> bool:
        """Whether the network was trained from scratch with the method; balanced softmax exists in both forms, and is re-trained only where the line says `decoupled`."""
        if self.strategy == "balanced_softmax":
            return "decoupled" not in f"{self.name} {self.notes}"
        return self.strategy in _END_TO_END

    @property
    def autoaugment(self) -> bool:
        """Whether AutoAugment was used; the official code of balanced softmax does on CIFAR, though its README does not say so."""
        return "autoaug" in self.notes.lower() or (self.source.startswith("jiawei-ren/") and self.dataset.startswith("cifar"))

    @property
    def remarks(self) -> str:
        """Caveats beside the number, in brackets."""
        return " (AutoAugment)" * self.autoaugment + " (end-to-end)" * self.end_to_end + " (unverified)" * (not self.about.checked)

    @property
    def distance(self) -> int:
        """Distance of the source from the strategy: 0 it is about the strategy or its family of baselines, 1 a collection of runs, 2 about another method."""
        subjects = next((match for start, match in _SUBJECTS.items() if self.source.startswith(start)), None)
        if subjects is not None:
            return 0 if self.strategy in subjects else 2
        return 0 if self.source.startswith(_HOMES) or self.source_kind not in ("repo_table", "third_party", "index") else 1

    @property
    def about(self) -> Source:
        """Facts about the source."""
        return next((match for match in sources() if self.source.startswith(match.begins)), Source(self.source, self.source, "", "", False))

    @property
    def short(self) -> str:
        """A citation of some words, for instance `FFDS, Table 1a (paper)`."""
        return f"{self.about.short} ({_KIND_WORDS[self.source_kind]}){self.mark}"

    @property
    def epochs(self) -> int | None:
        """Epochs of the training of the network, where the notes say them ("200ep")."""
        match = re.search(r"\b(\d+)ep\b", self.notes)
        return int(match.group(1)) if match else None

    @property
    def flip_averaged(self) -> bool:
        """Whether test images were averaged with their mirror images."""
        return self.about.flip_averaged

    @property
    def citation(self) -> str:
        """The whole source: published name, place, kind, notes."""
        name = "" if self.name == self.strategy else f"{self.name} in "
        return (
            f"{name}{self.source} ({self.source_kind.replace('_', ' ')})"
            + (f"; {self.notes}" if self.notes else "")
            + "; not found again in its source" * (not self.about.checked)
        )


@dataclass(frozen=True)
class Source:
    """A place that publishes results, known by how its name `begins` (`published_sources.csv`).

    `subset` is how its code draws a long-tailed CIFAR subset (`seed0`, `first`, `unseeded`), `epoch_choice` what chooses its epoch; "" where that is not known.
    `checked` is False where its numbers (pictures of tables, posters, index pages, papers read through notes) could not be found again in it.
    """

    begins: str
    short: str
    subset: str
    epoch_choice: str
    flip_averaged: bool
    checked: bool = True


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every source, in the order of the file."""
    text = resources.files("lt_bench.leaderboard.published").joinpath("published_sources.csv").read_text(encoding="utf-8")
    return tuple(
        Source(
            line["begins"], line["short"], line["subset"], line["epoch_choice"], line["flip_averaged"] == "yes", line["checked"] == "yes"
        )
        for line in csv.DictReader(text.splitlines())
    )


@functools.cache
def published() -> tuple[Published, ...]:
    """Every line that may be shown, in the order of the file."""
    text = resources.files("lt_bench.leaderboard.published").joinpath("published_numbers.csv").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> tuple[Published, ...]:
    """Lines of a CSV text in the format of `published_numbers.csv`, without those from memory and those under suspicion."""
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
        if line["source_kind"] != _NEVER_SHOWN and _SUSPECT not in line["notes"]
    )


@functools.cache
def for_dataset(dataset: str, imbalance_factor: float) -> tuple[Published, ...]:
    """The published lines of a dataset at an imbalance factor (NaN: any)."""
    return tuple(
        line for line in published() if line.dataset == dataset and (dataset in _ONE_FACTOR or line.imbalance_factor == imbalance_factor)
    )


@functools.cache
def nearest(strategy: str, dataset: str, imbalance_factor: float, backbone: str) -> Published | None:
    """The published line of a strategy whose setting is nearest: the same backbone first, without AutoAugment, then by source.

    A source about the strategy itself comes before a collection of runs, and that before another method's paper with its copied baselines; then the kind of source.
    """
    fitting = [line for line in for_dataset(dataset, imbalance_factor) if line.strategy == strategy and line.top1 is not None]

    def order(line: Published) -> tuple[bool, bool, int, int]:
        return not same_backbone(line.backbone, backbone), line.autoaugment, line.distance, _KINDS.index(line.source_kind)

    return min(fitting, key=order, default=None)


def same_backbone(first: str, second: str) -> bool:
    """Whether two spellings name one backbone ("ResNet-34 (inferred)", "resnet34")."""
    return _plain(first) == _plain(second)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.partition("(")[0].lower() if letter.isalnum())


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
