"""Code is part of what a number is of: after an edit every verb gives the new number, and no row is of two programs."""

import csv
import json
import sys

import pytest

import lt_bench as lt
from lt_bench.bench import execute
from lt_bench.bench.tuning import tune
from lt_bench.results.differences import differences
from lt_bench.results.record import PASSED
from lt_bench.results.store import Store
from lt_bench.strategies import revisions

FAST = ("--cache", "small", "--accelerator", "cpu", "--strategy.epochs", "2")
FILES = {
    "my_head": '''
"""A head."""
import torch
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from my_helper import shift
import my_slots

class MyHead(Strategy):
    """Margins."""
    name = "my_head"
    sampler = "my_sampler.Mine"
    transform = my_slots.Squeeze(0.5)
    amount: float = hyper(1.0, low=0, high=10, grid=(0.5, 2.0), help="of the margin")

    def modulate(self, losses, batch):
        return shift(losses) * (1.0 + self.amount * self.class_counts.to(losses.dtype)[batch.labels] ** -0.25)
''',
    "my_helper": "def shift(losses):\n    return 1.0 * losses\n",
    "my_slots": '''
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Transform

class Squeeze(Transform):
    """Logits times a factor."""
    factor: float = hyper(1.0, low=0, high=9, help="what they are multiplied by")
    def __call__(self, logits, labels):
        return logits * (1.0 * self.factor)
''',
    "my_sampler": '''
import torch
from lt_bench.features.samplers import Sampler

class Mine(Sampler):
    """As often as it is."""
    def order(self, epoch):
        return torch.arange(len(epoch.labels)).roll(0)
''',
}
EDITS = {
    "my_head": ("** -0.25", "** 0.25"),
    "my_helper": ("1.0 * losses", "3.0 * losses"),
    "my_slots": ("(1.0 * self.factor)", "(7.0 * self.factor)"),
    "my_sampler": ("roll(0)", "roll(7)"),
}
SUITE = "strategies:\n- name: my_head.MyHead\n  epochs: 2\ncaches: [{cache: small}]\nseeds: [0]\n"


@pytest.fixture
def folder(cli, small_cache, tmp_path, monkeypatch):
    """The files in the current folder; calling it starts Python anew, as far as they are concerned."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(execute, "contract_of", lambda entry, hyperparameters: PASSED)  # the checks take a second for every edit
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)

    def lt_bench(*arguments):
        forget()
        return cli(*arguments)

    yield lt_bench
    forget()


def forget():
    for name in FILES:
        sys.modules.pop(name, None)


def edit(folder, which, old, new):
    path = folder / f"{which}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def records(folder):
    return {record.id: record for record in Store(folder / "results").records()}


def board(tmp_path):
    with (tmp_path / "leaderboard" / "leaderboard.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("which", EDITS)
def test_an_edit_is_another_record_and_another_row(folder, tmp_path, which):
    run = ("run", "--strategy", "my_head.MyHead", *FAST)
    first = folder(*run, "--seeds", "0,1")
    assert (first.code, first.err) == (0, "")
    before = records(tmp_path)
    edit(tmp_path, which, *EDITS[which])
    second = folder(*run, "--seeds", "1,2")
    assert second.code == 0
    assert second.err == "lt-bench: the code of my_head.MyHead changed since 2 records in results, so they are not used; fitted anew\n"
    assert "recorded in results before" not in second.out
    after = records(tmp_path)
    assert len(after) == 4
    of_seed = {record.identity.code: record.metrics["test"]["nll"] for record in after.values() if record.identity.seed == 1}
    assert len(set(of_seed.values())) == 2, "the new number"
    one, other = (next(r for r in after.values() if r.identity.code == code and r.identity.seed == 1) for code in of_seed)
    assert [name for name in differences(one, other).fields["code"] if name != "code"] == [f"code of {which}.py"]
    shown = folder("leaderboard")
    assert shown.code == 0
    assert "of one strategy with other code are other programs" in " ".join(shown.out.split())
    rows = board(tmp_path)
    assert [row["n"] for row in rows] == ["2", "2"]
    assert {row["code"] for row in rows} == set(of_seed)
    assert all(" (code " in row["row"] for row in rows)
    assert before.keys() < after.keys()


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [("my_head", '"""Margins."""', '"""Margins of classes."""'), ("my_helper", "1.0 * losses", "(1.0 *\n      losses)  # once"), ("my_slots", '"""Logits times a factor."""', "# x")],
)  # fmt: skip
def test_docstrings_comments_and_layout_are_the_same_run(folder, tmp_path, which, old, new):
    run = ("run", "--strategy", "my_head.MyHead", *FAST)
    assert folder(*run).code == 0
    edit(tmp_path, which, old, new)
    again = folder(*run)
    assert again.err == ""
    assert "1 of 1 were recorded in results before" in again.out
    assert len(records(tmp_path)) == 1


def test_tune_run_tuned_and_bench_after_an_edit(folder, tmp_path):
    tune = ("tune", "--strategy", "my_head.MyHead", *FAST[:4], "--seeds", "0")
    tuned = ("run", "--strategy", "my_head.MyHead", "--tuned", *FAST[:4])
    (tmp_path / "suite.yaml").write_text(SUITE)
    suite = ("bench", "suite.yaml", "--accelerator", "cpu")
    assert [folder(*verb).code for verb in (tune, tuned, suite)] == [0, 0, 0]
    (choice,) = (tmp_path / "results" / "tuning").glob("my_head.MyHead-*.json")
    before = json.loads(choice.read_text())
    count = len(records(tmp_path))
    edit(tmp_path, "my_helper", *EDITS["my_helper"])
    refused = folder(*tuned)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "the code of my_head.MyHead changed since it was tuned" in refused.err
    assert f"run `{before['command']}`" in refused.err
    assert len(records(tmp_path)) == count
    assert folder(*tune).code == 0
    after = json.loads(choice.read_text())
    assert before["code"] != after["code"]
    assert before["id"] != after["id"]
    assert folder(*tuned).code == 0
    anew = folder(*suite)
    assert anew.code == 0
    assert "the code of my_head.MyHead changed since 1 record" in anew.err
    assert len(records(tmp_path)) == 2 * count


def test_an_edit_while_a_grid_is_fitted_does_not_lose_the_tuning(folder, tmp_path, monkeypatch):
    line = ("tune", "--strategy", "my_head.MyHead", *FAST, "--seeds", "0", "--workers", "1")
    assert folder(*line, "--results", "before").code == 0
    check_best = tune.check_best

    def edited(*given):
        edit(tmp_path, "my_helper", *EDITS["my_helper"])
        check_best(*given)

    monkeypatch.setattr(tune, "check_best", edited)
    done = folder(*line, "--results", "meanwhile")
    assert (done.code, done.err) == (0, "")
    one, other = (json.loads(next((tmp_path / name / "tuning").iterdir()).read_text()) for name in ("before", "meanwhile"))
    assert one["code"] == other["code"], "that of the program that was fitted"


def test_a_composition_with_an_own_entry(folder, tmp_path):
    run = ("run", "--strategy", "compose", "--strategy.transform", "my_slots.Squeeze(0.5)", *FAST)
    assert folder(*run).code == 0
    edit(tmp_path, "my_slots", *EDITS["my_slots"])
    assert folder(*run).code == 0
    one, other = records(tmp_path).values()
    assert one.metrics["test"]["nll"] != other.metrics["test"]["nll"]
    assert all(", revision 1" in record.identity.code for record in (one, other))


def test_diff_names_the_file_that_changed(folder, tmp_path):
    run = ("run", "--strategy", "my_head.MyHead", *FAST)
    folder(*run)
    edit(tmp_path, "my_helper", *EDITS["my_helper"])
    folder(*run)
    paths = [str(path) for path in sorted((tmp_path / "results" / "embeddings").glob("*.json"))]
    done = folder("diff", *paths)
    assert done.code == 0
    assert "code: differ" in done.out
    assert "code of my_helper.py: " in done.out
    assert all(f"{kind}: the same" in done.out for kind in ("data", "choices", "versions", "hardware"))
    document = json.loads(folder("diff", *paths, "--json").out)
    assert document["differ_in"] == ["code"]
    first, second = document["metrics"]["test/nll"]
    assert first != second
    assert json.loads(folder("diff", paths[0], paths[0], "--json").out)["differ_in"] == []
    same = folder("diff", paths[0], paths[0]).out
    assert f"the same in both: {len(document['metrics'])} metrics" in same
    assert "test/nll" not in same
    missing = folder("diff", paths[0], "nowhere.json")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    alone = folder("diff", paths[0])
    assert alone.err == "lt-bench: diff needs the JSON files of two records, whose paths a run prints: lt-bench diff ONE.json OTHER.json\n"
    assert all("default: ." not in folder(verb, "--help").out for verb in ("diff", "verify"))


def test_verify_names_the_code(folder, tmp_path):
    folder("run", "--strategy", "my_head.MyHead", *FAST)
    (path,) = (tmp_path / "results" / "embeddings").glob("*.json")
    assert folder("verify", str(path)).code == 0
    edit(tmp_path, "my_sampler", *EDITS["my_sampler"])
    done = folder("verify", str(path))
    assert done.code == 2
    assert "does not repeat" in done.err
    assert "the code differs (my_sampler.py)" in done.err


def test_export_refuses_a_record_of_other_code(folder, tmp_path):
    folder("run", "--strategy", "my_head.MyHead", *FAST)
    (path,) = (tmp_path / "results" / "embeddings").glob("*.json")
    words = ("export", "--record", str(path), "--head-only", "--out", "EXPORT")
    edit(tmp_path, "my_head", *EDITS["my_head"])
    done = folder(*words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "the code of my_head.MyHead is another one now (my_head.py)" in done.err
    assert "or run it again (`lt-bench run --strategy my_head.MyHead " in done.err
    assert "--results" not in done.err
    assert not (tmp_path / "EXPORT").exists()
    edit(tmp_path, "my_head", *reversed(EDITS["my_head"]))
    assert folder(*words).code == 0


def test_a_raised_revision_of_the_suites_is_another_row(folder, tmp_path, monkeypatch):
    run = ("run", "--strategy", "los", *FAST)
    folder(*run)
    monkeypatch.setattr(revisions, "SHARED", 2)
    again = folder(*run)
    assert "the code of los changed since 1 record in results" in again.err
    folder("leaderboard")
    assert sorted(row["row"].partition("(rev")[2] for row in board(tmp_path)) == ["ision 1)", "ision 1.2)"]


def test_a_class_of_a_cell_defined_anew_is_another_run(small_cache, monkeypatch):
    monkeypatch.setattr(execute, "contract_of", lambda entry, hyperparameters: PASSED)
    cache = lt.open_cache(small_cache)
    text = (
        "from lt_bench.strategies.contract import Strategy\nclass Cell(Strategy):\n    name = 'cell'\n"
        "    def transform(self, logits, labels):\n        return logits * 1.0\n"
    )

    def fitted(source):
        space = {"__name__": "__main__"}
        exec(source, space)
        (one,) = lt.fit(space["Cell"], cache, epochs=1, accelerator="cpu")
        return one

    first, same, other = fitted(text), fitted(text.replace("1.0", "1.0  # as it is")), fitted(text.replace("1.0", "2.0"))
    assert first.record.id == same.record.id != other.record.id
    assert len(lt.leaderboard([first, other], statistics=False).frame) == 2
