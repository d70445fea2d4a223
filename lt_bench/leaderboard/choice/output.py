"""A choice in a terminal, as CSV and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lt_bench.core.errors import printable
from lt_bench.leaderboard.choice.conclusion import sentences
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import MICRO, Objective
from lt_bench.leaderboard.page.document import cards, escaped, html_document
from lt_bench.leaderboard.stats.paired import LEVEL
from lt_bench.leaderboard.stats.shares import GROUPS
from lt_bench.leaderboard.tables.cells import MISSING
from lt_bench.leaderboard.tables.text import csv_text

EQUAL = "="


def number(value: float, objective: Objective = MICRO) -> str:
    """An accuracy in % with one digit, a cost as it is."""
    return f"{value:.4g}" if objective.lower else f"{100 * value:.1f}"


def ends(interval: Sequence[float], objective: Objective = MICRO) -> str:
    """The two ends of an interval."""
    return " to ".join(number(end, objective) for end in interval)


def title(document: Mapping[str, Any]) -> str:
    """The strategies and rows of the comparison, in words."""
    held = document["held_out"]
    what = "validation images" if document["split"] == "val" else "training images, heads fitted without them"
    return f"{document['cache']}: {held['images']:,} {what}, {document['folds']} folds"


def choice_table(document: Mapping[str, Any], objective: Objective) -> Table:
    """The strategies, the best first, in 80 columns: each with hyper-parameters that were chosen without the rows it is measured on; those marked = are not told apart from it."""
    caption = f"{EQUAL} not told apart from what is taken (p, Holm-corrected, {LEVEL} or more)" if document["not_told_apart"] else None
    table = Table(
        title=title(document),
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("Strategy", overflow="fold")
    table.add_column("")
    heads = (f"{objective.title}{'' if objective.lower else ' %'} (95 %)", "Few %", "Behind by (95 %)", "p")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for one in document["strategies"]:
        few = one["groups"].get("few")
        behind = f"{number(one['behind'], objective)} ({ends(one['behind_interval'], objective)})" if "behind" in one else "taken"
        cells = (
            EQUAL if one["strategy"] in document["not_told_apart"] else "", f"{number(one['value'], objective)} ({ends(one['interval'], objective)})", MISSING if few is None else number(few["value"]), behind,
            f"{one['p']:.2g}" if "p" in one else "",
        )  # fmt: skip
        table.add_row(Text(printable(one["strategy"]), style="bold" if "behind" not in one else ""), *map(Text, cells))
    return table


def choice_csv(document: Mapping[str, Any], objective: Objective) -> str:
    """A line for each strategy: accuracies and their differences in %, costs as they are."""
    factor = 1 if objective.lower else 100
    head = [
        "strategy",
        "points",
        "hyperparameters",
        "best_point",
        objective.metric,
        "low",
        "high",
        *GROUPS,
        "behind",
        "behind_low",
        "behind_high",
        "p",
        "told_apart",
        "chosen_in_folds",
    ]
    lines = []
    for one in document["strategies"]:
        groups = [f"{100 * one['groups'][name]['value']:.6g}" if name in one["groups"] else "" for name in GROUPS]
        behind = [f"{factor * value:.6g}" for value in (one["behind"], *one["behind_interval"])] if "behind" in one else [""] * 3
        lines.append([
            one["strategy"], one["points"], settings(one), *(f"{factor * value:.6g}" for value in (one["best_point"], one["value"], *one["interval"])),
            *groups, *behind, f"{one['p']:.3g}" if "p" in one else "", told_apart(one), one["folds"],
        ])  # fmt: skip
    return csv_text([head, *lines])


def settings(one: Mapping[str, Any]) -> str:
    """Hyper-parameters in a line; those that are not named are the strategy's own."""
    return ", ".join(f"{name} {value}" for name, value in one["hyperparameters"].items())


def told_apart(one: Mapping[str, Any]) -> str:
    """``yes`` or ``no``: whether a strategy is told apart from the taken one; empty for the taken one itself."""
    return "" if "told_apart" not in one else "yes" if one["told_apart"] else "no"


def choice_page(document: Mapping[str, Any], objective: Objective) -> str:
    """The page."""
    expected, take = document["expect"], document["take"]
    figures = [
        ("Take", take["strategy"], settings(take) or "its own hyper-parameters"),
        (
            f"Expect, {objective.title.lower()}",
            objective_text(expected["value"], objective),
            f"{ends(expected['interval'], objective)} (95 %)",
        ),
        *(
            (name.capitalize(), f"{number(group['value'])} %", f"{ends(group['interval'])} (95 %)")
            for name, group in expected["groups"].items()
        ),
    ]
    main = _MAIN.format(
        head="".join(f'<th scope="col"{text}>{head}</th>' for head, text in _heads(objective)), cards=cards(figures),
        words="".join(f"<p>{escaped(line)}</p>" for line in sentences(document, objective)), rows="".join(_rows(document, objective)),
        deciding=_deciding(document), command=escaped(document["command"]),
        left=f'<p class="soft">Left out: {escaped("; ".join(f"{name}: {why}" for name, why in document["left_out"].items()))}</p>' if document["left_out"] else "",
    )  # fmt: skip
    return html_document("choice", "Choice", f"{title(document)}; {objective.words}", main)


def _heads(objective: Objective) -> list[tuple[str, str]]:
    text = ' class="text"'
    unit = "" if objective.lower else " %"
    return [
        ("Strategy", ""), (f"{objective.title}{unit} (95 %)", ""), ("", text), *((f"{name.capitalize()} %", "") for name in GROUPS),
        ("Behind by (95 %)", ""), ("Told apart (p)", ""), ("In folds", ""), ("Points", ""),
    ]  # fmt: skip


def _rows(document: Mapping[str, Any], objective: Objective) -> list[str]:
    lines = document["strategies"]
    low, high = min(one["interval"][0] for one in lines), max(one["interval"][1] for one in lines)

    def x(value: float) -> str:
        return f"{6 + 148 * (value - low) / ((high - low) or 1):.1f}"

    rows = []
    for one in lines:
        a, b = map(x, one["interval"])
        picture = (
            f'<svg class="interval" viewBox="0 0 160 20" aria-hidden="true"><line class="images" x1="{a}" x2="{b}" y1="10" y2="10"/>'
            f'<circle cx="{x(one["value"])}" cy="10" r="4"/></svg>'
        )
        groups = "".join(f"<td>{number(one['groups'][name]['value']) if name in one['groups'] else MISSING}</td>" for name in GROUPS)
        behind = f"{number(one['behind'], objective)} ({ends(one['behind_interval'], objective)})" if "behind" in one else "taken"
        told = f"{told_apart(one)} ({one['p']:.2g})" if "p" in one else ""
        rows.append(
            f'<tr><td>{escaped(one["strategy"])}<div class="soft settings">{escaped(settings(one))}</div></td>'
            f"<td>{number(one['value'], objective)} ({ends(one['interval'], objective)})</td><td>{picture}</td>{groups}<td>{behind}</td>"
            f"<td>{told}</td><td>{one['folds']}</td><td>{one['points']}</td></tr>"
        )
    return rows


def _deciding(document: Mapping[str, Any]) -> str:
    if not document["would_decide"]:
        return ""
    rows = "".join(
        f"<tr><td>{escaped(one['class'])}</td><td>{one['train']:,}</td><td>{one['held_out']:,}</td><td>{100 * one['share']:.0f}</td></tr>"
        for one in document["would_decide"]
    )
    head = "".join(f'<th scope="col">{text}</th>' for text in ("Class", "Train", "Held out", "Share of the uncertainty %"))
    return f'<h2>Classes of which more images would decide</h2><div class="scroll fitting"><table class="everything"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


_MAIN = """{cards}
{words}
<h2>Strategies</h2>
<p class="soft">Each with hyper-parameters that were chosen without the images it is measured on; those that all images choose stand below its name. The best is taken, so its figure flatters; what to expect of it stands above. Behind by: how far what
is taken is ahead, paired over images, with an interval for this difference alone; told apart where p, Holm-corrected over all pairs of strategies, is below 0.05. In folds: how often the same choice, made without a fold, takes it.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Strategies"><table class="everything"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
{left}
{deciding}
<h2>To fit and export it</h2>
<p class="command"><code>{command}</code></p>
"""
