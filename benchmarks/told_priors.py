"""A head that is told the class shares of the test set beside heads that are not.

    python -m benchmarks.told_priors --cache cifar100_lt-if100-resnet10s2 --out benchmarks/results

Fits strategies with their own settings, three head seeds, and writes told-priors-CACHE.md: for a forward and a backward long tail of the test set, the accuracy of the stage-1 head that is told the tail
(z - log pi + log rho), and the difference to every head that is not, with its paired 95 % interval over seeds and test images and the verdict over all pairs, as the board has them under this objective.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import lt_bench as lt
from lt_bench.core.files import write_text

UNTOLD = ("joint", "ce", "maxnorm", "logit_adjustment", "balanced_softmax", "los", "scatter_prototypes", "multiplicative_la")
TAILS = ("forward:50", "backward:50")
SEEDS = range(3)


def report(cache: lt.Cache, strategies: Sequence[str] = UNTOLD, seeds: Sequence[int] = SEEDS) -> str:
    """The tables in Markdown, one for each tail, with the best head that is not told the tail first."""
    untold = [run for name in strategies for run in lt.fit(name, cache, seeds=seeds)]
    lines = [
        f"# Told the test prior, {cache.manifest.name}\n",
        f"Made by `python -m benchmarks.told_priors`. Test accuracy in per cent under class shares of the test set; own settings, {len(seeds)} head seeds; ±: 95 %, paired, over seeds and test images within classes.",
    ]
    for tail in TAILS:
        told = lt.fit(lt.compose(trainable="none", at_inference=f"test_prior({tail})"), cache)
        (board,) = lt.leaderboard([*untold, *told], objective=f"prior={tail}").boards
        (at,) = (place for place, row in enumerate(board.rows) if row.text("strategy") == "compose")
        assert board.pairs is not None
        lines += [
            f"\n## {tail}\n",
            f"The stage-1 head that is told: {100 * board.rows[at].score.mean:.2f}.\n",
            "| not told | accuracy | told stage-1 head minus it | told apart |",
            "|---|--:|--:|---|",
        ]
        for place, row in enumerate(board.rows):
            if place != at:
                difference, half = 100 * board.pairs.difference[at, place], 100 * board.pairs.half[at, place]
                apart = "yes" if board.pairs.different[at, place] else "no"
                lines.append(f"| `{row.label}` | {100 * row.score.mean:.2f} | {difference:+.2f} ± {half:.2f} | {apart} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="cifar100_lt-if100-resnet10s2")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cache = lt.open_cache(options.cache)
    write_text(options.out / f"told-priors-{cache.manifest.name}.md", report(cache))


if __name__ == "__main__":
    main()
