"""LoMa, RSD and weight norms beside class bias, over strategies and controls of each board.

    python -m benchmarks.class_bias benchmarks/results/evidence/runs.parquet --out benchmarks/results/evidence

reads the runs of `benchmarks.evidence --rows` and writes CLASS_BIAS.md and class_bias.png. Units are strategies with official or inferred settings, mean over head seeds, each once; controls take no part in
correlations and are shown beside them. A partial rank correlation is that of the ranks without what a third rank explains of both.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.evidence.rows import Frame, read_rows
from lt_bench.core.files import write_text
from lt_bench.leaderboard.stats.findings import Correlation, spearman
from lt_bench.leaderboard.ties import ranks, tied

METRICS = {
    "accuracy": "test/accuracy", "bias": "test/class_bias", "equal": "test/accuracy_equal_bias", "balance": "test/loma_column_balance", "size": "test/loma_column_mean", "rsd": "test/rsd_column_mean",
}  # fmt: skip
MANY = 30
"""Strategies of a board that is drawn."""
Numbers = NDArray[np.float64]
HEAD = "# LoMa, RSD and weight norms beside class bias\n\nMade by `python -m benchmarks.class_bias`; test accuracies in per cent, own settings.\n"
NORMED = ("joint", "d_ffds", "ffds", "crt", "cb", "ce", "cb_focal", "balanced_softmax", "weight_balancing", "los", "tau_norm")


def heads(rows: Frame, cache: str) -> Frame:
    """A line for each strategy of a board with official or inferred settings, and for each setting of a control, mean over seeds; those whose figures are all the same once."""
    known = rows[(rows["cache_key"] == cache) & (rows["mode"] == "head") & (rows["protocol"] == "clean")]
    control = known["family"] == "control"
    own = known[known["tuning"].isin(["official", "inferred"]) | control]
    by_setting = own.groupby(["strategy", "hyperparameters", "code", "tuning", "family"], sort=False)
    table = by_setting[list(METRICS.values())].mean().rename(columns={name: key for key, name in METRICS.items()}).astype(float)
    table["norms"] = [_spread(one) for one in by_setting["weight_norm"].first()]
    table = table.reset_index()
    newest = own.groupby(["strategy", "hyperparameters", "code"])["finished"].max().rename("finished").reset_index()
    table = table.merge(newest).sort_values("finished")  # of several programs of a strategy the last that was run
    table = table[(table["family"] == "control") | ~table.duplicated(["strategy"], keep="last")]
    same = pd.DataFrame({name: tied(table[name].to_numpy()) for name in METRICS}).duplicated().to_numpy()
    return table[~same].reset_index(drop=True)


def _spread(norms: Numbers | None) -> float:
    """Standard deviation over mean of the norms of a head's rows."""
    return math.nan if norms is None or not np.isfinite(norms).all() else float(np.std(norms) / np.mean(norms))


def partial(x: Numbers, y: Numbers, given: Numbers) -> Correlation:
    """Rank correlation of x and y given a third, with its 95 % interval (Fisher; one point fewer, as one variable is taken out)."""
    both = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    a, b, c = (ranks(one[both]) for one in (x, y, given))
    xy, xz, yz = (float(np.corrcoef(*pair)[0, 1]) for pair in ((a, b), (a, c), (b, c)))
    rho, n = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)), int(both.sum())
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (n - 4))
    return Correlation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def _text(one: Correlation) -> str:
    return f"{one.rho:+.2f} ({one.low:+.2f} to {one.high:+.2f})" if one.low is not None and one.high is not None else f"{one.rho:+.2f}"


def section(name: str, table: Frame) -> str:
    """The correlations, the spreads and the controls of one board in Markdown."""
    methods, controls = table[table["family"] != "control"], table[table["family"] == "control"]
    of = {key: methods[key].to_numpy() for key in METRICS}
    lines = [
        ("class bias", spearman(of["bias"], of["accuracy"]), partial(of["bias"], of["accuracy"], of["balance"]), "LoMa balance"),
        ("LoMa balance", spearman(of["balance"], of["accuracy"]), partial(of["balance"], of["accuracy"], of["bias"]), "class bias"),
        ("LoMa size", spearman(of["size"], of["accuracy"]), partial(of["size"], of["accuracy"], of["bias"]), "class bias"),
    ]
    table_of_ranks = [f"| {title} | {_text(plain)} | {_text(given)} given {third} |" for title, plain, given, third in lines]
    logs = {key: float(np.std(np.log(methods[key][methods[key] > 0]))) for key in ("size", "rsd")}
    sd = {key: 100 * float(np.std(one, ddof=1)) for key, one in (("accuracy", of["accuracy"]), ("accuracy at equal bias", of["equal"]), ("what bias costs", of["equal"] - of["accuracy"]))}  # fmt: skip
    shown = [
        f"| {row.strategy} | {100 * row.accuracy:.2f} | {100 * row.bias:.1f} | {100 * row.equal:.2f} | {row.balance:.3f} | {row.rsd:.3f} |"
        for row in controls.sort_values("accuracy").itertuples()
    ]
    normed = [f"`{row.strategy}` {row.norms:.3f}" for row in methods[methods["strategy"].isin(NORMED)].sort_values("norms").itertuples()]
    return "\n".join(
        [
            f"## {name}, {len(methods)} strategies",
            "",
            "| | rank correlation with accuracy, 95 % | partial |",
            "|---|--:|--:|",
            *table_of_ranks,
            "",
            f"Standard deviations over strategies, points: {', '.join(f'{key} {value:.2f}' for key, value in sd.items())}. "
            f"Over strategies the standard deviation of the logarithm is {logs['size']:.2f} of LoMa and {logs['rsd']:.2f} of RSD.",
            "",
            "| control | accuracy | class bias | at equal bias | LoMa balance | RSD |",
            "|---|--:|--:|--:|--:|--:|",
            *shown,
            "",
            f"Row norms of the head, standard deviation / mean over classes: {', '.join(normed)}.",
            "",
        ]
    )


def common(tables: dict[str, Frame]) -> str:
    """LoMa balance given class bias on every board, over the strategies of the board with the fewest: whether boards differ, or what has run on them."""
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


def draw(tables: dict[str, Frame], path: Path) -> None:
    """Accuracy against class bias, and against LoMa's balance, of boards with ``MANY`` strategies; crosses are controls."""
    from lt_bench.leaderboard.plots.style import COLOURS, WIDTH, look

    with look():
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(2 * WIDTH, 2.2), layout="constrained")
        panels = drawing.subplots(1, 2, sharey=True)
        shown = {name: table for name, table in tables.items() if (table["family"] != "control").sum() >= MANY}
        for axes, (key, title, factor) in zip(panels, (("bias", "class bias, points", 100), ("balance", "LoMa balance", 1)), strict=True):  # fmt: skip
            for colour, (name, table) in zip(COLOURS, shown.items(), strict=False):
                control = (table["family"] == "control").to_numpy()
                axes.scatter(factor * table[key][~control], 100 * table["accuracy"][~control], s=9, color=colour, label=name)
                axes.scatter(factor * table[key][control], 100 * table["accuracy"][control], s=14, color=colour, marker="x", linewidth=0.8)
            axes.set_xlabel(title)
            axes.set_xlim(None if key == "bias" else (0.0, 1.55))  # random heads lie beyond
            axes.set_ylabel("test accuracy, %" if key == "bias" else "")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        drawing.savefig(path, dpi=200)


def tables_of(rows: Frame, fewest: int = 8) -> dict[str, Frame]:
    """The tables of the boards with at least so many strategies, by the names of their caches."""
    names = rows.drop_duplicates("cache_key").set_index("cache_key")["cache_name"]
    tables = {str(name): heads(rows, str(key)) for key, name in names.items()}
    return {name: table for name, table in tables.items() if (table["family"] != "control").sum() >= fewest}


def report(tables: dict[str, Frame]) -> str:
    """All sections in Markdown."""
    return "\n".join([HEAD, *(section(name, table) for name, table in tables.items()), common(tables)])


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="Parquet file of benchmarks.evidence --rows")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tables = tables_of(read_rows(options.runs))
    write_text(options.out / "CLASS_BIAS.md", report(tables))
    draw(tables, options.out / "class_bias.png")


if __name__ == "__main__":
    main()
