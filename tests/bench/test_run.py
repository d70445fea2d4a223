"""``lt-bench run`` and ``verify``, end to end on a small cache."""

import csv
import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from lt_bench.bench.execute import fit_and_record
from lt_bench.bench.planning import plan
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.core.identity import record_id
from lt_bench.core.seals import sealed
from lt_bench.engine.heads import fit
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import FeatureCache, open_cache
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find

FAST = ("--cache", "small", "--strategy.epochs", "2", "--accelerator", "cpu")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def records(folder):
    return {record.identity.seed: record for record in Store(folder).records()}


def test_an_analysis_records_the_course_of_the_fit(cli, small_cache, tmp_path):
    for strategy, epochs in (("los", [0, 1, 2]), ("joint", [0])):
        fast = FAST if strategy == "los" else FAST[:2] + FAST[-2:]
        assert cli("run", "--strategy", strategy, *fast, "--analysis", "true").code == 0
        store = Store(tmp_path / "results")
        arrays = store.arrays(next(record for record in store.records() if record.strategy.name == strategy))
        assert arrays["course/epoch"].tolist() == epochs
        for name in ("weight_norm", "feature_norm", "cosine"):
            assert arrays[f"course/{name}"].shape == (len(epochs), 6)
            np.testing.assert_allclose(arrays[f"course/{name}"][-1], arrays[f"train/{name}"], rtol=1e-6)
    assert store.validate() == []


def test_stacks_that_take_no_epochs_have_each_their_own_course(small_cache, tmp_path):
    bench, store = CacheSource(open_cache(small_cache), Hardware("cpu")), Store(tmp_path / "results")
    runs = [
        run for most in (1, 2) for run in plan(find("convex_la"), bench.manifest, {"iterations": most}, [0])
    ]  # integers are not stacked
    assert fit_and_record(bench, runs, store, lambda record: None, analysis=True) == []
    for run in runs:
        arrays = store.arrays(store.load(run.id))
        np.testing.assert_allclose(arrays["course/weight_norm"][-1], arrays["train/weight_norm"], rtol=1e-6)


def test_an_analysis_of_what_was_recorded_without_one_is_refused(cli, small_cache):
    assert cli("run", "--strategy", "los", *FAST).code == 0
    done = cli("run", "--strategy", "los", *FAST, "--analysis", "true")
    assert done.code == 2
    assert "recorded without --analysis" in done.err


def test_run_records_every_seed_with_its_arrays(cli, small_cache, tmp_path):
    done = cli("run", "--strategy", "los", *FAST, "--seeds", "0,1", "--strategy.epsilon", "0.9")
    assert (done.code, done.err) == (0, "")
    assert "LoMa" in done.out
    store = Store(tmp_path / "results")
    assert store.validate() == []
    found = records(tmp_path / "results")
    assert set(found) == {0, 1}
    record = found[1]
    cache = open_cache(small_cache)
    assert record.identity.hyperparameters["epsilon"] == 0.9
    assert record.identity.hyperparameters["lr"] == 5e-4
    assert (record.identity.cache_key, record.cache.views) == (cache.key, ["plain", "aug1", "aug2"])
    assert (record.dataset.n_train, record.dataset.n_val, record.dataset.n_test) == (145, 25, 42)
    assert set(record.metrics) == {"test", "train", "val", "test_flip"}
    assert record.tuning.kind == "user"
    assert (record.seeds.repetition, record.seeds.order, record.seeds.varies) == (1, 1, "batch order, one backbone")
    assert record.training.trained_parameters == 6 * 8 + 6
    assert (record.training.epochs, record.training.steps) == (2, 2 * 3)
    assert [row["epoch"] for row in record.training.history] == [0, 1]
    arrays = store.arrays(record)
    labels = cache.split("test").labels.numpy()
    assert arrays["test_labels"].tolist() == labels.tolist()
    assert record.metrics["test"]["accuracy"] == pytest.approx((arrays["test_predictions"] == labels).mean())
    assert record.metrics["test"]["macro_accuracy"] == pytest.approx(np.nanmean(arrays["test/class_accuracy"]))
    assert arrays["train/loma_column"].shape == (6,)
    with (tmp_path / "results" / "logs" / "los" / record.id / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["train/loss"]) == pytest.approx(record.training.history[0]["loss"])
    assert float(rows[-1]["test/accuracy"]) == pytest.approx(record.metrics["test"]["accuracy"])


def test_joint_is_the_stage_1_head(cli, small_cache, tmp_path):
    assert cli("run", "--strategy", "joint", "--dataset", "embeddings", "--cache", "small", "--seeds", "0,1,2").code == 0
    (record,) = Store(tmp_path / "results").records()  # it has no randomness: one run
    cache = open_cache(small_cache)
    head, test = cache.head(), cache.split("test")
    predictions = (test.view("plain") @ head.weight.T + head.bias).argmax(1)
    assert record.metrics["test"]["accuracy"] == pytest.approx(float((predictions == test.labels).double().mean()))
    flipped = ((test.view("plain") + test.view("flip")) / 2 @ head.weight.T + head.bias).argmax(1)
    assert record.metrics["test_flip"]["accuracy"] == pytest.approx(float((flipped == test.labels).double().mean()))
    assert (record.seeds.varies, record.training.steps, record.tuning.kind) == (None, 0, "official")


def test_several_strategies_in_one_run(cli, small_cache, tmp_path):
    done = cli("run", "--strategy", "ncm,joint,tau_norm", "--cache", "small", "--accelerator", "cpu")
    assert done.code == 0, done.err
    assert sorted(record.strategy.name for record in Store(tmp_path / "results").records()) == ["joint", "ncm", "tau_norm"]
    assert all(name in done.out for name in ("joint", "ncm", "tau_norm"))
    for words, message in (
        (("ncm,jiont",), "unknown strategy 'jiont' (did you mean 'joint'?)"),
        (("ncm,los", "--strategy.lr", "0.1"), "--strategy.lr: several strategies run with their own hyper-parameters"),
    ):
        wrong = cli("run", "--strategy", *words, "--cache", "small")
        assert (wrong.code, wrong.err.count("\n")) == (2, 1)
        assert message in wrong.err


def test_one_of_several_that_fails_does_not_end_the_others(cli, make_cache, tmp_path):
    make_cache(tmp_path / "bare", without=("head", "val"))
    done = cli("run", "--strategy", "joint,ncm", "--cache", str(tmp_path / "bare"))
    assert done.code == 2
    assert "joint starts from the stage-1 head and there is none" in done.err
    assert "ncm" in done.out
    assert [record.strategy.name for record in Store(tmp_path / "results").records()] == ["ncm"]


def test_a_cache_larger_than_memory_is_read_from_disk(cli, small_cache, tmp_path, monkeypatch):
    line = ("run", "--strategy", "ce,ncm", "--cache", "small", "--accelerator", "cpu")
    assert cli(*line, "--results", "loaded").code == 0
    monkeypatch.setattr("lt_bench.bench.sources.cache.feature_memory", lambda device, processes: 0)
    seen = []
    real = FeatureCache.split
    monkeypatch.setattr(FeatureCache, "split", lambda self, name, **more: seen.append(more["mapped"]) or real(self, name, **more))
    assert cli(*line, "--results", "mapped").code == 0
    assert set(seen) == {True}
    loaded, mapped = ({r.strategy.name: r.metrics for r in Store(tmp_path / name).records()} for name in ("loaded", "mapped"))
    assert loaded == mapped


def test_a_recorded_run_is_fitted_again_on_request_and_repeats(cli, tmp_path, small_cache):
    line = ("run", "--strategy", "ce", *FAST)
    assert cli(*line, "--seeds", "0,1").code == 0
    before = {name: (tmp_path / "results" / name).read_bytes() for name in files(tmp_path / "results")}
    again = cli(*line, "--seeds", "0,1,2", "--again")
    assert (again.code, again.err) == (0, "")
    assert "2 of 3 were recorded in results before and fitted again; 2 repeat, the largest difference of a metric is" in again.out
    assert {name: (tmp_path / "results" / name).read_bytes() for name in before} == before
    assert sorted(records(tmp_path / "results")) == [0, 1, 2]
    first = cli(*line, "--seeds", "0", "--again", "--results", "fresh")
    assert (first.code, "before" in first.out) == (0, False)


def test_a_run_that_does_not_repeat_leaves_the_record(cli, recorded, tmp_path):
    """Here it was sealed anew with another figure."""
    document = json.loads(recorded.read_text())
    document["metrics"]["test"]["nll"] += 0.5
    recorded.write_text(json.dumps(sealed(document)))
    before = recorded.read_bytes(), files(tmp_path / "results")
    done = cli("run", "--strategy", "d_ffds", *FAST, "--strategy.milestones", "1", "--seeds", "4", "--again")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "does not repeat: test/nll differs most" in done.err
    assert "the record stays as it is" in done.err
    assert (recorded.read_bytes(), files(tmp_path / "results")) == before


def test_what_is_recorded_is_not_fitted_again(cli, tmp_path, small_cache, monkeypatch):
    line = ("run", "--strategy", "ce", *FAST)
    assert cli(*line, "--seeds", "0,1").code == 0
    before = files(tmp_path / "results")
    stamps = [(tmp_path / "results" / name).stat().st_mtime_ns for name in before]
    again = cli(*line, "--seeds", "0,1,2")
    assert (again.code, again.err) == (0, "")
    assert "2 of 3 were recorded in results before and not fitted again" in again.out
    assert [(tmp_path / "results" / name).stat().st_mtime_ns for name in before] == stamps
    assert len(list(Store(tmp_path / "results").records())) == 3
    monkeypatch.setattr("lt_bench.bench.sources.cache.fit_heads", None)  # nothing is left to fit
    assert cli(*line, "--seeds", "0,1,2").code == 0
    unused = cli(*line, "--seeds", "0,1,2", "--devices", "2")
    assert "3 of 3 were recorded in results before and not fitted again; nothing was left for --devices 2; --again fits them" in unused.out


def test_the_same_run_twice_gives_identical_metrics(cli, small_cache, tmp_path):
    for results in ("one", "two"):
        assert cli("run", "--strategy", "gcl", *FAST, "--results", results, "--seeds", "0,1").code == 0
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    for seed in (0, 1):
        assert one[seed].id == two[seed].id
        assert json.dumps(one[seed].metrics) == json.dumps(two[seed].metrics)
        assert one[seed].training.history == two[seed].training.history


def test_the_command_of_a_record_makes_it_again(cli, small_cache, tmp_path):
    assert (
        cli("run", "--strategy", "d_ffds", *FAST, "--seeds", "3", "--strategy.schedule", "step", "--strategy.milestones", "1,2").code == 0
    )
    (record,) = Store(tmp_path / "results").records()
    assert cli(*shlex.split(record.command)[1:], "--results", "again").code == 0
    (again,) = Store(tmp_path / "again").records()
    assert again.id == record.id


def test_commands_name_a_cache_elsewhere_by_its_path(cli, make_cache, tmp_path):
    """As `pretrain` leaves it: the name of the cache leads nowhere; run, suites and tunings say the path, and `verify` and `export` follow it."""
    make_cache(tmp_path / "gt20_stage1" / "cache", name="gt20_stage1", transform={"evaluation": "imported features", "augmentation": ""})
    assert cli("run", "--strategy", "ncm", "--cache", "gt20_stage1/cache", "--results", "first").code == 0
    (path,) = Store(tmp_path / "first").paths()
    command = shlex.split(json.loads(path.read_text())["command"])
    assert cli(*command[1:], "--results", "second").code == 0
    assert [one.name for one in Store(tmp_path / "second").paths()] == [path.name]
    assert cli("verify", str(path)).code == 0
    assert cli("export", "--record", str(path), "--out", "export").code == 0
    (tmp_path / "s.yaml").write_text("caches: [{cache: gt20_stage1/cache}]\nstrategies: [joint]\nseeds: [0]\n")
    assert cli("bench", "s.yaml", "--results", "third").code == 0
    (of_suite,) = Store(tmp_path / "third").paths()
    assert "--cache gt20_stage1/cache " in json.loads(of_suite.read_text())["command"]
    done = cli("tune", "--strategy", "tau_norm", "--cache", "gt20_stage1/cache", "--results", "first")
    assert done.code == 0, done.err
    (tuning,) = (tmp_path / "first" / "tuning").glob("*.json")
    assert "--cache gt20_stage1/cache " in json.loads(tuning.read_text())["command"]


def test_a_run_with_less_exact_products_is_another_run_and_says_so(cli, small_cache, tmp_path, monkeypatch):
    used, real = [], fit.computing
    monkeypatch.setattr(fit, "computing", lambda matmul: (used.append(matmul), real(matmul))[1])
    for matmul in ("medium", "highest"):
        assert cli("run", "--strategy", "ce", *FAST, "--matmul", matmul).code == 0
    assert used == ["medium", "highest"]
    refused = cli("run", "--strategy", "joint", "--cache", "small", "--matmul", "medium")
    assert refused.code == 2
    assert "nothing is fitted by steps in joint" in refused.err
    of_ce = [record for record in Store(tmp_path / "results").records() if record.identity.strategy == "ce"]
    assert sorted(record.identity.hyperparameters.get("matmul", "") for record in of_ce) == ["", "medium"]
    (medium,) = [record for record in of_ce if "matmul" in record.identity.hyperparameters]
    assert cli("verify", str(Store(tmp_path / "results").path(medium))).code == 0
    assert used[2:] == ["medium"]
    assert cli(*shlex.split(medium.command)[1:], "--results", "again").code == 0
    assert [record.id for record in Store(tmp_path / "again").records()] == [medium.id]


def test_a_parameter_that_never_has_a_gradient_is_named(cli, small_cache, tmp_path):
    (tmp_path / "own_of_run.py").write_text(
        '"""Mine."""\n\nimport torch\n\nfrom lt_bench.strategies.ce import CE\n\n\nclass Idle(CE):\n    """Mine."""\n\n'
        '    name = "idle"\n\n    def __init__(self, facts, **recipe):\n        super().__init__(facts, **recipe)\n'
        "        self.extra = torch.nn.Parameter(torch.zeros(self.leading))\n"
    )
    done = cli("run", "--strategy", "own_of_run.Idle", *FAST)
    assert done.code == 0
    marked, said = done.err.splitlines()
    assert marked.startswith("lt-bench: own_of_run.Idle fails `lt-bench check`, so its rows are marked; gradients: ")
    assert said.endswith("seed 0: the fit looks wrong: the loss does not depend on extra, which is trainable; `lt-bench check` says more")


@pytest.mark.parametrize("strategy", ["ce", "joint"])
def test_a_cache_without_a_head(cli, make_cache, tmp_path, strategy):
    make_cache(tmp_path / "bare", without=("head", "val"))
    done = cli("run", "--strategy", strategy, "--cache", str(tmp_path / "bare"))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert f"{strategy} starts from the stage-1 head and there is none" in done.err
    assert [name for name in files(tmp_path / "results") if name.endswith(".json")] == []


def test_a_random_head_needs_no_stage_1_head_and_val_is_optional(cli, make_cache, tmp_path):
    make_cache(tmp_path / "bare", without=("head", "val", "test/features/flip"))
    assert cli("run", "--strategy", "crt", "--cache", str(tmp_path / "bare"), "--strategy.epochs", "1").code == 0
    (record,) = Store(tmp_path / "results").records()
    assert set(record.metrics) == {"test", "train"}
    assert record.dataset.n_val == 0


def test_a_diverged_seed_is_not_recorded_and_named(cli, small_cache, tmp_path):
    done = cli("run", "--strategy", "ce", *FAST, "--strategy.lr", "1e38", "--strategy.weight_decay", "1e38", "--seeds", "0,1")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "ce (user), seed 0: ce: the fit diverged" in done.err
    assert "seed 1" in done.err
    assert files(tmp_path / "results") == []


def test_a_full_disk_leaves_no_record(cli, small_cache, tmp_path, monkeypatch):
    def full(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lt_bench.results.store.write_atomic", full)
    done = cli("run", "--strategy", "ce", *FAST)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "No space left on device" in done.err
    assert files(tmp_path / "results") == []


def test_several_caches_that_fit_are_listed(cli, make_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path))
    for name in ("one", "two"):
        make_cache(tmp_path / "caches" / name)
    done = cli("run", "--strategy", "joint", "--dataset", "embeddings")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "2 caches of embeddings fit, name one with --cache: one (invented, " in done.err
    assert "two (invented" in done.err


TWO = """
import sys
import lt_bench.__main__ as command
from lt_bench.core.lean_import import ON_THE_SIDE

def main(done=command.main):
    code = done()
    beside = sorted({name.partition(".")[0] for name in sys.modules} & set(ON_THE_SIDE) - {"scipy"})  # of which parts are in use
    print(f"on the side: {beside}\\n", end="")  # in one piece, as two processes print
    return code

command.main = main
command.start()
"""


def test_two_devices_give_what_one_gives(cli, small_cache, tmp_path):
    """Through Lightning's own launcher, which starts the command again for the second process."""
    (tmp_path / "lt-bench.py").write_text(TWO)
    line = ["run", "--strategy", "la_loss", *FAST, "--seeds", "0,1", "--strategy.batch_size", "36"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "lt-bench.py", *line, "--devices", "2", "--results", "two"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("records: ") == 1  # the second process is silent
    assert done.stdout.splitlines()[-1] == "on the side: []"  # a command imports neither of these with TorchMetrics
    assert cli(*line, "--results", "one").code == 0
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    for seed in (0, 1):
        assert one[seed].id == two[seed].id
        assert two[seed].environment["devices"] == 2
        for view, metrics in one[seed].metrics.items():
            for name, value in metrics.items():
                assert two[seed].metrics[view][name] == pytest.approx(value, abs=1e-5, rel=1e-5, nan_ok=True), (view, name)


# ---- verify ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(cli, small_cache, tmp_path):
    assert cli("run", "--strategy", "d_ffds", *FAST, "--strategy.milestones", "1", "--seeds", "4").code == 0
    (path,) = Store(tmp_path / "results").paths()
    return path


def test_verify_repeats_a_record(cli, recorded):
    done = cli("verify", str(recorded))
    assert (done.code, done.err) == (0, "")
    assert "metrics compared; all are the same to the last digit, tolerance" in done.out


@pytest.mark.parametrize(
    ("view", "name", "change"), [("test", "accuracy", 1e-3), ("train", "loma_column_mean", -1e-3), ("val", "few", None)]
)
def test_verify_detects_a_changed_metric(cli, recorded, view, name, change):
    document = json.loads(recorded.read_text())
    value = document["metrics"][view][name]
    document["metrics"][view][name] = None if change is None else value + change
    recorded.write_text(json.dumps(sealed(document)))
    done = cli("verify", str(recorded))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"does not repeat: {view}/{name} differs by" in done.err
    assert cli("verify", str(recorded), "--tolerance", "0.01").code == (2 if change is None else 0)


def test_verify_names_arrays_that_were_altered(cli, recorded):
    """Metrics are the record's own, and so is what a board is computed of: the arrays beside it."""
    side = recorded.with_suffix(".npz")
    content = bytearray(side.read_bytes())
    content[len(content) // 2] ^= 1
    side.write_bytes(content)
    done = cli("verify", str(recorded))
    assert done.code == 2
    assert done.err.startswith(f"lt-bench: {side}: ")
    assert done.err.count("\n") == 1
    side.unlink()
    assert cli("verify", str(recorded)).code == 0, "a record may be repeated without them"


def test_verify_needs_the_same_cache(cli, recorded, make_cache, tmp_path, monkeypatch):
    other = make_cache(tmp_path / "other", dtype="float16")
    done = cli("verify", str(recorded), "--cache", str(other))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "and the record was measured on" in done.err
    monkeypatch.setenv("LT_BENCH_HOME", str(tmp_path / "elsewhere"))
    done = cli("verify", str(recorded))
    assert done.code == 2
    assert "the record's cache small (key" in done.err


def test_verify_a_record_of_a_strategy_that_changed(cli, recorded):
    document = json.loads(recorded.read_text())
    document["identity"]["hyperparameters"]["gone"] = 1.0
    document["id"] = record_id(document["identity"])
    path = recorded.with_name(f"d_ffds-{document['id']}.json")
    path.write_text(json.dumps(sealed(document)))
    done = cli("verify", str(path))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "d_ffds has no hyper-parameter 'gone'" in done.err


def test_frozen_means_frozen(small_cache, cli):
    """No verb changes the cache."""
    before = {path.name: path.read_bytes() for path in small_cache.iterdir()}
    assert cli("run", "--strategy", "ce", *FAST).code == 0
    assert {path.name: path.read_bytes() for path in small_cache.iterdir()} == before
    assert torch.equal(open_cache(small_cache).split("test").rows, torch.arange(42))
