"""A split by image against a split by group (track, patient, site) of one's own images: what accuracies of remembering are worth.

    python benchmarks/groups.py --dataset table --data-dir FILE --group-column track --backbone resnet32 --weights FILE --strategies ncm,balanced_softmax

For every seed of the split, both splits are made, near-identical images across them are counted, the features are extracted (plain views alone), and the strategies are
fitted and measured on test. Prints a line of Markdown for every split and strategy: means over the seeds, in percent. Nothing is kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as the other benchmarks: a checkout will do

from lt_bench.bench.options import RunOptions, StrategyChoice  # noqa: E402
from lt_bench.bench.run import run  # noqa: E402
from lt_bench.core.devices import pick_device  # noqa: E402
from lt_bench.data.load import load_images  # noqa: E402
from lt_bench.data.near import near_images  # noqa: E402
from lt_bench.data.reading import Reading  # noqa: E402
from lt_bench.features.extraction.extract import extract  # noqa: E402
from lt_bench.features.extraction.request import Request  # noqa: E402


def measured(chosen: argparse.Namespace, reading: Reading, place: Path) -> tuple[float, dict[str, float]]:
    """Share of the test images with a near-identical one in training, and macro accuracy on test by strategy."""
    data = load_images(chosen.dataset, chosen.data_dir, **reading)
    near = near_images(data)
    request = Request(
        data,
        chosen.backbone,
        chosen.weights,
        place / "cache",
        pick_device("auto"),
        "groups",
        views=0,
        dtype="float32",
        workers=0,
        progress=False,
    )
    extract(request)
    names = chosen.strategies.split(",")
    options = (
        RunOptions(cache=str(place / "cache"), strategy=StrategyChoice(name), results=place / "results", accelerator="auto")
        for name in names
    )
    accuracies = [run(one).checked()[0].metrics["test"]["macro_accuracy"] for one in options]
    return near.images["test"] / near.compared["test"], dict(zip(names, accuracies, strict=True))


def main() -> None:
    """Both splits, every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=("folder", "table"), default="table")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--group-column")
    parser.add_argument("--group-pattern")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--strategies", default="ncm,balanced_softmax")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    by_group: Reading = {"group_column": chosen.group_column, "group_pattern": chosen.group_pattern}
    print(f"| split | test images near-identical to training | {' | '.join(chosen.strategies.split(','))} |")
    for name, reading in (("by image", Reading()), ("by group", by_group)):
        rows = []
        for seed in range(chosen.seeds):
            with tempfile.TemporaryDirectory() as place:
                rows.append(measured(chosen, {**reading, "split_seed": seed}, Path(place)))
        shares, accuracies = [share for share, _ in rows], [by_strategy for _, by_strategy in rows]
        means = " | ".join(f"{100 * statistics.fmean(one[strategy] for one in accuracies):.1f}" for strategy in accuracies[0])
        print(f"| {name} | {100 * statistics.fmean(shares):.1f} | {means} |", flush=True)


if __name__ == "__main__":
    main()
