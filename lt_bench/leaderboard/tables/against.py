"""Measured beside published: each row of a board with the published number of the nearest setting, the difference, and what differs between the two.

What differs is read from the record and from the published line and its source, never written for a cell. What a source does not state is said to be not stated.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.intervals import Estimate
from lt_bench.leaderboard.published.published import Published, for_dataset, nearest, same_backbone
from lt_bench.leaderboard.tables.cells import MISSING
from lt_bench.leaderboard.tables.columns import column_value, registered
from lt_bench.leaderboard.tables.text import csv_text, escape, markdown_lines

_KINDS = {
    "tuned": "tuned on validation here",
    "inferred": "hyper-parameters inferred here",
    "user": "hyper-parameters set by hand here",
}
HEAD = ("Strategy", "Measured", "Flip-averaged", "Best test epoch", "Published", "Δ", "All sources", "Source", "What differs")


@dataclass(frozen=True, eq=False)
class Beside:
    """A measured row and the nearest published line of its strategy.

    `measured`, `flipped` and `best_epoch` are accuracies, means over seeds with intervals over test images (fractions; None where not measured): the headline, the average with the mirrored image, the epoch that is best
    on test. `difference` is the headline minus the published number, or that of flip-averaged values where the source is; in points. None for numbers of whole networks trained with the method.
    `lowest` and `highest` are the range of all published lines of the strategy at this dataset and imbalance, of any backbone.
    """

    row: Row
    published: Published
    measured: Estimate
    flipped: Estimate | None
    best_epoch: Estimate | None
    difference: float | None
    lowest: float
    highest: float
    differs: tuple[str, ...]


def beside_published(ranking: BoardRows) -> list[Beside]:
    """Every row of a board whose strategy has a published accuracy on its dataset and imbalance, in the order of the board; made once."""
    computed = ranking.rows[0].computed
    if "beside published" not in computed:
        computed["beside published"] = _beside(ranking)
    return computed["beside published"]


def _beside(ranking: BoardRows) -> list[Beside]:
    factor = float(ranking.rows[0].values("imbalance_factor")[0])
    result = []
    for row in ranking.rows:
        line = nearest(row.text("strategy"), ranking.board.dataset, factor, str(row.text("backbone")))
        if line is None or line.top1 is None:
            continue
        all_lines = [
            one.top1 for one in for_dataset(ranking.board.dataset, factor) if one.strategy == line.strategy and one.top1 is not None
        ]
        measured, flipped, best_epoch = (_known(row, key) for key in ("accuracy", "accuracy_flip", "accuracy_best_epoch"))
        if measured is None:
            continue
        compared = flipped if line.flip_averaged and flipped is not None else measured
        result.append(
            Beside(
                row, line, measured, flipped, best_epoch,
                None if line.end_to_end else 100 * compared.mean - line.top1, min(all_lines), max(all_lines), tuple(what_differs(row, line, flipped is not None)),
            )
        )  # fmt: skip
    return result


def what_differs(row: Row, line: Published, flipped: bool) -> list[str]:
    """Differences in settings between a row and a published number, then the settings that the source does not state, in words."""
    differs, unstated = [], []
    if line.end_to_end and row.board.mode == "head":
        differs.append("trained end-to-end there")
    if not same_backbone(line.backbone, str(row.text("backbone"))):
        differs.append(f"{line.backbone} there, {row.text('backbone')} here")
    elif "inferred" in line.backbone:
        differs.append(f"backbone there inferred ({line.backbone.partition(' (')[0]})")
    here = _stage1_epochs(row)
    if line.epochs is None:
        unstated.append("length of stage 1")
    elif here != line.epochs:
        differs.append(f"stage 1 of {line.epochs} epochs there" + ("" if here is None else f", {here} here"))
    if row.board.dataset.startswith("cifar"):
        subset, ours = line.about.subset, str(row.text("selection"))
        if not subset:
            unstated.append("subset")
        elif subset != ours:
            differs.append(f"subset `{subset}` there, {'its own' if ours == 'given' else f'`{ours}`'} here")
    if line.autoaugment:
        differs.append("AutoAugment there")
    if line.flip_averaged:
        differs.append("flip-averaged there" + (", and here for the difference" if flipped else ", not here"))
    if line.about.epoch_choice == "":
        unstated.append("choice of epoch")
    else:
        differs.append(
            f"{line.about.epoch_choice} there, last here"
            if "epoch" in line.about.epoch_choice
            else f"epoch chosen on {line.about.epoch_choice} there, last here"
        )
    if line.source_kind == "third_party" or line.distance == 2:
        differs.append("re-run by others")
    if (kind := str(row.text("tuning"))) in _KINDS:
        differs.append(_KINDS[kind])
    return differs + ([f"not stated there: {', '.join(unstated)}"] if unstated else [])


def beside_table(ranking: BoardRows) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of texts for a board, without columns that nothing was measured for."""
    lines = [_cells(one) for one in beside_published(ranking)]
    shown = [index for index in range(len(HEAD)) if any(line[index] != MISSING for line in lines)]
    return [HEAD[index] for index in shown], [[line[index] for index in shown] for line in lines]


def _cells(one: Beside) -> list[str]:
    line = one.published
    all_sources = f"{one.lowest:.1f}" if one.lowest == one.highest else f"{one.lowest:.1f} to {one.highest:.1f}"
    return [
        one.row.label,
        one.measured.text(100, 2),
        MISSING if one.flipped is None else one.flipped.text(100, 2),
        MISSING if one.best_epoch is None else one.best_epoch.text(100, 2),
        f"{line.top1:.1f}{line.mark} {line.backbone}",
        MISSING if one.difference is None else f"{one.difference:+.1f}",
        all_sources,
        line.short,
        "; ".join(one.differs),
    ]


def published_markdown(rankings: list[BoardRows]) -> str:
    """`PUBLISHED.md`: one section a board."""
    parts = ["# Measured beside published", about()]
    for board in rankings:
        head, lines = beside_table(board)
        if lines:
            stage1 = board.rows[0].text("stage1")
            align = [":--" if name in ("Strategy", "Published", "Source", "What differs") else "--:" for name in head]
            parts += [f"## {escape(board.title)}", *([f"Stage 1 here: {escape(str(stage1))}."] if stage1 else [])]
            parts.append(markdown_lines(head, align, ([escape(text) for text in line] for line in lines)))
    return "\n\n".join(parts) + "\n"


def about() -> str:
    """Note on reading the comparison."""
    return (
        "Published numbers are not our measurements. For each row: the published line of its strategy on the same dataset and imbalance whose setting is nearest (the same backbone "
        "first), the difference Δ in points (none where the whole network was trained with the method), the range over all sources and backbones, and what differs. "
        "† read on an index page. Accuracies in %, ± as in the leaderboard; flip-averaged and best-test-epoch values are for this comparison only."
    )


def published_csv(rankings: list[BoardRows]) -> str:
    """Measured beside published as one CSV for all boards, numbers unrounded."""
    lines: list[list[object]] = [
        ["dataset", "imbalance_factor", "backbone", "cache_key", "protocol", "row", "measured", "measured_low", "measured_high", "flip_averaged", "best_test_epoch", "published",
         "published_backbone", "end_to_end", "difference", "lowest_published", "highest_published", "source_kind", "source", "what_differs"]
    ]  # fmt: skip
    for board in rankings:
        for one in beside_published(board):
            line, ends = one.published, (one.measured.low, one.measured.high)
            lines.append(
                [
                    board.board.dataset,
                    f"{one.row.values('imbalance_factor')[0]:g}",
                    one.row.text("backbone"),
                    board.board.cache_key,
                    board.board.protocol,
                    one.row.label,
                    f"{100 * one.measured.mean:.9g}",
                    *("" if end is None else f"{100 * end:.9g}" for end in ends),
                    *("" if value is None else f"{100 * value.mean:.9g}" for value in (one.flipped, one.best_epoch)),
                    line.top1,
                    line.backbone,
                    "yes" if line.end_to_end else "no",
                    "" if one.difference is None else f"{one.difference:.9g}",
                    one.lowest,
                    one.highest,
                    line.source_kind,
                    line.citation,
                    "; ".join(one.differs),
                ]
            )
    return csv_text(lines)


def _known(row: Row, key: str) -> Estimate | None:
    """Value of a column of the leaderboard for a row, with its interval over test images."""
    value = next(column_value(row, column) for column in registered() if column.key == key)
    return value if isinstance(value, Estimate) and not math.isnan(value.mean) else None


def _stage1_epochs(row: Row) -> int | None:
    match = re.search(r"\b(\d+) epochs\b", str(row.text("stage1") or ""))
    return int(match.group(1)) if match else None
