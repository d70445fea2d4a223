"""Heads on frozen features beside the same strategies that train the network with them, from one phase 1 or none.

    python -m benchmarks.freezing_weights benchmarks/results/evidence/runs.parquet --out benchmarks/results/evidence/FREEZING.md

reads the runs of `benchmarks.evidence --rows`. End to end, a strategy trains network and head from a checkpoint of cross-entropy, whose epoch depends on the strategy, or from fresh weights;
frozen, it trains the head by its own settings on the features that the same cross-entropy ends with.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.evidence.rows import Frame, read_rows
from benchmarks.regularisation import classes_of
from lt_bench.core.files import write_text
from lt_bench.leaderboard.stats.effects import random_effects

FROZEN = "r32_ldam_s0"
BEGUN = {None: (0, "ldam"), "56bf2f36e4668147": (100, "ib"), "8aaea008cabcdccc": (130, "own"), "3eb94a734744dec9": (160, "ldam")}
"""Checkpoints of the training whose last features are frozen, by the hash of their weights (None: fresh weights): epochs that were done, and the recipe that went on."""
GROUPS = ("accuracy", "many", "medium", "few", "class_bias", "accuracy_equal_bias")


class Pair(NamedTuple):
    """A strategy with the network frozen (a line for each head seed) and trained (one line), and the epoch of cross-entropy that the training began at."""

    strategy: str
    epoch: int
    frozen: Frame
    trained: Frame

    def difference(self, name: str) -> float:
        """Frozen minus trained of a metric on test, in points."""
        return float(self.frozen[f"test/{name}"].mean() - self.trained[f"test/{name}"].mean()) * 100

    @property
    def by_class(self) -> np.ndarray:
        """Frozen minus trained accuracies of the classes (K,), in points; means over head seeds."""
        frozen, trained = self._class_accuracies
        return frozen - trained

    @property
    def over_images(self) -> float:
        """Half-width of the 95 % interval over test images within classes, in points, as if both had been tested on images of their own: wider than a paired one."""
        frozen, trained = self._class_accuracies
        images = self.trained["n_test"].iloc[0] / len(trained)  # of a class
        return 1.96 * math.sqrt(sum(float((one * (100 - one)).sum()) for one in (frozen, trained)) / images) / len(trained)

    @property
    def _class_accuracies(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies of the classes (K,) in per cent, frozen and trained."""
        frozen, trained = (classes_of(of, self.strategy, {}) for of in (self.frozen, self.trained))
        assert frozen is not None
        assert trained is not None
        return frozen, trained


def own_heads(rows: Frame) -> Frame:
    """The heads on the frozen features by settings of their own."""
    return rows[(rows["cache_name"] == FROZEN) & (rows["mode"] == "head") & rows["tuning"].isin(["official", "inferred", "author-tuned"])]


def pairs_of(rows: Frame) -> list[Pair]:
    """Each end-to-end run from a state of BEGUN with the heads of its strategy, by the epoch it began at; those without heads are left out."""
    heads, found = own_heads(rows), []
    whole = rows[(rows["mode"] == "end-to-end") & (rows["dataset"] == "cifar100_lt") & (rows["backbone"] == "resnet32")]
    for position, text in enumerate(whole["hyperparameters"]):
        given, trained = json.loads(text), whole.iloc[[position]]
        state = None if given["phase1"] is None else given["phase1"].partition(" ")[0]
        epoch, recipe = BEGUN.get(state, (0, ""))
        frozen = heads[heads["strategy"] == trained["strategy"].iloc[0]]
        if recipe and given["stage1_recipe"] == recipe and len(frozen):
            found.append(Pair(trained["strategy"].iloc[0], epoch, frozen, trained))
    return sorted(found, key=lambda pair: (pair.epoch, pair.strategy))


def report(rows: Frame) -> str:
    """Both accuracies and their difference for each strategy, and the mean difference over strategies."""
    pairs, heads = pairs_of(rows), own_heads(rows)
    lines = [
        "# Heads on frozen features beside networks trained by the same strategies\n",
        "Made by `python -m benchmarks.freezing_weights`. ResNet-32 by the recipe `ldam`, CIFAR-100-LT IF 100, first images of each class; test accuracy in per cent (many / medium / few). End to end: one seed, network and head from "
        "the epoch of one cross-entropy training that is named (0: fresh weights). Frozen: the head by its own settings on the features after 200 epochs, mean over head seeds. ±: 95 % over classes, paired / over test images, as if unpaired; seeds of the training are in no interval.\n",
        "| strategy | from epoch | end to end | frozen | frozen minus end to end | class bias, end to end | frozen | at equal bias, end to end | frozen |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for pair in pairs:
        mean, _, half, _ = random_effects(pair.by_class[None])
        sides = (pair.trained, pair.frozen)
        accuracies = (f"{_mean(of, 'accuracy'):.2f} ({' / '.join(f'{_mean(of, name):.1f}' for name in GROUPS[1:4])})" for of in sides)
        bias, equal = (
            [f"{_mean(of, name):.{digits}f}" for of in sides] for name, digits in (("class_bias", 1), ("accuracy_equal_bias", 2))
        )
        lines.append(
            f"| `{pair.strategy}` | {pair.epoch} | {' | '.join(accuracies)} | {mean:+.2f} ± {half:.2f} / {pair.over_images:.2f} | {' | '.join([*bias, *equal])} |"
        )
    lines += [
        "",
        _over_strategies(pairs),
        "",
        "Of the frozen network, no head trained end to end:",
        "",
        "| | accuracy | class bias | at equal bias |",
        "|---|--:|--:|--:|",
    ]
    for name in ("joint", "logit_adjustment"):
        of = heads[heads["strategy"] == name]
        lines.append(f"| `{name}` | {_mean(of, 'accuracy'):.2f} | {_mean(of, 'class_bias'):.1f} | {_mean(of, 'accuracy_equal_bias'):.2f} |")
    return "\n".join(lines) + "\n"


def _mean(of: Frame, name: str) -> float:
    """Mean of a metric on test over the lines, in points."""
    return 100 * float(of[f"test/{name}"].mean())


def _over_strategies(pairs: list[Pair]) -> str:
    """The mean differences over strategies, with intervals over strategies and classes."""
    said = []
    for name in GROUPS:
        of = [pair.difference(name) for pair in pairs]
        said.append(f"{name.replace('_', ' ')} {np.mean(of):+.2f} ({min(of):+.2f} to {max(of):+.2f})")
    mean, *_, both = random_effects(np.stack([pair.by_class for pair in pairs]))
    return f"Frozen minus end to end over {len(pairs)} strategies, mean {mean:+.2f} ± {both:.2f} (95 % over strategies and classes); means and ranges: {', '.join(said)}."


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_text(options.out, report(read_rows(options.runs)))


if __name__ == "__main__":
    main()
