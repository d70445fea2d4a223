"""A command that a W&B agent makes of a sweep file is one run that has the metric which the sweep selects on; no network."""

from pathlib import Path

import pytest
import wandb
import yaml
from wandb_files import items, messages

SWEEPS = sorted((Path(__file__).parents[2] / "benchmarks" / "sweeps").glob("*.yaml"))


@pytest.fixture
def sweeping(tmp_path, monkeypatch):
    """The environment of a run that an agent starts; W&B keeps that of the first run of a process."""
    wandb.teardown()
    for name, value in {"WANDB_SWEEP_ID": "sweep1", "WANDB_SILENT": "true", "WANDB_DATA_DIR": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)
    yield
    wandb.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_what_an_agent_runs_has_the_metric_of_the_sweep(cli, small_cache, sweeping, tmp_path, path):
    sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sweep["metric"]["name"].startswith("val/")  # never the test set
    given = [f"--{name}={axis['values'][0]}" for name, axis in sweep["parameters"].items()]
    words = [word for part in sweep["command"] for word in ({"${env}": [], "${args}": given}.get(part, [part]))]
    assert words.pop(0) == "lt-bench"
    here = {"cifar100_lt": ["embeddings", "--cache", "small", "--accelerator", "cpu", "--strategy.epochs=1"], "online": ["offline"]}
    done = cli(*(other for word in words for other in here.get(word, [word])))
    assert done.code == 0, done.err
    (file,) = (tmp_path / "results").glob("wandb/offline-run-*/*.wandb")
    found = messages(file)
    run = next(message.run for message in found if message.WhichOneof("record_type") == "run")
    assert run.sweep_id == "sweep1"
    summary = {}
    for message in found:
        if message.WhichOneof("record_type") == "summary":
            summary |= items(message.summary.update)
    assert 0 <= summary[sweep["metric"]["name"]] <= 1
