"""LOS under strong and ordinary regularisation: LOS along its epsilon and its epochs on one network under strong and ordinary weight decay.

    python -m benchmarks.regularisation benchmarks/results/evidence/runs.parquet --out benchmarks/results/evidence

reads the runs of `benchmarks.evidence --rows` and writes REGULARISATION.md and regularisation.png. Rows are settings, none chosen; intervals are over classes, paired.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from scipy.stats import ttest_ind

from benchmarks.evidence.rows import Frame, read_rows
from lt_bench.core.files import write_text
from lt_bench.leaderboard.stats.effects import random_effects

KINDS = {
    "cifar100_lt-if100-resnet10s2": "strong, seed 0",
    "cifar100_lt-strong_s1": "strong, seed 1",
    "cifar100_lt-strong_s2": "strong, seed 2",
    "cifar100_lt-if100-resnet10s2-s3": "strong, seed 3",
    "cifar100_lt-strong_s4": "strong, seed 4",
    "cifar100_lt-ordinary_s0": "ordinary, seed 0",
    "cifar100_lt-ordinary_s1": "ordinary, seed 1",
    "cifar100_lt-ordinary_s2": "ordinary, seed 2",
    "cifar100_lt-ordinary_s3": "ordinary, seed 3",
    "cifar100_lt-ordinary_s4": "ordinary, seed 4",
    "r32_ldam_s0": "ResNet-32",
}
OFFICIAL = {"epsilon": 0.98, "epochs": 20, "lr": 5e-4}
OFFICIAL_LOS = ("los", OFFICIAL)
AGAINST = ("joint", "logit_adjustment")
VANISHING = ("convex_la", {"epsilon": 0.98, "tau": 0.0, "ridge": 1e-6})
"""The optimum of the official loss where the ridge vanishes."""
SHOWN = [
    *({"epsilon": epsilon} for epsilon in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)),
    *({"epochs": epochs} for epochs in (1, 2, 5, 10, 80)),
]


def classes_of(rows: Frame, strategy: str, wanted: dict[str, float]) -> np.ndarray | None:
    """Class accuracies (K,) in per cent of a setting, mean over seeds; None where the setting was not run."""
    of = rows[rows["strategy"] == strategy]
    fits = [all(json.loads(text).get(name) == value for name, value in wanted.items()) for text in of["hyperparameters"]]
    chosen = of[np.array(fits, bool)]
    return 100 * np.stack(chosen["class_accuracy"].to_list()).astype(np.float64).mean(0) if len(chosen) else None


def _cell(one: np.ndarray | None) -> str:
    return "–" if one is None else f"{one.mean():.2f}"  # noqa: RUF001 - no value


def _classes(rows: Frame, strategy: str, wanted: dict[str, float]) -> np.ndarray:
    found = classes_of(rows, strategy, wanted)
    return np.full(1, np.nan) if found is None else found


def _effect(difference: np.ndarray) -> str:
    """Mean of a difference (K,) with its 95 % interval over classes, as text."""
    mean, _, half, _ = random_effects(difference[None])
    return f"{mean:+.2f} ± {half:.2f}"


def _gains(boards: list[Frame], strategy: str, setting: dict[str, float]) -> np.ndarray:
    """Class accuracies (B, K) of a setting minus those of the stage-1 head, on each board."""
    return np.stack([_classes(of, strategy, setting) - _classes(of, "joint", {}) for of in boards])


def _mean_gain(title: str, kind: str, boards: list[Frame], strategy: str, setting: dict[str, float]) -> str:
    """A line on the mean gain over the boards of a kind, with its interval over classes."""
    means = "" if len(boards) == 1 else f", means over {len(boards)} seeds"
    return f"{title} minus `joint`, {kind}{means}: {_effect(_gains(boards, strategy, setting).mean(0))}."


def _over_both(of_kind: dict[str, list[Frame]]) -> list[str]:
    """A table of every setting, means over the stage-1 seeds of a kind with intervals over seeds and classes."""
    kinds = [kind for kind, boards in of_kind.items() if len(boards) > 1]
    lines = [
        "Means over stage-1 seeds; ±: 95 % over seeds and classes, each for one setting alone. The settings are those of the curves: none is chosen.",
        "",
        "| LOS minus | " + " | ".join(f"`{against}`, {kind}" for kind in kinds for against in AGAINST) + " |",
        "|---|" + "--:|" * (len(kinds) * len(AGAINST)),
    ]
    for setting in SHOWN:
        cells = []
        for kind in kinds:
            for against in AGAINST:
                pairs = [(_classes(of, "los", OFFICIAL | setting), _classes(of, against, {})) for of in of_kind[kind]]
                known = [los - other for los, other in pairs if np.isfinite(los - other).all()]
                mean, *_, half = random_effects(np.stack(known)) if len(known) > 1 else (math.nan,) * 4
                cells.append(f"{mean:+.2f} ± {half:.2f}" if math.isfinite(half) else "–")  # noqa: RUF001 - no value
        lines.append(f"| {_name(setting)} | {' | '.join(cells)} |")
    return lines


def _name(setting: dict[str, float]) -> str:
    """A setting by what differs from the official one."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items()) + (" (official)" if setting == {"epsilon": 0.98} else "")


def _over_seeds(gains: dict[str, np.ndarray]) -> str:
    """The half-width of the 95 % interval of the difference of two kinds over stage-1 seeds (Welch); empty where a kind has one seed."""
    strong, ordinary = (gains[kind].mean(1) for kind in ("strong", "ordinary"))
    if min(len(strong), len(ordinary)) < 2:
        return ""
    ends = ttest_ind(strong, ordinary, equal_var=False).confidence_interval()
    return f" over classes, ± {(ends.high - ends.low) / 2:.2f} over {len(strong)} and {len(ordinary)} stage-1 seeds (Welch)"


def report(rows: Frame) -> str:
    """The tables in Markdown."""
    boards = {title: rows[rows["cache_name"] == name] for name, title in KINDS.items() if (rows["cache_name"] == name).any()}
    head = ["| LOS |" + "".join(f" {title} |" for title in boards), "|---|" + "--:|" * len(boards)]
    lines = [f"| `{strategy}` | {' | '.join(_cell(classes_of(of, strategy, {})) for of in boards.values())} |" for strategy in AGAINST]
    lines += [
        f"| {_name(setting)} | {' | '.join(_cell(classes_of(of, 'los', OFFICIAL | setting)) for of in boards.values())} |"
        for setting in SHOWN
    ]
    for ridge in (3e-3, 1e-4, 1e-6):
        cells = [_cell(classes_of(of, "convex_la", {"epsilon": 0.98, "tau": 0.0, "ridge": ridge})) for of in boards.values()]
        lines.append(f"| optimum of the official loss, ridge {ridge:g} | {' | '.join(cells)} |")
    differences = [f"| official LOS minus |{''.join(f' {title} |' for title in boards)}", "|---|" + "--:|" * len(boards)]
    for strategy in AGAINST:
        cells = []
        for of in boards.values():
            cells.append(_effect(_classes(of, "los", OFFICIAL) - _classes(of, strategy, {})))
        differences.append(f"| `{strategy}` | {' | '.join(cells)} |")
    of_kind = {kind: [of for title, of in boards.items() if title.startswith(kind)] for kind in ("strong", "ordinary", "ResNet-32")}
    gains = {kind: _gains(of, *OFFICIAL_LOS) for kind, of in of_kind.items() if of}
    apart = gains["strong"].mean(0) - gains["ordinary"].mean(0)
    differences += ["", f"Official LOS minus `joint`, strong minus ordinary, means over seeds: {_effect(apart)}{_over_seeds(gains)}."]
    differences += ["", *_over_both(of_kind)]
    for kind in gains:
        differences += ["", _mean_gain("The optimum at ridge 1e-06", kind, of_kind[kind], *VANISHING)]
    about = (
        "# When LOS works\n\nMade by `python -m benchmarks.regularisation`. Test accuracy in per cent of LOS (official: epsilon 0.98, 20 epochs, rate 5e-4) on ResNet-10, CIFAR-100-LT IF 100, recipe `fast`: weight decay 4e-3 "
        "(strong) or 4e-4 (ordinary), nothing else differs; last, on ResNet-32 by the recipe `ldam` with weight decay 2e-4. ±: 95 % over classes, paired.\n"
    )
    return "\n".join([about, *head, *lines, "", *differences, ""])


AXES = {"epsilon": (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98), "epochs": (1, 2, 5, 10, 20, 80)}


def _curves(of: Frame, key: str) -> tuple[list[float], list[np.ndarray]]:
    """The values of a setting that have run, and the class accuracies (K,) of each minus those of the stage-1 head."""
    joint = classes_of(of, "joint", {})
    known = {value: one for value in AXES[key] if (one := classes_of(of, "los", OFFICIAL | {key: value})) is not None}
    return ([], []) if joint is None else (list(known), [one - joint for one in known.values()])


def draw(rows: Frame, path: Path) -> None:
    """Accuracy minus that of the stage-1 head, along epsilon and along epochs: a thin line for each stage-1 seed, a thick one for their mean with its band of 95 % over classes."""
    from lt_bench.leaderboard.plots.style import COLOURS, MARKERS, WIDTH, look

    with look():
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(2 * WIDTH, 2.6), layout="constrained")
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, key in zip(panels, AXES, strict=True):
            for index, kind in enumerate(("strong", "ordinary", "ResNet-32")):
                found = [_curves(rows[rows["cache_name"] == name], key) for name, title in KINDS.items() if title.startswith(kind)]
                found = [one for one in found if one[0]]
                for values, differences in found:
                    axes.plot(values, [one.mean() for one in differences], color=COLOURS[index], linewidth=0.5, alpha=0.6)
                shared = [value for value in AXES[key] if found and all(value in values for values, _ in found)]
                means = [np.mean([differences[values.index(value)] for values, differences in found], axis=0) for value in shared]
                effects = [random_effects(one[None]) for one in means]
                middle, half = (np.array([one[part] for one in effects]) for part in (0, 2))
                seeds = f"{kind}, {len(found)} seeds" if len(found) > 1 else kind
                axes.plot(shared, middle, color=COLOURS[index], marker=MARKERS[index], linewidth=1.4, label=seeds)
                axes.fill_between(shared, middle - half, middle + half, color=COLOURS[index], alpha=0.12, linewidth=0)
            axes.axhline(0, color="#1b1f24", linewidth=0.7)
        panels[0].set_xlabel("epsilon, 20 epochs")
        panels[0].set_ylabel("LOS minus stage-1 head, points")
        panels[1].set_xlabel("epochs, epsilon 0.98")
        panels[1].set_xscale("log")
        panels[1].xaxis.set_major_formatter("{x:g}")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        drawing.savefig(path, dpi=200)


def main() -> None:
    """Write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="Parquet file of benchmarks.evidence --rows")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_rows(options.runs)
    rows = rows[(rows["mode"] == "head") & (rows["tuning"] != "tuned")]
    write_text(options.out / "REGULARISATION.md", report(rows))
    draw(rows, options.out / "regularisation.png")


if __name__ == "__main__":
    main()
