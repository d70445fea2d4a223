from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.published.published import parse
from lt_bench.leaderboard.tables.against import beside_published, beside_table, published_csv, published_markdown

LINES = parse(
    "strategy,dataset,imbalance_factor,backbone,top1,many,medium,few,source,source_kind,notes\n"
    "l2_norm,CIFAR-100-LT,100,ResNet-34,51.0,,,,ShadeAlsha/LTR-weight-balancing demo notebooks (hflip TTA),log,\n"
    "l2_norm,CIFAR-100-LT,100,ResNet-50,61.5,,,,an index,index,\n"
    "crt,CIFAR-100-LT,100,ResNet-32,40.3,,,,zhangyongshun/BagofTricks-LT documents,repo_table,100-err; 200ep R32\n"
    "focal,CIFAR-100-LT,100,ResNet-34,44.0,,,,a paper,paper,\n"
)


@pytest.fixture
def found(builder, published_lines):
    published_lines(LINES)
    wide = replace(builder, dataset="cifar100_lt")
    flipped = wide.make("l2_norm", 0, 1.0)[0]
    flipped.metrics["test_flip"] = {"accuracy": 0.6}
    made = [flipped, wide.make("crt", kind="tuned")[0], wide.make("focal")[0], wide.make("unpublished")[0]]
    return boards(from_records(made))[0]


def test_each_row_stands_beside_the_nearest_line_with_what_differs(found):
    beside = {one.row.label: one for one in beside_published(found)}
    assert set(beside) == {"l2_norm", "crt (tuned)", "focal"}
    norm = beside["l2_norm"]
    assert norm.difference == pytest.approx(60.0 - 51.0)  # flip-averaged, as the source is
    assert (norm.lowest, norm.highest) == (51.0, 61.5)
    assert norm.differs == (
        "subset `first` there, `seed0` here",
        "flip-averaged there, and here for the difference",
        "best test epoch there, last here",
        "not stated there: length of stage 1",
    )
    crt = beside["crt (tuned)"]
    assert crt.difference == pytest.approx(100 * crt.measured.mean - 40.3)
    assert crt.differs[:3] == ("ResNet-32 there, resnet34 here", "stage 1 of 200 epochs there", "tuned on validation here")
    assert beside["focal"].difference is None
    assert beside["focal"].differs[0].startswith("trained end-to-end there")


def test_tables_hold_the_same(found):
    head, lines = beside_table(found)
    assert "Best test epoch" not in head  # nobody measured it
    assert len(lines) == 3
    text = published_markdown([found])
    for line in lines:
        assert "| " + " | ".join(line) + " |" in text
    read = list(csv.DictReader(io.StringIO(published_csv([found]))))
    assert {row["row"]: row["published"] for row in read} == {"l2_norm": "51.0", "crt (tuned)": "40.3", "focal": "44.0"}
    assert all(row["source"] for row in read)
