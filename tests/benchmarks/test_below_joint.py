"""Every strategy that ends below the stage-1 head in a shipped table of all strategies has a reason beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import below_joint as module
from lt_bench.strategies.registry import find

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TABLES = pytest.mark.parametrize("tables", [RESULTS / "all_strategies", RESULTS / "foundation"], ids=lambda path: path.name)

HEAD = "dataset,split_hash,cache_key,protocol,mode,backbone,row,strategy,macro_accuracy\n"


def test_rows_are_compared_with_joint_of_their_own_board(tmp_path: Path) -> None:
    table = tmp_path / "leaderboard.csv"
    board, other = "d,s,a,clean,head,net,", "d,s,b,clean,head,net,"
    table.write_text(
        HEAD + f"{board}joint,joint,40\n{board}los (tuned),los,39\n{board}ce,ce,41\n{other}joint,joint,30\n{other}los,los,35\n"
    )
    (found,) = module.below_joint(table)
    assert (found.row, found.strategy, found.accuracy, found.joint) == ("los (tuned)", "los", 39.0, 40.0)


@TABLES
def test_every_strategy_below_joint_has_a_reason_and_the_text_is_up_to_date(tables: Path) -> None:
    found = [one for table in sorted(tables.rglob("leaderboard.csv")) for one in module.below_joint(table)]
    assert found
    reasons = module.reasons_of(tables)
    assert {one.strategy for one in found} <= reasons.keys()
    assert (tables / "BELOW_JOINT.md").read_text(encoding="utf-8") == module.text(found, reasons)


@TABLES
def test_reasons_are_of_strategies_that_exist(tables: Path) -> None:
    for name in module.reasons_of(tables):
        assert find(name).name == name
