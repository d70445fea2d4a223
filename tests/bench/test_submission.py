"""A submission from its records to the mark on the board, and what is refused on the way."""

import errno
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lt_bench.bench import submission
from lt_bench.cli.main import main
from lt_bench.core.errors import NotWrittenError
from lt_bench.core.seals import sealed
from lt_bench.results.statement import read_statement
from lt_bench.results.store import Store
from lt_bench.results.verified import VERIFIED, read_verified, write_verified

SOURCE = '''
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.recipe import Recipe
from submitted_lib import SCALE

class Submitted(Strategy):
    """Scaled logits."""
    name = "submitted"
    recipe = Recipe(epochs=2)
    grid = {"lr": (0.1,)}
    m: float = hyper(2.0, low=0, high=10, grid=(1.0, 2.0), help="a number")

    def transform(self, logits, labels):
        return logits * float(self.m) * SCALE
'''
NAME = "submitted_head.Submitted"
ON_SMALL = ("--cache", "small", "--accelerator", "cpu")


def submit(folder, *more, strategies=NAME):
    records = sorted(map(str, folder.glob(f"results/embeddings/{strategies}-*.json")))
    out = () if "--out" in more else ("--out", str(folder / "mine"))
    return ("submit", *records, *out, "--author", "A. Person", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_cache):
    """A folder with source, tuning, two records and the submission of them."""
    folder = tmp_path_factory.mktemp("submitter")
    (folder / "submitted_head.py").write_text(SOURCE)
    (folder / "submitted_lib.py").write_text("SCALE = 1.5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        assert main(["tune", "--strategy", NAME, *ON_SMALL, "--seeds", "0", "-q"]) == 0
        assert main(["run", "--strategy", NAME, *ON_SMALL, "--seeds", "0,1", "--tuned", "-q"]) == 0
        assert main([*submit(folder), "--paper", "https://example.org/paper", "-q"]) == 0
    for name in ("submitted_head", "submitted_lib"):
        sys.modules.pop(name, None)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, in the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield tmp_path
    for name in ("submitted_head", "submitted_lib"):
        sys.modules.pop(name, None)


def refused(done):
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    return line


def test_from_records_to_the_mark_on_the_board(folder, cli):
    mine = folder / "mine"
    statement = read_statement(mine)
    (runs,) = statement["runs"]
    assert (runs["seeds"], runs["objective"], runs["tuning"]["validation"] is not None) == ([0, 1], "macro", True)
    assert (statement["author"], statement["paper"], statement["code_link"]) == ("A. Person", "https://example.org/paper", None)
    assert sorted(statement["sources"]) == ["submitted_head.py", "submitted_lib.py"]
    assert "OK, 1 submission\n" in cli("validate", "mine").out
    assert "verified" not in cli("leaderboard", "--results", "mine", "--formats", "csv").out.lower()

    (folder / "submitted_head.py").unlink()  # the source in the submission is fitted, and nothing else of the submitter
    (folder / "submitted_lib.py").unlink()
    first, _ = sorted(mine.glob("embeddings/*.json"))
    assert cli("verify", str(first)).code == 0
    assert cli("leaderboard", "--results", "mine", "--formats", "csv").out.count("verified") == 0, "one of two seeds"
    assert cli("verify", "mine").out.count(": verified; largest difference") == 2
    assert not list(mine.rglob("__pycache__"))
    verified = read_verified(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_BENCH_HOME", str(folder / "elsewhere"))
        assert "is not among the known ones" in cli("verify", "mine").err  # it cannot be tried here
    assert read_verified(mine) == verified
    write_verified(mine, {id_: replace(one, difference=0.3, tolerance=1.0) for id_, one in verified.items()})
    assert cli("leaderboard", "--results", "mine", "--formats", "csv").out.count("verified") == 0, (
        "it came out otherwise, within a wide tolerance"
    )
    write_verified(mine, verified)
    assert {one.metric for one in read_verified(mine).values()} <= {
        f"{view}/{name}" for view, of in Store(mine).load(first.stem[-16:]).metrics.items() for name in of
    }
    (folder / "among").mkdir()
    shutil.move(mine, folder / "among" / "theirs")
    shutil.copytree(
        folder / "results" / "embeddings", folder / "among" / "embeddings", ignore=lambda _, names: [n for n in names if n.startswith(NAME)]
    )
    assert cli("run", "--strategy", "joint", *ON_SMALL, "--results", "among", "-q").code == 0
    assert "verified" in cli("leaderboard", "--results", "among", "--formats", "markdown,csv,html").out
    rows = (folder / "leaderboard" / "leaderboard.csv").read_text().splitlines()
    assert [row.count(",verified,") for row in rows[1:]] == [1 if NAME in row else 0 for row in rows[1:]]
    assert "| verified |" in (folder / "leaderboard" / "LEADERBOARD.md").read_text()
    assert '"t":"verified"' in (folder / "leaderboard" / "leaderboard.html").read_text()


def test_a_list_of_verified_records_holds_for_those_records_alone(folder, cli):
    mine = folder / "mine"
    entry = {"difference": 0.0, "metric": "test/accuracy", "tolerance": 1e-5, "code": "revision 1", "finished": "2026-01-01T00:00:00Z"}
    entry["environment"] = Store(mine).load(next(mine.glob("embeddings/*.json")).stem[-16:]).environment
    records = {record.id: entry | {"seal": record.to_json()["seal"]} for record in Store(mine).records()}

    def shown(records, **edits):
        (mine / VERIFIED).write_text(json.dumps(sealed({"schema": 1, "records": records}) | edits))
        return cli("leaderboard", "--results", "mine", "--formats", "csv")

    assert "verified" in shown(records).out
    assert "verified" not in shown({id_: one | {"seal": "0" * 64} for id_, one in records.items()}).out
    assert "verified" not in shown({id_[::-1]: one for id_, one in records.items()}).out
    assert "seal does not hold" in refused(shown(records, seal="0" * 64))
    assert "seal does not hold" in cli("validate", "mine").out
    assert "is a required property" in refused(shown({id_: {"seal": one["seal"]} for id_, one in records.items()}))


def test_what_does_not_hold_is_one_line(folder, cli):
    mine, record = folder / "mine", next(folder.glob("mine/embeddings/*.json"))
    content = record.read_text()
    for verb in ("validate", "verify"):
        record.write_text(content.replace('"seed":0', '"seed":7').replace('"seed":1', '"seed":7'))
        done = cli(verb, "mine")
        assert done.code == 2
        assert str(record.relative_to(folder)) in done.out + done.err
        record.write_text(content)

        (mine / "source" / "submitted_lib.py").write_text("SCALE = 1.6\n")
        done = cli(verb, "mine")
        assert done.code == 2
        assert "submitted_lib.py: not the program that the records were made with" in done.out + done.err
        (mine / "source" / "submitted_lib.py").write_text("# another layout is the same program\nSCALE = 1.5\n")

        (mine / "source" / "csv.py").write_text("")
        assert "csv.py: no part of the program" in cli(verb, "mine").out + cli(verb, "mine").err
        (mine / "source" / "csv.py").unlink()

        (tuning,) = mine.glob("tuning/*.json")
        shutil.move(tuning, folder / "away.json")
        done = cli(verb, "mine")
        assert done.code == 2
        assert "is missing, and records say that they were tuned by it" in done.out + done.err
        shutil.move(folder / "away.json", tuning)
    statement = json.loads((mine / "submission.json").read_text())
    (mine / "submission.json").write_text(json.dumps(sealed(statement | {"runs": []})))
    assert "runs is not what the records say" in cli("validate", "mine").out
    assert not (mine / VERIFIED).exists()


def test_submit_refuses_and_writes_nothing(folder, cli):
    shutil.rmtree(folder / "mine")

    def line(*more, **strategies):
        said = refused(cli(*submit(folder, *more, **strategies)))
        assert not (folder / "mine").exists()
        return said

    assert "--paper example.org" in line("--paper", "example.org")
    assert "where its records would count twice" in line("--out", "results/mine")
    (folder / "theirs").mkdir()
    assert "is no submission" in line("--out", "theirs")
    (folder / "submitted_lib.py").write_text("SCALE = 1.6\n")
    assert "submitted_lib.py: not the program that the records were made with" in line()
    (folder / "submitted_lib.py").unlink()
    assert "submitted_lib.py: not found" in line()
    (folder / "submitted_lib.py").write_text("SCALE = 1.5\n")
    shutil.move(folder / "results" / "tuning", folder / "away")
    assert "which is not in" in line()
    shutil.move(folder / "away", folder / "results" / "tuning")
    (record, _) = sorted(folder.glob(f"results/embeddings/{NAME}-*.json"))
    content = record.read_text()
    record.write_text(content.replace("embeddings", "embedding"))
    assert record.name in line()
    record.write_text(content)
    assert cli("run", "--strategy", "joint", *ON_SMALL, "-q").code == 0
    assert f"submit without those of {NAME} (" in line(strategies="*")


def test_a_record_that_the_disk_fails_to_read_is_not_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        submission._write(tmp_path / "sent", {"data/a.json": tmp_path / "a.json"}, None)
    assert not isinstance(caught.value, NotWrittenError)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_submission_gets_what_it_lacks(folder, cli):
    mine = folder / "mine"
    shutil.rmtree(mine)
    first, second = sorted(folder.glob(f"results/embeddings/{NAME}-*.json"))
    options = ("--out", "mine", "--author", "A. Person")
    assert cli("submit", str(first), *options).code == 0
    (mine / "README.md").write_text("of the user")
    assert cli("submit", str(second), *options).code == 0
    assert len(read_statement(mine)["runs"][0]["records"]) == 2
    assert (mine / "README.md").read_text() == "of the user"
    assert "OK, 1 submission" in cli("validate", "mine").out
    assert cli("run", "--strategy", "joint", *ON_SMALL, "-q").code == 0
    assert "one strategy" in refused(cli("submit", str(next(folder.glob("results/embeddings/joint-*.json"))), *options))
