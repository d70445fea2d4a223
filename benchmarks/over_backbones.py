"""Differences between strategies that survive backbones and classes: random effects over the boards of one split.

    python -m benchmarks.over_backbones benchmarks/results/evidence/runs.parquet --out benchmarks/results/evidence

reads the runs of `benchmarks.evidence --rows` and writes OVER_BACKBONES.md, with the figures of `lt-bench leaderboard --against`: mean difference, and 95 % intervals over boards, over classes, over both.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from benchmarks.evidence.rows import Frame, read_rows
from lt_bench.core.files import write_text
from lt_bench.leaderboard.stats.effects import chance_of_none, random_effects
from lt_bench.leaderboard.stats.groups import holm

STRONG = (
    "cifar100_lt-if100-resnet10s2", "cifar100_lt-strong_s1", "cifar100_lt-strong_s2", "cifar100_lt-if100-resnet10s2-s3", "cifar100_lt-strong_s4",
)  # fmt: skip
ORDINARY = tuple(f"cifar100_lt-ordinary_s{seed}" for seed in range(5))
BOARDS = (*STRONG, *ORDINARY)
WITH_FOUNDATION = (*BOARDS, "cifar100_lt-lite0-128")
SETS = {
    f"{len(STRONG)} strong boards": STRONG,
    f"{len(ORDINARY)} ordinary boards": ORDINARY,
    f"{len(BOARDS)} boards of ResNet-10": BOARDS,
    f"{len(WITH_FOUNDATION)} boards, one of EfficientNet-Lite0": WITH_FOUNDATION,
}
WHOLE = ("cifar100_lt-if100-resnet10s2", "cifar100_lt-if100-resnet10s2-s1", "cifar100_lt-if100-resnet10s2-s3", "cifar100_lt-strong_s4")
EVERY_STRATEGY = {
    "Own settings of every strategy, four strong boards": WHOLE,
    "Own settings of every strategy, the same, two ordinary ones and one of ResNet-32": (
        *WHOLE,
        "cifar100_lt-ordinary_s1",
        "cifar100_lt-ordinary_s2",
        "r32_ldam_s0",
    ),
}
"""Boards on which every strategy has run."""
AGAINST = "logit_adjustment"
RIVAL, OURS = "los", ("scatter_prototypes", "los_prototypes")
"""The best rival on the strong boards, and the strategies of ours."""
BUDGET = 24
"""Points of a grid, at most: budgets are equal only within the protocol of `benchmarks.ours`."""
HEAD = (
    "# Differences that survive backbones and classes\n\nMade by `python -m benchmarks.over_backbones`. Test accuracy minus that of `logit_adjustment` with settings of the same kind, points; CIFAR-100-LT IF 100; ResNet-10 "
    "with the recipe `fast`, and features of EfficientNet-Lite0 or of ResNet-32 (recipe `ldam`) where a title says so. Tuned: over at most 24 points.\n±: half-widths of 95 % intervals with boards, classes, or both as random samples, each for one comparison alone. "
    "Told apart: by the test over both, Holm-corrected over the rows of the table, 5 %. Boards of several kinds are no random sample of one: a mean over them depends on how many there are of each.\n"
)
LEVEL = 0.05


def accuracies(rows: Frame, boards: tuple[str, ...], kind: str) -> dict[str, np.ndarray]:
    """Class accuracies (B, K) in per cent, mean over seeds, of each strategy with settings of a kind (`own`, `tuned`) on all boards. Of several tunings the one with the largest grid within the budget counts, then the newest."""
    kinds = ("tuned",) if kind == "tuned" else ("official", "inferred", "author-tuned")
    known = rows[rows["tuning"].isin(kinds) & (rows["family"] != "control") & (rows["strategy"] != "compose") & (rows["mode"] == "head")]
    known = known.assign(grid_size=known["grid_size"].fillna(0))
    known = known[known["grid_size"] <= BUDGET]
    result = {}
    for name, of in known.groupby("strategy"):
        by_board = []
        for board in boards:
            here = of[of["cache_name"] == board]
            if len(here):
                newest = here.sort_values(["grid_size", "finished"]).iloc[-1]
                same = here[
                    (here[["hyperparameters", "code", "grid_size"]] == newest[["hyperparameters", "code", "grid_size"]]).all(axis=1)
                ]
                by_board.append(100 * np.stack(same["class_accuracy"].to_list()).astype(np.float64).mean(0))
        if len(by_board) == len(boards):
            result[str(name)] = np.stack(by_board)
    return result


def told_apart(differences: dict[str, np.ndarray]) -> set[str]:
    """The strategies whose mean difference (B, K) is not zero by the test over boards and classes, Holm-corrected over all that differ anywhere."""
    p = {name: chance for name, one in differences.items() if not math.isnan(chance := chance_of_none(one))}
    return {name for name, corrected in zip(p, holm(np.array(list(p.values()))), strict=True) if corrected < LEVEL}


def table(of: dict[str, np.ndarray], boards: tuple[str, ...], against: str = AGAINST) -> list[str]:
    """Lines of a Markdown table, the largest mean difference first."""
    differences = {name: one - of[against] for name, one in of.items() if name != against}
    apart = told_apart(differences)
    effects = {name: (*random_effects(one), one.mean(1)) for name, one in differences.items()}
    lines = [
        f"| strategy | mean | ± boards | ± classes | ± both | told apart | {' | '.join(boards)} |",
        "|---|" + "--:|" * 4 + ":-:|" + "--:|" * len(boards),
    ]
    for name, (mean, *halves, by_board) in sorted(effects.items(), key=lambda one: -one[1][0]):
        cells = [f"{half:.2f}" if math.isfinite(half) else "?" for half in halves]
        cells.append("yes" if name in apart else "no")
        lines.append(f"| `{name}` | {mean:+.2f} | {' | '.join(cells)} | {' | '.join(f'{one:+.2f}' for one in by_board)} |")
    return lines


def report(rows: Frame) -> str:
    """The tables in Markdown, of tuned and of own settings, over boards of each kind and of several."""
    parts = [HEAD]
    for kind in ("tuned", "own"):
        for title, boards in SETS.items():
            of = accuracies(rows, boards, kind)
            if AGAINST in of and len(of) > 1:
                parts += [f"## {'Tuned on validation' if kind == 'tuned' else 'Own settings'}, {title}", "", *table(of, boards), ""]
    for title, boards in EVERY_STRATEGY.items():
        of = accuracies(rows, boards, "own")
        if AGAINST in of:
            parts += [f"## {title}", "", *table(of, boards), ""]
    for title, boards in list(SETS.items())[:-1]:
        of = {name: one for name, one in accuracies(rows, boards, "tuned").items() if name in (RIVAL, *OURS)}
        if RIVAL in of and len(of) > 1:
            parts += [f"## Strategies of ours minus `{RIVAL}`, tuned, {title}", "", *table(of, boards, RIVAL), ""]
    return "\n".join(parts)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="Parquet file of benchmarks.evidence --rows")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_text(options.out / "OVER_BACKBONES.md", report(read_rows(options.runs)))


if __name__ == "__main__":
    main()
