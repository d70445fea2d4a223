from __future__ import annotations

import math
from collections import Counter

import pytest

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.published import published as module
from lt_bench.leaderboard.published.published import for_dataset, nearest, parse, published, same_backbone, sources
from lt_bench.leaderboard.tables import columns as columns_module
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.strategies.registry import strategy_names

HEAD = "strategy,dataset,imbalance_factor,backbone,top1,many,medium,few,source,source_kind,notes\n"
LINES = parse(
    HEAD + "los,CIFAR-100-LT,100,ResNet-32,52.0,,,,a table,repo_table,\n"
    "los,CIFAR-100-LT,100,ResNet-34 (inferred),53.9,,,,someone,third_party,\n"
    "los,CIFAR-100-LT,100,ResNet-32,51.0,,,,the paper,paper,note\n"
    "los,CIFAR-100-LT,10,ResNet-34,70.0,,,,the paper,paper,\n"
    "secret,CIFAR-100-LT,100,ResNet-34,99.0,,,,nowhere,memory,\n"
    "crt,CIFAR-100-LT,100,ResNet-34,45.0,,,,an index,index,\n"
    "focal,CIFAR-100-LT,100,ResNet-34,44.0,,,,a paper,paper,\n"
)


def test_the_shipped_table():
    lines = published()
    assert len(lines) > 500
    assert all(line.source and line.source_kind != "memory" for line in lines)
    assert {line.source_kind for line in lines} <= set(module._KINDS)
    assert {line.dataset for line in lines} == set(module._DATASETS.values())
    assert all(line.top1 is None or 0 < line.top1 <= 100 for line in lines)
    crt = nearest("crt", "imagenet_lt", 256.0, "resnext50")
    assert crt is not None
    assert (crt.top1, crt.many, crt.medium, crt.few, crt.backbone) == (49.6, 61.8, 46.2, 27.4, "ResNeXt-50")


def test_numbers_that_could_not_be_found_in_their_source_say_so():
    """Of the other sources every number stands in a text or, of Tang et al., in a picture that was read again."""
    pltr = [line for line in published() if line.source.startswith("PLTR-SD")]
    assert len(pltr) == 26
    assert all(line.remarks.endswith("(unverified)") and "not found again in its source" in line.citation for line in pltr)
    unchecked = Counter("index page" if line.source_kind == "index" else line.about.short for line in published() if not line.about.checked)
    assert unchecked == {
        "TPAMI survey, table": 48, "PLTR-SD, Table 4": 18, "PLTR-SD, Table 3": 8, "index page": 17, "LADE, poster": 12, "CAR": 6,
    }  # fmt: skip
    assert not any("unverified" in line.remarks for line in published() if line.source_kind in ("readme", "log"))


def test_mmpretrain_and_car_stand_as_their_sources_have_them():
    """open-mmlab/mmpretrain ``configs/logit_adjustment``, CIFAR-100-LT; the note on CAR names no imbalance factor."""
    rows = {
        (line.strategy, line.imbalance_factor): line.top1
        for line in published()
        if line.source.startswith("open-mmlab") and line.dataset == "cifar100_lt"
    }
    assert [rows["joint", factor] for factor in (200, 100, 50, 10)] == [41.22, 45.98, 51.87, 64.75]
    assert [rows["logit_adjustment", factor] for factor in (200, 100, 50, 10)] == [44.64, 49.92, 54.91, 65.99]
    assert [rows["la_loss", factor] for factor in (200, 100, 50, 10)] == [44.14, 48.53, 54.35, 65.75]
    car = [line for line in published() if line.source.startswith("CAR") and line.dataset == "cifar100_lt"]
    assert [line.imbalance_factor for line in car] == [None, None]
    assert not [line for line in for_dataset("cifar100_lt", 100.0) if line.source.startswith("CAR")]


def test_memory_is_never_shown():
    assert "secret" not in {line.strategy for line in LINES}


def test_suspect_lines_are_never_shown():
    assert parse(HEAD + "cb_ce,CIFAR-10-LT,100,ResNet-32,70.36,,,,a paper,paper,SUSPECT: equals the baseline\n") == ()
    assert not any("SUSPECT" in line.notes for line in published())
    cb = nearest("cb", "cifar10_lt", 100.0, "resnet32")
    assert cb is not None
    assert (cb.top1, cb.source) == (70.48, "zhangyongshun/BagofTricks-LT documents")


def test_stage_1_is_not_a_head():
    assert nearest("weight_decay", "cifar100_lt", 100.0, "resnet34") is None
    joint = nearest("joint", "cifar100_lt", 100.0, "resnet34")
    assert joint is not None
    assert (joint.top1, joint.name, joint.end_to_end) == (47.9, "wd_stage1", False)
    assert joint.citation.startswith("wd_stage1 in ShadeAlsha/LTR-weight-balancing")


@pytest.mark.parametrize(
    ("strategy", "dataset", "factor", "backbone", "top1"),
    [
        ("joint", "imagenet_lt", 256.0, "resnext50", 44.4),  # the decoupling's README, not SADE's
        ("joint", "cifar100_lt", 100.0, "resnet32", 38.32),  # a collection of runs, not the FFDS paper's or RIDE's baseline
        ("ldam", "cifar10_lt", 100.0, "resnet32", 73.66),
        ("ffds", "cifar10_lt", 100.0, "resnet32", 75.6),  # its own paper
        ("logit_adjustment", "cifar100_lt", 100.0, "resnet32", 44.07),
        ("balanced_softmax", "cifar100_lt", 100.0, "resnet32", 46.47),  # not 50.3 with AutoAugment
    ],
)
def test_a_source_about_the_strategy_comes_first(strategy, dataset, factor, backbone, top1):
    found = nearest(strategy, dataset, factor, backbone)
    assert found is not None
    assert found.top1 == top1
    assert not found.autoaugment


def test_remarks():
    remarks = {
        (name, notes): parse(HEAD + f'{name},CIFAR-10-LT,100,ResNet-32,83.1,,,,a table,repo_table,"{notes}"\n')[0].remarks
        for name, notes in (
            ("balanced_softmax", "decoupled, AutoAug+Cutout"),
            ("balanced_softmax", ""),
            ("balanced_softmax_decoupled", ""),
            ("focal", ""),
            ("crt", ""),
            ("ce_joint", ""),
        )
    }
    assert list(remarks.values()) == [" (AutoAugment)", " (end-to-end)", "", " (end-to-end)", "", ""]
    readme = nearest("balanced_softmax", "cifar10_lt", 200.0, "resnet32")
    assert readme is not None
    assert readme.remarks == " (AutoAugment)"


def test_every_end_to_end_name_is_a_strategy_of_ours():
    assert set(strategy_names()) >= module._END_TO_END


def test_nearest_setting(published_lines):
    published_lines(LINES)
    find = lambda backbone, factor=100.0: nearest("los", "cifar100_lt", factor, backbone)  # noqa: E731
    assert find("resnet34").top1 == 53.9  # the same backbone beats the better source
    assert find("resnet32").top1 == 51.0  # the paper beats the table
    assert find("vit").top1 == 51.0
    assert find("resnet34", 10.0).top1 == 70.0
    assert find("resnet34", 50.0) is None
    assert for_dataset("cifar100_lt", math.nan) == ()


def test_backbone_spelling():
    assert same_backbone("ResNet-34 (inferred)", "resnet34")
    assert not same_backbone("ResNet-34", "resnet32")


def test_columns_show_source_dagger_and_difference(builder, published_lines):
    published_lines(LINES)
    from dataclasses import replace

    wide = replace(builder, dataset="cifar100_lt")
    (found,) = boards(from_records([wide.make(name)[0] for name in ("los", "crt", "ce", "focal")]))
    row = {row.label: row for row in found.rows}
    column = {column.key: column.value for column in registered()}
    assert column["published"](row["los"]) == "53.9 ResNet-34 (inferred)"
    assert column["published"](row["crt"]) == "45.0† ResNet-34"
    assert column["published_source"](row["crt"]) == "an index (index page)†"
    assert columns_module.published_citation(row["crt"]) == "an index (index)"
    assert column["published"](row["ce"]) is None
    assert column["published"](row["focal"]) == "44.0 ResNet-34 (end-to-end)"
    assert column["published_difference"](row["focal"]) is None
    accuracy = row["los"].estimate("test/accuracy").mean
    assert abs(columns_module._published_difference(row["los"]) - (accuracy - 0.539)) < 1e-12
    (other,) = boards(from_records([replace(wide, backbone="resnet10s2").make("los")[0]]))
    assert column["published_difference"](other.rows[0]) is None, "a number of another backbone"


def test_every_source_has_a_short_citation():
    for line in published():
        assert line.about in sources(), line.source
        assert len(line.short) < 50
    assert {source.subset for source in sources()} <= {"seed0", "first", "unseeded", ""}
    los = nearest("los", "cifar100_lt", 100.0, "resnet34")
    assert los is not None
    assert los.short == "PLTR-SD, Table 4 (re-run by others)"


def test_what_the_notes_say():
    line = parse(HEAD + "crt,CIFAR-100-LT,100,ResNet-32,40.3,,,,zhangyongshun/BagofTricks-LT documents,repo_table,100-err; 200ep R32\n")[0]
    assert (line.epochs, line.flip_averaged, line.about.subset) == (200, False, "")
    line = parse(HEAD + "l2_norm,CIFAR-100-LT,100,ResNet-34,51.0,,,,ShadeAlsha/LTR-weight-balancing demo notebooks (hflip TTA),log,\n")[0]
    assert (line.epochs, line.flip_averaged, line.about.subset, line.about.epoch_choice) == (None, True, "first", "best test epoch")
