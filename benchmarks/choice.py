"""The estimate of `lt-bench choose` beside the test figure: the choice is made without the test set, which then is looked at once.

    python benchmarks/choice.py --cache cifar100_lt-if100-resnet10s2 --results choices

Prints one line for what was chosen, and one for every strategy: the estimate from held-out images with its interval, the figure on the test set of a head that is fitted on all training rows with the
hyper-parameters that all held-out images chose, and the difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lt_bench as lt


def main() -> None:
    """Choose, then fit and measure on the test set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", required=True)
    parser.add_argument("--strategies", nargs="*", default=())
    parser.add_argument("--split", choices=("val", "train"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    cache = lt.open_cache(options.cache)
    choice = lt.choose(cache, options.strategies, split=options.split, folds=options.folds, budget=options.budget, results=options.results)
    print(choice)
    document, seed = choice.document, choice.document["seeds"][0]
    lines = [("what was chosen", choice.strategy, choice.hyperparameters, document["expect"])]
    lines += [(one["strategy"], one["strategy"], one["hyperparameters"], one) for one in document["strategies"]]
    print(f"{'macro accuracy, %':24s} {'expected':>8s} {'95 %':>14s} {'test':>6s} {'apart':>6s}")
    for title, strategy, hyperparameters, expected in lines:
        (run,) = lt.fit(strategy, cache, seeds=seed, results=options.results, **hyperparameters)
        test, (low, high) = 100 * run.metrics["test"]["macro_accuracy"], (100 * end for end in expected["interval"])
        value = 100 * expected["value"]
        within = "" if low <= test <= high else "  outside"
        print(f"{title:24s} {value:8.2f} {f'{low:.1f} to {high:.1f}':>14s} {test:6.2f} {test - value:+6.2f}{within}")


if __name__ == "__main__":
    main()
