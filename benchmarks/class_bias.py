"""LoMa, RSD and weight norms beside class bias, over strategies and controls of each board.

    python -m benchmarks.class_bias benchmarks/results/evidence/runs.parquet --out benchmarks/results/evidence

reads the runs of `benchmarks.evidence --rows` and writes CLASS_BIAS.md and class_bias.png. Units are strategies with official or inferred settings, mean over head seeds, each once, ensembles of others left out; controls take no part in
correlations and are shown beside them. A partial rank correlation is that of the ranks without what a third rank explains of both. Accuracy is the share of right test images, to which class bias and accuracy at
equal bias belong; where classes of the test set are of different sizes macro accuracy has a table of its own. LoMa has two readings, of a class's
logit over images (columns) and of an image's logits over classes (rows).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evidence.rows import Frame, read_rows
from lt_bench.core.files import write_text
from lt_bench.leaderboard.stats.findings import Correlation, spearman
from lt_bench.leaderboard.ties import ranks, tied

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {
    "accuracy": "test/accuracy", "macro": "test/macro_accuracy", "bias": "test/class_bias", "equal": "test/accuracy_equal_bias", "balance": "test/loma_column_balance",
    "row_balance": "test/loma_row_balance", "size": "test/loma_column_mean", "rsd": "test/rsd_column_mean",
}  # fmt: skip
RANKED = {"bias": "class bias", "balance": "LoMa balance", "row_balance": "LoMa balance, row reading", "size": "LoMa size", "rsd": "RSD"}
DRAWS = 1000
MANY = 30
"""Strategies of a board that is drawn."""
EVEN = 1e-3
"""Macro and micro accuracy that differ by no more are of a test set whose classes are as good as of one size."""
Numbers = NDArray[np.float64]
HEAD = "# LoMa, RSD and weight norms beside class bias\n\nMade by `python -m benchmarks.class_bias`; test accuracies in per cent, own settings where nothing else is said.\n"
FEWEST_NORMED = 5
NORMED = ("joint", "d_ffds", "ffds", "crt", "cb", "ce", "cb_focal", "balanced_softmax", "weight_balancing", "los", "tau_norm")


def heads(rows: Frame, cache: str) -> Frame:
    """One row for each strategy of a board with official or inferred settings, and for each setting of a control, means over seeds.

    Ensembles are left out, as they consist of other strategies. Strategies with the same figures at head seed 0 are kept once.
    """
    known = rows[(rows["cache_key"] == cache) & (rows["mode"] == "head") & (rows["protocol"] == "clean") & (rows["family"] != "ensemble")]
    control = known["family"] == "control"
    own = known[known["tuning"].isin(["official", "inferred"]) | control]
    setting = ["strategy", "hyperparameters", "code"]
    by_setting = own.groupby([*setting, "tuning", "family"], sort=False)
    table = by_setting[list(METRICS.values())].mean().rename(columns={name: key for key, name in METRICS.items()}).astype(float)
    table["norms"] = [_spread(one) for one in by_setting["weight_norm"].first()]
    table = table.reset_index()
    newest = own.groupby(setting)["finished"].max().rename("finished").reset_index()
    table = table.merge(newest).sort_values("finished")  # of several programs of a strategy, the one run last
    table = table[(table["family"] == "control") | ~table.duplicated(["strategy"], keep="last")].reset_index(drop=True)
    first_seed = own.sort_values("seed").groupby(setting, as_index=False).first()  # head seed 0, which every strategy has
    of_seed = table[setting].merge(first_seed, on=setting, how="left")
    same = pd.DataFrame({name: tied(of_seed[name].to_numpy(np.float64)) for name in METRICS.values()}).duplicated().to_numpy()
    return table[~same].reset_index(drop=True)


def _spread(norms: Numbers | None) -> float:
    """Standard deviation divided by the mean of the row norms (K,) of a head; NaN where they are missing or not finite."""
    return math.nan if norms is None or not np.isfinite(norms).all() else float(np.std(norms) / np.mean(norms))


def partial(x: Numbers, y: Numbers, given: Numbers) -> Correlation:
    """Partial rank correlation of x and y given a third variable, each (n,), with its 95 % interval (Fisher, with one point fewer for that variable)."""
    both = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    a, b, c = (ranks(one[both]) for one in (x, y, given))
    xy, xz, yz = (float(np.corrcoef(*pair)[0, 1]) for pair in ((a, b), (a, c), (b, c)))
    unexplained, n = (1 - xz**2) * (1 - yz**2), int(both.sum())
    if not unexplained > 0:  # the third explains one of them whole
        return Correlation(math.nan, None, None, n)
    rho = (xy - xz * yz) / math.sqrt(unexplained)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (n - 4))
    return Correlation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def over_families(table: Frame, found: Callable[[dict[str, Numbers]], Correlation]) -> tuple[float, float]:
    """The 95 % interval of a correlation by a bootstrap of the families of the strategies: strategies of one family are no independent witnesses."""
    of = {key: table[key].to_numpy() for key in METRICS}
    families = list(table.groupby("family").indices.values())
    random = np.random.default_rng(0)
    values = []
    for _ in range(DRAWS):
        drawn = np.concatenate([families[place] for place in random.integers(0, len(families), len(families))])
        values.append(found({key: one[drawn] for key, one in of.items()}).rho)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def balance_given_bias(of: dict[str, Numbers]) -> Correlation:
    """LoMa's balance with accuracy, given class bias."""
    return partial(of["balance"], of["accuracy"], of["bias"])


def rsd_at_equal_bias(of: dict[str, Numbers]) -> Correlation:
    """RSD with accuracy at equal bias."""
    return spearman(of["rsd"], of["equal"])


def _text(one: Correlation) -> str:
    return f"{one.rho:+.2f} ({one.low:+.2f} to {one.high:+.2f})" if one.low is not None and one.high is not None else f"{one.rho:+.2f}"


def correlations(methods: Frame, accuracy: str) -> list[str]:
    """Rank correlations of each figure with an accuracy, plain and given class bias (for class bias itself: given LoMa's balance), and with accuracy at equal bias."""
    of = {key: methods[key].to_numpy() for key in METRICS}
    lines = [
        f"| | with {METRICS[accuracy].removeprefix('test/').replace('_', ' ')}, 95 % | given class bias | with accuracy at equal bias |",
        "|---|--:|--:|--:|",
    ]
    for key, title in RANKED.items():
        given = partial(of[key], of[accuracy], of["balance" if key == "bias" else "bias"])
        words = [
            _text(spearman(of[key], of[accuracy])),
            _text(given) + (" given LoMa balance" if key == "bias" else ""),
            _text(spearman(of[key], of["equal"])),
        ]
        lines.append(f"| {title} | {' | '.join(words)} |")
    return lines


def overview(tables: dict[str, Frame]) -> str:
    """Two tables with a line for each board with ``MANY`` strategies: correlations, and two of them with intervals over families."""
    lines = [
        "## All boards with so many strategies",
        "",
        "Rank correlations with accuracy, but the last two: with accuracy at equal bias.",
        "",
        "| board | strategies | class bias | LoMa balance | balance given bias | row balance given bias | size given bias | balance | RSD |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    clustered = [
        "",
        f"The same with 95 % intervals over families of strategies, which share their ideas and often their figures ({DRAWS} bootstrap draws of families):",
        "",
        "| board | families | balance given bias | RSD with accuracy at equal bias |",
        "|---|--:|--:|--:|",
    ]
    for name, methods in _many(tables).items():
        of = {key: methods[key].to_numpy() for key in METRICS}
        plain = [spearman(of[key], of["accuracy"]) for key in ("bias", "balance")]
        given = [balance_given_bias(of), *(partial(of[key], of["accuracy"], of["bias"]) for key in ("row_balance", "size"))]
        equal = [spearman(of["balance"], of["equal"]), rsd_at_equal_bias(of)]
        lines.append(f"| {name} | {len(methods)} | {' | '.join(map(_text, [*plain, *given, *equal]))} |")
        wide = [
            "{:+.2f} ({:+.2f} to {:+.2f})".format(found(of).rho, *over_families(methods, found))
            for found in (balance_given_bias, rsd_at_equal_bias)
        ]
        clustered.append(f"| {name} | {methods['family'].nunique()} | {' | '.join(wide)} |")
    return "\n".join([*lines, *clustered, ""])


def _many(tables: dict[str, Frame]) -> dict[str, Frame]:
    """The tables, without controls, of the boards with at least ``MANY`` strategies."""
    methods = {name: table[table["family"] != "control"] for name, table in tables.items()}
    return {name: table for name, table in methods.items() if len(table) >= MANY}


def section(name: str, table: Frame) -> str:
    """The correlations, the spreads and the controls of one board in Markdown."""
    methods, controls = table[table["family"] != "control"], table[table["family"] == "control"]
    of = {key: methods[key].to_numpy() for key in METRICS}
    even = np.allclose(of["macro"], of["accuracy"], rtol=0, atol=EVEN)
    logs = {key: float(np.std(np.log(methods[key][methods[key] > 0]))) for key in ("size", "rsd")}
    sd = {key: 100 * float(np.std(one, ddof=1)) for key, one in (("accuracy", of["accuracy"]), ("accuracy at equal bias", of["equal"]), ("what bias costs", of["equal"] - of["accuracy"]))}  # fmt: skip
    shown = [
        f"| {row.strategy} | {100 * row.accuracy:.2f} | {100 * row.bias:.1f} | {100 * row.equal:.2f} | {row.balance:.3f} | {row.rsd:.3f} |"
        for row in controls.sort_values("accuracy").itertuples()
    ]
    return "\n".join(
        [
            f"## {name}, {len(methods)} strategies",
            "",
            *correlations(methods, "accuracy"),
            "",
            *([] if even else [*correlations(methods, "macro"), ""]),
            f"Standard deviations over strategies, points: {', '.join(f'{key} {value:.2f}' for key, value in sd.items())}. "
            f"Over strategies the standard deviation of the logarithm is {logs['size']:.2f} of LoMa and {logs['rsd']:.2f} of RSD.",
            "",
            "| control | accuracy | class bias | at equal bias | LoMa balance | RSD |",
            "|---|--:|--:|--:|--:|--:|",
            *shown,
            "",
            f"Row norms of the head, standard deviation / mean over classes: {_norms(methods[methods['strategy'].isin(NORMED)])}.",
            "",
        ]
    )


def _norms(heads: Frame) -> str:
    return ", ".join(f"`{row.strategy}` {row.norms:.3f}" for row in heads.sort_values("norms").itertuples())


def tuned_norms(rows: Frame) -> str:
    """Relative spread of the row norms of tuned heads, for each cache."""
    lines = ["## Row norms of tuned heads", "", "Standard deviation / mean over classes, mean over head seeds.", ""]
    tuned = rows[(rows["tuning"] == "tuned") & (rows["mode"] == "head") & rows["strategy"].isin(NORMED)].sort_values("finished")
    for name, heads in tuned.groupby("cache_name", sort=False):
        newest = heads[heads["code"] == heads.groupby("strategy")["code"].transform("last")]
        spread = (
            newest.assign(norms=[_spread(norms) for norms in newest["weight_norm"]]).groupby("strategy", as_index=False)["norms"].mean()
        )
        if len(spread) >= FEWEST_NORMED:
            lines.append(f"- {name}: {_norms(spread)}.")
    return "\n".join([*lines, ""])


def common(tables: dict[str, Frame]) -> str:
    """LoMa balance given class bias on every board, over the strategies of the board with the fewest, so that boards do not differ by the strategies that were run."""
    methods = {name: table[table["family"] != "control"] for name, table in tables.items()}
    names = min((set(table["strategy"]) for table in methods.values()), key=len)
    lines = [
        "## The strategies of the board with the fewest",
        "",
        "| board | strategies | LoMa balance given class bias |",
        "|---|--:|--:|",
    ]
    for board, table in methods.items():
        of = {key: table[table["strategy"].isin(names)][key].to_numpy() for key in METRICS}
        lines.append(f"| {board} | {len(of['bias'])} | {_text(partial(of['balance'], of['accuracy'], of['bias']))} |")
    return "\n".join([*lines, ""])


TITLES = {
    "cifar100_lt-if100-resnet10s2": "CIFAR-100-LT, strong, seed 0", "cifar100_lt-if100-resnet10s2-s1": "CIFAR-100-LT, strong, seed 1",
    "cifar100_lt-if100-resnet10s2-s3": "CIFAR-100-LT, strong, seed 3", "cifar100_lt-strong_s4": "CIFAR-100-LT, strong, seed 4", "cifar100_lt-ordinary_s1": "CIFAR-100-LT, ordinary, seed 1",
    "cifar100_lt-ordinary_s2": "CIFAR-100-LT, ordinary, seed 2", "cifar10_lt-strong_s0": "CIFAR-10-LT, strong", "cifar100_lt-lite0-128": "CIFAR-100-LT, EfficientNet-Lite0",
    "cifar100_lt-lite2-128": "CIFAR-100-LT, EfficientNet-Lite2", "r32_ldam_s0": "CIFAR-100-LT, ResNet-32", "plankton-lite0-128": "plankton, EfficientNet-Lite0",
}  # fmt: skip
DOTTED = (
    "cifar100_lt-if100-resnet10s2",
    "cifar100_lt-ordinary_s1",
    "cifar10_lt-strong_s0",
    "r32_ldam_s0",
    "cifar100_lt-lite0-128",
    "plankton-lite0-128",
)
"""Boards whose strategies are drawn one by one: one of each kind."""


def draw(tables: dict[str, Frame], path: Path) -> None:
    """Draw accuracy against class bias and LoMa's balance on one board of each kind, with crosses for controls, above rank correlations on all boards with ``MANY`` strategies."""
    from lt_bench.leaderboard.plots.style import COLOURS, WIDTH, look

    with look():
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(2 * WIDTH, 4.4), layout="constrained")
        upper, lower = (drawing.add_subfigure(place) for place in drawing.add_gridspec(2, 1))
        panels = upper.subplots(1, 2, sharey=True)
        shown = {name: tables[name] for name in DOTTED if name in tables}
        for axes, (key, title, factor) in zip(panels, (("bias", "class bias, points", 100), ("balance", "LoMa balance", 1)), strict=True):  # fmt: skip
            for colour, (name, table) in zip(COLOURS[: len(shown)], shown.items(), strict=True):
                control = (table["family"] == "control").to_numpy()
                axes.scatter(factor * table[key][~control], 100 * table["accuracy"][~control], s=9, color=colour, label=TITLES[name])
                axes.scatter(factor * table[key][control], 100 * table["accuracy"][control], s=14, color=colour, marker="x", linewidth=0.8)
            axes.set_xlabel(title)
            axes.set_xlim(None if key == "bias" else (0.0, 1.55))  # random heads lie beyond
            axes.set_ylabel("test accuracy, %" if key == "bias" else "")
        upper.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        _forest(lower.subplots(), _many(tables))
        drawing.savefig(path, dpi=200)


def _forest(axes: Axes, tables: dict[str, Frame]) -> None:
    """Draw rank correlations with accuracy and their intervals, a line for each board."""
    from lt_bench.leaderboard.plots.style import COLOURS, MARKERS

    order = [name for name in TITLES if name in tables]
    for step, (title, found) in enumerate(
        {
            "class bias": lambda of: spearman(of["bias"], of["accuracy"]),
            "LoMa balance": lambda of: spearman(of["balance"], of["accuracy"]),
            "LoMa balance given class bias": balance_given_bias,
        }.items()
    ):
        for place, name in enumerate(order):
            one = found({key: tables[name][key].to_numpy() for key in METRICS})
            height, label = -place - 0.22 * (step - 1), title if place == 0 else None
            assert one.low is not None
            assert one.high is not None
            axes.plot([one.low, one.high], [height, height], color=COLOURS[step])
            axes.plot([one.rho], [height], color=COLOURS[step], marker=MARKERS[step], linestyle="", label=label)
    axes.axvline(0, color="#5b6470", linewidth=0.8)
    axes.set_yticks([-place for place in range(len(order))], [TITLES[name] for name in order])
    axes.set_xlabel("rank correlation with accuracy over strategies, 95 %")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)


def tables_of(rows: Frame, fewest: int = 8) -> dict[str, Frame]:
    """The tables of the boards with at least that many strategies, by name of the cache."""
    names = rows.drop_duplicates("cache_key").set_index("cache_key")["cache_name"]
    tables = {str(name): heads(rows, str(key)) for key, name in names.items()}
    return {name: table for name, table in tables.items() if (table["family"] != "control").sum() >= fewest}


def report(rows: Frame, tables: dict[str, Frame]) -> str:
    """All sections in Markdown."""
    return "\n".join([HEAD, overview(tables), *(section(name, table) for name, table in tables.items()), common(tables), tuned_norms(rows)])


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="Parquet file of benchmarks.evidence --rows")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_rows(options.runs)
    tables = tables_of(rows)
    write_text(options.out / "CLASS_BIAS.md", report(rows, tables))
    draw(tables, options.out / "class_bias.png")


if __name__ == "__main__":
    main()
