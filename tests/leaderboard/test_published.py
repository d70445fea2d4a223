from __future__ import annotations

import math

from lt_bench.leaderboard import columns as columns_module
from lt_bench.leaderboard import published as module
from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.columns import registered
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.published import for_dataset, nearest, parse, published, same_backbone

HEAD = "strategy,dataset,imbalance_factor,backbone,top1,many,medium,few,source,source_kind,notes\n"
LINES = parse(
    HEAD + "los,CIFAR-100-LT,100,ResNet-32,52.0,,,,a table,repo_table,\n"
    "los,CIFAR-100-LT,100,ResNet-34 (inferred),53.9,,,,someone,third_party,\n"
    "los,CIFAR-100-LT,100,ResNet-32,51.0,,,,the paper,paper,note\n"
    "los,CIFAR-100-LT,10,ResNet-34,70.0,,,,the paper,paper,\n"
    "secret,CIFAR-100-LT,100,ResNet-34,99.0,,,,nowhere,memory,\n"
    "crt,CIFAR-100-LT,100,ResNet-34,45.0,,,,an index,index,\n"
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


def test_memory_is_never_shown():
    assert "secret" not in {line.strategy for line in LINES}


def test_nearest_setting(monkeypatch):
    monkeypatch.setattr(module, "published", lambda: LINES)
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


def test_columns_show_source_dagger_and_difference(builder, monkeypatch):
    monkeypatch.setattr(module, "published", lambda: LINES)
    from dataclasses import replace

    wide = replace(builder, dataset="cifar100_lt")
    (found,) = boards(from_records([wide.make(name)[0] for name in ("los", "crt", "ce")]))
    row = {row.label: row for row in found.rows}
    column = {column.key: column.value for column in registered()}
    assert column["published"](row["los"]) == "53.9 ResNet-34 (inferred)"
    assert column["published"](row["crt"]) == "45.0† ResNet-34"
    assert column["published_source"](row["crt"]) == "an index (index)"
    assert column["published"](row["ce"]) is None
    accuracy = row["los"].estimate("test/accuracy").mean
    assert abs(columns_module._published_difference(row["los"]) - (accuracy - 0.539)) < 1e-12
