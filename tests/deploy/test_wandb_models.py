"""Exports that are pushed to W&B, read back from W&B's own offline files."""

import pytest
from wandb_files import artifacts, items, messages

from lt_bench.cli.main import main
from lt_bench.core.errors import UserError
from lt_bench.deploy.files import DESCRIPTION, FORMAT, TENSORS, publish
from lt_bench.deploy.wandb_models import push_exports, read_exports
from lt_bench.leaderboard.boards import row_of
from lt_bench.leaderboard.wandb.ledger import Destination, Ledger
from lt_bench.results.store import Store


@pytest.fixture
def store(tmp_path, builder, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    store = Store(tmp_path / "results")
    store.write(*builder.make("los", 0, 1.0))
    return store


def exported(folder, record):
    """An export of a record as far as its description is read here."""
    staging = folder.with_name(f"{folder.name}-staging")
    staging.mkdir()
    (staging / TENSORS).write_bytes(b"tensors")
    names = ("strategy", "hyperparameters", "seed", "dataset", "test", "exported")
    publish(folder, staging, {"format": FORMAT, "provenance": dict.fromkeys(names, "x") | {"record": record}})
    return folder


def test_a_model_is_made_of_its_cache_and_record_and_pushed_once(store, tmp_path):
    (record,) = store.records()
    exports = read_exports([exported(tmp_path / "export", record.id)], store.directory)
    to = Destination("p", directory=tmp_path / "here")
    first, again = Ledger(to), None
    push_exports(exports, first)
    push_exports(exports, again := Ledger(to))
    (file,) = to.directory.glob("wandb/offline-run-*/*.wandb")
    found = messages(file)
    run = next(message.run for message in found if message.WhichOneof("record_type") == "run")
    assert (run.run_group, run.job_type, list(run.tags)) == (row_of(record).name, "export", ["export"])
    assert items(run.config.update)["cache_key"] == record.cache.key
    assert artifacts(found) == [
        (f"cache-{record.cache.key}", "cache", True), (f"record-{record.id}", "record", True), (f"model-{record.id}", "model", False),
    ]  # fmt: skip
    model = next(
        one for message in found if message.WhichOneof("record_type") == "artifact" for one in [message.artifact] if one.type == "model"
    )
    assert sorted(entry.path for entry in model.manifest.contents) == sorted([DESCRIPTION, TENSORS])
    assert (first.written, again.written) == (again.skipped, [])


def test_the_command_pushes_exports_by_their_folders(store, tmp_path, capsys):
    (record,) = store.records()
    exports = [str(exported(tmp_path / name, record.id)) for name in ("one", "other")]
    words = ["wandb", "push", "--results", str(store.directory), "--plots", "false", "--exports"]
    assert main([*words, ",".join(exports)]) == 0
    assert "W&B runs written offline" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "none")]) == 2
    assert "none: not an exported classifier" in capsys.readouterr().err


def test_an_export_without_its_record_or_its_bytes_is_one_line(store, tmp_path):
    with pytest.raises(UserError, match=r"its record 0123 is not in .*results.*--results"):
        read_exports([exported(tmp_path / "other", "0123")], store.directory)
    (record,) = store.records()
    damaged = exported(tmp_path / "damaged", record.id)
    (damaged / TENSORS).write_bytes(b"others")
    with pytest.raises(UserError, match="damaged export"):
        read_exports([damaged], store.directory)
