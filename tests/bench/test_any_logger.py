"""Another logger of Lightning's beside CSV and W&B: it is given each record once."""

import sys
import types

import pytest
from lightning.pytorch.loggers import Logger

from lt_bench.results.store import Store


class Keeps(Logger):
    """Keeps what it is given."""

    given: list

    def __init__(self, save_dir, name, version, project="none"):
        super().__init__()
        self.made = (save_dir, name, version, project)
        type(self).given = []

    name = "keeps"
    version = "0"

    def log_hyperparams(self, params):
        self.given.append(("hyper-parameters", dict(params)))

    def log_metrics(self, metrics, step=None):
        self.given.append((step, dict(metrics)))

    def finalize(self, status):
        self.given.append((status, self.made))


@pytest.fixture
def loggers(monkeypatch):
    module = types.ModuleType("my_loggers")
    module.__spec__ = types.SimpleNamespace(origin="my_loggers.py", name="my_loggers")
    module.Keeps, module.NoLogger = Keeps, dict
    monkeypatch.setitem(sys.modules, "my_loggers", module)


def test_a_class_of_ones_own_gets_every_epoch_and_metric_once(cli, small_cache, tmp_path, loggers):
    line = ("run", "--strategy", "ce", "--strategy.epochs", "3", "--cache", "small", "--accelerator", "cpu", "--logger", "my_loggers.Keeps")
    assert cli(*line, "--wandb-project", "heads").code == 0
    (record,) = Store(tmp_path / "results").records()
    kinds = [kind for kind, _ in Keeps.given]
    assert kinds == ["hyper-parameters", *[int(row["epoch"]) for row in record.training.history], 3, "success"]
    assert dict(Keeps.given)["hyper-parameters"] == record.identity.hyperparameters
    assert dict(Keeps.given)[3]["test/accuracy"] == record.metrics["test"]["accuracy"]
    assert dict(Keeps.given)["success"][1:] == ("ce", record.id, "heads")
    Keeps.given = []
    assert cli(*line).code == 0
    assert Keeps.given == []  # it was logged


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_loggers.NoLogger", "no class of Lightning's Logger"),
        ("my_loggers.Missing", "has no class 'Missing'"),
        ("tensorbord", "none of csv, wandb, tensorboard, mlflow"),
    ],
)
def test_a_logger_that_is_none_is_refused_before_anything_is_fitted(cli, small_cache, tmp_path, loggers, name, message):
    done = cli("run", "--strategy", "joint", "--cache", "small", "--logger", name)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named(cli, small_cache, monkeypatch, name):
    monkeypatch.setattr("lt_bench.bench.any_logger.importlib.util.find_spec", lambda name: None)
    done = cli("run", "--strategy", "joint", "--cache", "small", "--logger", name)
    assert (done.code, done.err) == (2, f"lt-bench: --logger {name} needs the package {name}: pip install {name}\n")
