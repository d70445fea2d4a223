"""Curves on W&B while heads are fitted, read back from its offline files."""

import pytest
from wandb_files import artifacts, history, items, messages

from lt_bench.leaderboard.boards import row_of
from lt_bench.results.store import Store


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))


def files(results):
    """Messages of every run."""
    return {path.stem.removeprefix("run-"): messages(path) for path in results.glob("wandb/offline-run-*/*.wandb")}


def test_every_seed_is_a_run_with_its_curves_metrics_and_lineage(cli, small_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    line = ("run", "--strategy", "los", "--strategy.epochs", "3", "--cache", "small", "--accelerator", "cpu", "--seeds", "0,1")
    done = cli(*line, "--logger", "wandb", "--wandb-project", "heads")
    assert done.code == 0, done.err
    assert "2 W&B runs offline; `wandb sync results/wandb/offline-run-*` sends them" in done.out
    runs, store = files(tmp_path / "results"), Store(tmp_path / "results")
    assert sorted(runs) == sorted(record.id for record in store.records())
    for record in store.records():
        found = runs[record.id]
        run = next(message.run for message in found if message.WhichOneof("record_type") == "run")
        assert (run.project, run.run_group, run.job_type) == ("heads", row_of(record).name, "fit")
        assert run.display_name == f"{row_of(record).name}, seed {record.identity.seed}"
        curves = [row for row in history(found) if "fit/loss" in row]
        assert [(row["epoch"], row["fit/loss"], row["fit/lr"]) for row in curves] == [
            (row["epoch"], pytest.approx(row["loss"]), pytest.approx(row["lr"])) for row in record.training.history
        ]
        assert len({row["fit/weight_norm_all"] for row in curves}) == 3
        assert curves[-1]["fit/weight_norm_all"] == pytest.approx(store.arrays(record)["test/weight_norm"].mean(), rel=1e-5)
        summary = {}
        for message in found:
            if message.WhichOneof("record_type") == "summary":
                summary |= items(message.summary.update)
        assert summary["val/macro_accuracy"] == record.metrics["val"]["macro_accuracy"]
        assert artifacts(found) == [(f"cache-{record.cache.key}", "cache", True), (f"record-{record.id}", "record", False)]
        assert [message.exit.exit_code for message in found if message.WhichOneof("record_type") == "exit"] == [0]


def test_a_fit_that_is_not_recorded_is_a_failed_run(cli, small_cache, tmp_path):
    fits = ("--strategy.epochs", "2", "--strategy.lr", "1e38", "--cache", "small", "--accelerator", "cpu")
    assert cli("run", "--strategy", "ce", *fits, "--wandb", "offline").code == 2
    ((_, found),) = files(tmp_path / "results").items()
    assert [message.exit.exit_code for message in found if message.WhichOneof("record_type") == "exit"] == [1]
