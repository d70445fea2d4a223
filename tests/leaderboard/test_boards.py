from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.leaderboard.boards import boards, one_board
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.load import from_records, load_records
from lt_bench.results.store import Store


def write(directory, made):
    store = Store(directory)
    return [store.path(store.write(record, arrays)) for record, arrays in made]


def test_loading_keeps_every_number(tmp_path, builder):
    made = [builder.make(strategy, seed) for strategy in ("los", "ce") for seed in range(2)]
    write(tmp_path, made)
    runs = load_records(tmp_path)
    assert list(runs.frame["id"]) == sorted(record.id for record, _ in made)
    for record, arrays in made:
        line = runs.frame[runs.frame["id"] == record.id].iloc[0]
        assert line["strategy"] == record.strategy.name
        assert line["seed"] == record.identity.seed
        assert json.loads(line["hyperparameters"]) == record.identity.hyperparameters
        for view, values in record.metrics.items():
            for name, value in values.items():
                assert line[f"{view}/{name}"] == value or np.isnan(value)
        assert np.array_equal(runs.array(int(line.name), "test_labels"), arrays["test_labels"])
    assert list(runs.splits[builder.cache_key].train_counts) == builder.counts


def test_caches_of_the_same_rows_keep_their_own_class_names(builder):
    made = []
    for key, name in (("cache-a", "ant"), ("cache-b", "bee")):
        record, arrays = replace(builder, cache_key=key).make()
        names = [f"{name} {k}" for k in range(builder.num_classes)]
        made.append((replace(record, dataset=replace(record.dataset, class_names=names)), arrays))
    assert len({record.dataset.split_hash for record, _ in made}) == 1
    found = {ranking.board.cache_key: ranking.rows[0].split.class_names[0] for ranking in boards(from_records(made))}
    assert found == {"cache-a": "ant 0", "cache-b": "bee 0"}


def test_a_reformatted_file_reads_the_same(tmp_path, builder):
    paths = write(tmp_path, [builder.make(seed=seed) for seed in range(2)])
    before = load_records(tmp_path).frame
    paths[0].write_text(json.dumps(json.loads(paths[0].read_bytes()), indent=4))
    assert load_records(tmp_path).frame.equals(before)


def test_records_in_memory_and_on_disk_give_the_same_frame(tmp_path, builder):
    made = [builder.make(seed=seed) for seed in range(3)]
    write(tmp_path, made)
    stored, memory = load_records(tmp_path).frame, from_records([record for record, _ in made]).frame
    assert sorted(stored.columns) == sorted(memory.columns)
    assert stored[memory.columns].drop(columns="path").equals(memory.drop(columns="path"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged"),
        ('{"schema": 2, "id": "x"}', "altered after it was written"),
        ('{"schema": 1}', "lt-bench migrate"),
        ('{"schema": 9}', "schema"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, builder, text, said):
    path = write(tmp_path, [builder.make()])[0]
    path.write_text(text)
    with pytest.raises(UserError, match=said) as error:
        load_records(tmp_path)
    assert str(path) in str(error.value)


def test_no_records(tmp_path):
    with pytest.raises(UserError, match="no records; `lt-bench run"):
        load_records(tmp_path)


def test_records_of_a_folder_below_are_named(tmp_path, builder):
    """`make leaderboard` writes to results/shipped; `lt-bench leaderboard` reads results."""
    write(tmp_path / "shipped", [builder.make()])
    with pytest.raises(UserError, match=rf"no records; there are some in {tmp_path / 'shipped'}: --results {tmp_path / 'shipped'}"):
        load_records(tmp_path)


def test_rows_share_everything_but_the_seed(builder):
    made = [builder.make("los", seed, 0.3) for seed in (2, 0, 1)] + [builder.make("ce", seed, 0.0) for seed in range(2)]
    made += [
        builder.make("los", 0, 0.3, kind="tuned", hyperparameters={"epsilon": 0.9}),
        builder.make("los", 0, 0.3, kind="user", hyperparameters={"epsilon": 0.5}),
    ]
    made += [builder.make("los", 0, 0.3, kind="user", hyperparameters={"epsilon": 0.6, "recipe": {"lr": 1}})]
    (found,) = boards(from_records([record for record, _ in made]))
    labels = {row.label: row.seeds for row in found.rows}
    assert labels == {
        "los": [0, 1, 2],
        "ce": [0, 1],
        "los (tuned)": [0],
        "los (user) [epsilon=0.5]": [0],
        "los (user) [epsilon=0.6, recipe.lr=1]": [0],
    }
    means = [row.estimate("test/accuracy").mean for row in found.rows]
    assert means == sorted(means, reverse=True)


def test_compositions_are_named_by_the_slots_that_differ(builder):
    slots = {"target": "smooth(0.98)", "transform": "", "kernel": "softmax", "lr": 0.1}
    made = [builder.make("compose", 0, kind="user", hyperparameters=slots | more)[0] for more in ({}, {"transform": "margin(0.5)"})]
    (ranking,) = boards(from_records(made))
    assert {row.label for row in ranking.rows} == {"compose (user)", "compose (user) [transform=margin(0.5)]"}


@pytest.mark.parametrize(
    ("targets", "labels"),
    [
        (("smooth(0.98)", "one_hot"), {"compose (user) [target=smooth(0.98)]", "compose (user) [target=one_hot]"}),
        (("", "one_hot"), {"compose (user)", "compose (user) [target=one_hot]"}),
        ((None, ""), {"compose (user)", "compose (user) [target=]"}),  # None: a record from before the slot existed
    ],
)
def test_compositions_that_differ_in_the_target_only_are_two_rows_with_two_labels(builder, targets, labels):
    slots = {"transform": "log_prior(tau=1.0)", "kernel": "softmax", "lr": 0.1}
    pairs = [
        builder.make("compose", 0, kind="user", hyperparameters=slots if target is None else slots | {"target": target})
        for target in targets
    ]
    (ranking,) = boards(from_records([record for record, _ in pairs]))
    assert {row.label for row in ranking.rows} == labels


def test_official_and_inferred_settings_of_one_strategy_have_two_labels(builder):
    records = [builder.make("los", 0, kind=kind)[0] for kind in ("official", "inferred")]
    (ranking,) = boards(from_records(records))
    assert {row.label for row in ranking.rows} == {"los", "los (inferred)"}


def test_programs_of_two_boards_are_told_apart_on_each(builder):
    mine = {"class_path": "my_head.MyHead", "kind": "user"}
    made = [
        replace(builder, cache_key=key).make(name, 0, code=code, **more)
        for key, own in (("cache-a", "own e184aa"), ("cache-b", "own 2acabb"))
        for name, code, more in (("my_head.MyHead", own, mine), ("los", "1", {}))
    ]
    found = {
        ranking.board.cache_key: {row.label for row in ranking.rows} for ranking in boards(from_records([record for record, _ in made]))
    }
    assert found["cache-a"] == {"los", "my_head.MyHead (user) (code e184)"}
    assert found["cache-b"] == {"los", "my_head.MyHead (user) (code 2aca)"}


def test_one_name_from_two_classes_is_two_rows(builder):
    made = [
        builder.make("los", 0),
        builder.make("los", 1, class_path="mine.Head"),
    ]
    (found,) = boards(from_records([record for record, _ in made]))
    assert len({row.label for row in found.rows}) == 2


def test_what_differs_in_split_cache_protocol_or_mode_is_never_ranked_together(builder):
    from dataclasses import replace

    variants = {"cache_key": "cache-b", "protocol": "images-eval", "mode": "end-to-end", "dataset": "cifar100_lt"}
    for field, value in variants.items():
        other = replace(builder, **({"cache_key": "cache-c"} if field == "dataset" else {}) | {field: value})
        runs = from_records([builder.make()[0], other.make()[0]])
        assert len(boards(runs)) == 2
        with pytest.raises(UserError, match="not ranked together") as error:
            one_board(runs)
        assert field in str(error.value)
        assert value in str(error.value)
        assert one_board(runs, **{field: value}).board == next(
            found.board for found in boards(runs) if getattr(found.board, field) == value
        )
    with pytest.raises(UserError, match="no runs with"):
        one_board(runs, dataset="places_lt")
    with pytest.raises(UserError, match="a board is chosen by"):
        one_board(runs, strategy="los")


def test_a_row_with_an_unhealthy_fit_is_marked_in_every_format(tmp_path, builder):
    made = [builder.make(strategy, seed) for strategy in ("los", "ce") for seed in range(2)]
    made = [
        (
            replace(
                record, training=replace(record.training, health={"chance": 0.1, "one_class": 3} if record.id == made[1][0].id else {})
            ),
            arrays,
        )
        for record, arrays in made
    ]
    write(tmp_path / "results", made)
    assert {row.label for row in one_board(load_records(tmp_path / "results")).rows} == {"los (unhealthy: chance, one_class)", "ce"}
    assert {row.label for row in one_board(from_records(made)).rows} == {"los (unhealthy: chance, one_class)", "ce"}
    table = leaderboard(tmp_path / "results")
    for path in table.write(tmp_path / "out", ("markdown", "csv", "html")):
        text = path.read_text()
        assert "los (unhealthy: chance, one_class)" in text
        assert ("docs/records.md" in text) == (path.suffix != ".csv")
    lines = list(csv.DictReader((tmp_path / "out" / "leaderboard.csv").open()))
    assert {line["strategy"]: line["health"] for line in lines} == {"los": "chance, one_class", "ce": ""}
