"""``lt-bench bench``: what a suite may say, resuming, and failures that do not end it."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import submitit

from lt_bench.bench.options import CacheOptions
from lt_bench.bench.planning import plan
from lt_bench.bench.requirements import suite_path
from lt_bench.bench.slurm import Jobs, parameters
from lt_bench.bench.sources import cache as heads
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.run import read_suite, run_suite
from lt_bench.bench.suite.sharing import WORKER_BYTES, WORKER_FLOP, Work, environments, work_of, workers_for
from lt_bench.bench.suite.units import Fitter, Unit, Watcher, fit_units
from lt_bench.bench.workers import Death, Workers
from lt_bench.core.errors import UserError
from lt_bench.engine.heads import fit
from lt_bench.engine.heads.fit import Hardware
from lt_bench.features.cache import open_cache
from lt_bench.features.locate import shipped
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find

OWN = '''
from lt_bench.strategies.contract import Facts, Strategy
from lt_bench.strategies.recipe import Recipe


class Good(Strategy):
    """Good: ``l_i = CE(z_i, y)``."""

    name = "good"
    recipe = Recipe(lr=0.01, epochs=1)


class Bad(Good):
    """Bad: raises what a mistake in a strategy raises."""

    name = "bad"

    def loss(self, logits, batch):
        return logits @ batch.labels
'''


@pytest.fixture
def suite(tmp_path):
    def write(text):
        path = tmp_path / "suite.yaml"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def recorded(folder):
    return sorted((record.strategy.name, record.identity.seed, record.tuning.kind) for record in Store(folder).records())


def test_a_suite_runs_and_resumes(cli, suite, small_cache, tmp_path, monkeypatch):
    path = suite("""
        caches: [{cache: small}]
        strategies: [joint, {name: los, epochs: 2, lr: 1e-2}, {name: ce, epochs: 2}]
        seeds: [0, 1]
    """)
    assert cli("run", "--strategy", "los", "--cache", "small", "--strategy.epochs", "2", "--strategy.lr", "0.01").code == 0
    done = cli("bench", path, "--accelerator", "cpu")
    assert done.code == 0
    assert "5 records of" in done.out
    everything = [("ce", 0, "user"), ("ce", 1, "user"), ("joint", 0, "official"), ("los", 0, "user"), ("los", 1, "user")]
    assert recorded(tmp_path / "results") == everything
    stamps = {path: path.stat().st_mtime_ns for path in Store(tmp_path / "results").paths()}
    monkeypatch.setattr("lt_bench.bench.sources.cache.fit_heads", None)  # nothing is left to fit
    assert cli("bench", path).code == 0
    assert {path: path.stat().st_mtime_ns for path in Store(tmp_path / "results").paths()} == stamps


def test_what_is_not_here_is_listed_and_the_rest_runs(cli, suite, small_cache, tmp_path):
    (tmp_path / "data").mkdir()
    path = suite("""
        caches:
          - {dataset: imagenet_lt, backbone: paco, weights: stage1/paco.pth.tar, data_dir: data}
          - {cache: small}
          - {cache: nowhere}
        strategies: [joint]
    """)
    done = cli("bench", path)
    assert done.code == 2
    assert recorded(tmp_path / "results") == [("joint", 0, "official")]
    paco, nowhere, last = done.err.splitlines()
    assert "not here: imagenet_lt paco: stage1/paco.pth.tar: no such weights file of PaCo" in paco
    assert "linked from the repository" in paco
    assert "Parametric-Contrastive-Learning" in paco
    assert "no cache 'nowhere'" in nowhere
    assert "incomplete: 2 of its 3 caches are not here (imagenet_lt paco, nowhere)" in last


def test_a_suite_says_how_exact_products_are(cli, suite, small_cache, tmp_path, monkeypatch):
    used, real = [], fit.computing
    monkeypatch.setattr(fit, "computing", lambda matmul: (used.append(matmul), real(matmul))[1])
    path = suite(
        "{caches: [{cache: small}], strategies: [joint, {name: ce, epochs: 1}, {name: cb, epochs: 1}], seeds: [0], matmul: medium}"
    )
    assert cli("bench", path, "--accelerator", "cpu").code == 0
    assert set(used) == {"medium"}
    said = {record.identity.strategy: record.identity.hyperparameters.get("matmul") for record in Store(tmp_path / "results").records()}
    assert said == {"joint": None, "ce": "medium", "cb": "medium"}  # the first multiplies nothing while it is fitted
    refused = cli("bench", suite("{caches: [{cache: small}], strategies: [ce], matmul: low}"))
    assert refused.code == 2
    assert "matmul" in refused.err


def test_an_interrupted_suite_goes_on(cli, suite, small_cache, tmp_path, monkeypatch):
    path = suite("{caches: [{cache: small}], strategies: [joint, {name: ce, epochs: 1}, {name: cb, epochs: 1}], seeds: [0]}")
    real = heads.fit_heads

    def interrupted(pool, *arguments, **more):
        if pool[0][0].entry.name == "cb":
            raise KeyboardInterrupt
        return real(pool, *arguments, **more)

    monkeypatch.setattr(heads, "fit_heads", interrupted)
    assert cli("bench", path).code == 130
    assert recorded(tmp_path / "results") == [("ce", 0, "user"), ("joint", 0, "official")]
    monkeypatch.setattr(heads, "fit_heads", real)
    assert cli("bench", path).code == 0
    assert len(recorded(tmp_path / "results")) == 3


def test_failing_runs_are_named_at_the_end_and_the_others_recorded(cli, suite, small_cache, tmp_path):
    (tmp_path / "own_of_bench.py").write_text(OWN)
    path = suite("""
        caches: [{cache: small}]
        strategies:
          - {name: ce, epochs: 2, lr: 1e38, weight_decay: 1e38}
          - own_of_bench.Bad
          - {name: los, epsilon: 2}
          - own_of_bench.Good
          - joint
        seeds: [0, 1]
    """)
    done = cli("bench", path)
    assert done.code == 2
    assert done.err.startswith("lt-bench: 4 of the suite failed and are not recorded: ")
    assert done.err.count("\n") == 1
    assert "ce (user), seed 0: ce: the fit diverged" in done.err
    assert "ce (user), seed 1: ce: the fit diverged" in done.err
    assert "own_of_bench.Bad (inferred): RuntimeError in" in done.err
    assert "own_of_bench.py:19 (loss)" in done.err
    assert "los (user): los.epsilon is 2.0" in done.err
    assert "Traceback" not in done.err
    good = ("own_of_bench.Good", 0, "inferred"), ("own_of_bench.Good", 1, "inferred")
    assert recorded(tmp_path / "results") == [("joint", 0, "official"), *good]


def test_tuned_rows_need_a_tuning(cli, suite, small_cache, tmp_path):
    path = suite("{caches: [{cache: small}], strategies: [joint, tau_norm, logit_adjustment], hyperparameters: [own, tuned]}")
    assert cli("tune", "--strategy", "tau_norm", "--cache", "small").code == 0
    done = cli("bench", path)
    assert done.code == 2
    assert "1 of the suite failed" in done.err
    assert "logit_adjustment: not tuned on small; run `lt-bench tune --strategy logit_adjustment --cache small`" in done.err
    names = {(name, kind) for name, _, kind in recorded(tmp_path / "results")}
    assert {("joint", "official"), ("tau_norm", "tuned")} <= names
    assert ("logit_adjustment", "tuned") not in names


def test_what_cannot_be_tuned_is_part_of_a_suite_of_tuned_ones(cli, suite, small_cache, tmp_path):
    strategies = "[joint, tau_norm, {name: logit_adjustment, tau: 0.5}]"
    path = suite(f"{{caches: [{{cache: small}}], strategies: {strategies}, hyperparameters: [tuned]}}")
    assert cli("tune", "--strategy", "tau_norm", "--cache", "small").code == 0
    assert cli("bench", path).code == 0
    assert recorded(tmp_path / "results") == [("joint", 0, "official"), ("logit_adjustment", 0, "user"), ("tau_norm", 0, "tuned")]


SUITES = {
    "not YAML": ("caches: [", "not YAML"),
    "a list": ("- los", "a suite needs `strategies` and `caches`"),
    "no caches": ("strategies: all", "a suite needs `strategies` and `caches`"),
    "misspelt": ("{strategys: all, caches: []}", r"no field 'strategys' \(did you mean 'strategies'\?\)"),
    "field": ("{strategies: all, caches: [], strategy: los}", r"no field 'strategy' \(did you mean 'strategies'\?\)"),
    "caches": ("{strategies: all, caches: [small]}", "caches: expected a list of mappings"),
    "cache option": ("{strategies: all, caches: [{cach: small}]}", "'cach' is not accepted"),
    "cache value": ("{strategies: all, caches: [{imbalance_factor: ten}]}", "imbalance_factor.*ten"),
    "strategies": ("{strategies: los, caches: []}", "Given value: los"),
    "no name": ("{strategies: [{epsilon: 0.5}], caches: []}", "neither a name nor a mapping with a `name`"),
    "seeds": ("{strategies: all, caches: [], seeds: [a]}", '"seeds": Expected a int. Got value: a'),
    "one seed": ("{strategies: all, caches: [], seeds: 3}", '"seeds": Expected a list. Got value: 3'),
    "kind": ("{strategies: all, caches: [], hyperparameters: [best]}", '"hyperparameters": .*Got value: best'),
}


@pytest.mark.parametrize("fault", SUITES)
def test_a_suite_that_is_none(cli, suite, fault):
    text, message = SUITES[fault]
    path = suite(text)
    with pytest.raises(UserError, match=message) as caught:
        read_suite(Path(path))
    assert "\n" not in str(caught.value)
    assert path in str(caught.value)
    assert cli("bench", path).code == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("loss", r"unknown strategy 'loss' \(did you mean 'los'\?\)"),
        ("{name: los, epsilom: 0.5}", "los has no hyper-parameter 'epsilom'"),
        ("{name: los, epsilon: much}", 'los: "epsilon": Expected a float. Got value: much'),
    ],
)
def test_a_mistake_in_a_strategy_of_the_suite_is_found_before_anything_runs(cli, suite, small_cache, tmp_path, item, message):
    done = cli("bench", suite(f"{{caches: [{{cache: small}}], strategies: [joint, {item}]}}"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert re.search(message, done.err), done.err
    assert not (tmp_path / "results").exists()


def test_the_shipped_suites_can_be_read():
    for path in shipped("suites").glob("*.yaml"):
        found = read_suite(path)
        assert found.description
        for item in [] if found.strategies == "all" else found.strategies:
            find(item if isinstance(item, str) else item["name"])
    suite = read_suite(suite_path("shipped"))
    assert suite.seeds == [0, 1, 2]
    assert suite.hyperparameters == ["own", "tuned"]
    assert suite.caches == [CacheOptions(dataset="cifar100_lt", imbalance_factor=100.0)]


DYING = '''
import os
import signal
from pathlib import Path

from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.recipe import Recipe


class Once(Strategy):
    """Once: the first process that fits it is killed."""

    name = "once"
    stackable = True
    recipe = Recipe(lr=0.01, epochs=1)

    def begin(self, train):
        if not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Always(Once):
    """Always: every process that fits it is killed."""

    name = "always"

    def begin(self, train):
        os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def dying(tmp_path):
    """A module of strategies that kill their process."""
    (tmp_path / "dying.py").write_text(DYING)
    yield
    sys.modules.pop("dying", None)


def measured(folder):
    """Everything of records that does not tell where and when they were made, and their arrays."""
    store, found = Store(folder), {}
    for record in store.records():
        arrays = {name: array.tobytes() for name, array in store.arrays(record).items()}
        found[record.id] = record.metrics, record.seeds, record.training, record.command, arrays
    return found


def test_two_workers_record_what_one_does_and_outlive_a_killed_one(cli, suite, small_cache, dying, tmp_path):
    path = suite("{caches: [{cache: small}], strategies: [joint, {name: ce, epochs: 2}, dying.Once], seeds: [0, 1]}")
    done = cli("bench", path, "--workers", "2", "--accelerator", "cpu", "--results", "two")
    said = [line for line in done.err.splitlines() if " fits, small" not in line]  # progress, on a slow machine
    assert (done.code, said) == (0, ["lt-bench: a worker died (SIGKILL); begun again: dying.Once (inferred), seeds 0, 1"])
    assert (tmp_path / "killed").exists()
    assert "; 5 of the runs were shared by 2 workers" in done.out
    assert cli("bench", path, "--workers", "1", "--accelerator", "cpu", "--results", "one").code == 0
    assert len(measured("one")) == 5
    np.testing.assert_equal(measured("two"), measured("one"))
    assert Store("two").validate() == []


def test_what_kills_every_worker_is_named_and_not_recorded(cli, suite, small_cache, tmp_path, monkeypatch):
    class Deadly(Workers):
        def outcomes(self, units):
            for unit in units:
                yield 0, unit, Death("SIGKILL") if "ce" in unit.name else self._do(unit)

    monkeypatch.setattr("lt_bench.bench.suite.units.Workers", Deadly)
    path = suite("{caches: [{cache: small}], strategies: [{name: ce, epochs: 1}, joint], seeds: [0, 1]}")
    done = cli("bench", path, "--workers", "2")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "1 of the suite failed and are not recorded: ce (user), seeds 0, 1: its worker died 2 times (SIGKILL)" in done.err
    assert recorded(tmp_path / "results") == [("joint", 0, "official")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "0"), "workers is 0, expected at least 1"),
        (("--workers", "2", "--devices", "2"), "--devices shares every fit between processes"),
        (("--slurm", "x", "--devices", "2"), "--devices shares every fit between processes"),
        (("--slurm", "x"), "SLURM cannot be used here: Could not detect"),
        (("--slurm", "x", "--slurm-options", "timeout_min"), "'timeout_min' is not NAME=VALUE"),
        (("--slurm", "x", "--slurm-options", "time=3"), "SLURM cannot be used here: "),
    ],
)
def test_workers_that_cannot_be(cli, suite, small_cache, tmp_path, options, message):
    done = cli("bench", suite("{caches: [{cache: small}], strategies: [joint], seeds: [0]}"), *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def on_cluster(monkeypatch, cluster):
    """submitit's stand-ins for SLURM: ``debug`` runs jobs in this process, ``local`` as processes of this machine."""
    real = submitit.AutoExecutor
    monkeypatch.setattr(submitit, "AutoExecutor", lambda **options: real(**options | {"cluster": cluster}))


def test_a_worker_has_its_share_of_threads_and_one_gpu(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    threads = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert environments(3, Hardware()) == [threads] * 3
    with monkeypatch.context() as container:
        container.setattr("lt_bench.bench.suite.sharing.core_quota", lambda: 4.5)
        assert environments(2, Hardware()) == [threads] * 2
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environments(3, Hardware()) == [{**threads, "CUDA_VISIBLE_DEVICES": device} for device in "010"]
    some = [Work(flop=1.0, product=1.0, features=1)]
    assert workers_for(Hardware(), some) == 2
    assert workers_for(Hardware(devices=2), some) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments(2, Hardware())] == ["5", "3"]


@pytest.mark.parametrize(
    ("flop", "product", "features", "workers"),
    [
        (100 * WORKER_FLOP, 1e7, 0, 8),  # a head of CIFAR's size keeps one core busy
        (100 * WORKER_FLOP, 6.5e8, 0, 2),  # this one three
        (100 * WORKER_FLOP, 1e12, 0, 1),
        (2.9 * WORKER_FLOP, 1e7, 0, 5),  # two such pools, of 20 s a worker
        (100 * WORKER_FLOP, 1e7, 2 * WORKER_BYTES, 6),
        (0.0, 0.0, 0, 1),
    ],
)
def test_workers_on_the_cpu_are_as_many_as_cores_memory_and_work_suggest(monkeypatch, flop, product, features, workers):
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("lt_bench.bench.suite.sharing.feature_memory", lambda device: 20 * WORKER_BYTES)
    works = [Work(flop, product, features), Work(flop, product, 0)]
    monkeypatch.setattr("lt_bench.bench.suite.sharing.core_quota", lambda: float("inf"))
    assert workers_for(Hardware(), works) == workers
    assert workers_for(Hardware(), []) == 1
    monkeypatch.setattr("lt_bench.bench.suite.sharing.core_quota", lambda: 1.5)
    assert workers_for(Hardware(), works) == 1


def test_a_suite_takes_the_idle_cores_of_itself_and_begins_with_the_longest_pool(cli, suite, small_cache, tmp_path, monkeypatch):
    given, asked = [], []

    class Recorder:
        def __init__(self, do, environments, *told):
            asked.append([environment["OMP_NUM_THREADS"] for environment in environments])

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def outcomes(self, units):
            given.extend(unit.name for unit in units)
            return ((0, unit, []) for unit in units)

    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)  # a fit gives back the number that it was told
    monkeypatch.setattr("lt_bench.bench.suite.sharing.WORKER_FLOP", 1.0)
    monkeypatch.setattr("lt_bench.bench.suite.units.Workers", Recorder)
    path = suite("{caches: [{cache: small}], strategies: [joint, {name: ce, epochs: 1}, {name: crt, epochs: 3}, ncm], seeds: [0]}")
    cli("bench", path, "--accelerator", "cpu")
    assert asked == [["1", "1"]]
    assert [name.split()[0] for name in given] == ["ncm", "crt", "ce", "joint"]
    run_suite(read_suite(Path(path)), Store(tmp_path / "by_a_script"), Hardware("cpu"))
    assert len(asked) == 1
    assert len(recorded(tmp_path / "by_a_script")) == 4


def test_caches_are_done_one_after_the_other(monkeypatch):
    works = [Work(1.0, 1.0, 1), Work(3.0, 1.0, 1), Work(0.0, 1.0, 1, solves=True)]
    units = [Unit(Path(cache), "cpu", 1, (), work) for work in works for cache in ("first", "second")]
    seen = []

    class Recorder(Workers):
        def outcomes(self, units):
            seen.extend((str(unit.cache), unit.work.flop) for unit in units)
            return iter(())

    monkeypatch.setattr("lt_bench.bench.suite.units.Workers", Recorder)
    with pytest.raises(KeyError):  # none is done
        fit_units(units, 2, Fitter(Path("results")), Watcher())
    assert seen == [(cache, flop) for cache in ("first", "second") for flop in (0.0, 3.0, 1.0)]


def test_the_work_of_a_pool_is_that_of_its_steps(small_cache):
    on = CacheSource(open_cache(small_cache), Hardware("cpu"))
    manifest = on.manifest
    runs = [
        run
        for name in ("joint", "ce")
        for run in plan(find(name), manifest, {"epochs": 3, "batch_size": 7} if name == "ce" else {}, range(2))
    ]
    size = 2 * manifest.backbone.dim * manifest.dataset.num_classes
    held = sum(on.cache.bytes_of(split) for split in manifest.views)
    assert work_of(on, runs) == Work(flop=2 * 3 * 2 * size * sum(manifest.dataset.train_counts), product=7 * size, features=held)
    assert work_of(on, [run for run in runs if run.entry.name == "joint"]) == Work(0, 0.0, held)


def test_jobs_of_slurm(cli, suite, small_cache, tmp_path, monkeypatch):
    on_cluster(monkeypatch, "debug")
    path = suite("{caches: [{cache: small}], strategies: [joint, {name: ce, epochs: 1}], seeds: [0]}")
    done = cli("bench", path, "--slurm", "gpu", "--workers", "3", "--slurm-options", "timeout_min=60,slurm_account=lab")
    assert (done.code, done.err) == (0, "")
    assert recorded(tmp_path / "results") == [("ce", 0, "user"), ("joint", 0, "official")]
    assert list((tmp_path / "results" / "slurm").iterdir())


def test_a_job_takes_no_module_of_the_current_folder_for_pythons(tmp_path):
    """A job is started as `python -m`, which puts the folder that it starts in first on the path unless it is told not to."""
    for more, own in (([], []), (["slurm_setup=[module load cuda]"], ["module load cuda"])):
        given = parameters(Jobs("cpu", tmp_path, more=more))["slurm_setup"]
        assert given[1:] == own
        script = "\n".join([given[0], f"exec {sys.executable} -m submitit.core._submit {tmp_path}"])
        for name in ("csv", "random", "pickle", "tempfile"):
            (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\nraise SystemExit(9)\n")
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert "Known environments: slurm" in done.stderr, "it looks for the job that it is"
        assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_killed_job_is_submitted_again(cli, suite, small_cache, dying, tmp_path, monkeypatch):
    on_cluster(monkeypatch, "local")
    monkeypatch.setattr("lt_bench.bench.slurm.POLL", 0.2)
    path = suite("{caches: [{cache: small}], strategies: [joint, dying.Once, dying.Always], seeds: [0]}")
    done = cli("bench", path, "--slurm", "cpu")
    said = [line for line in done.err.splitlines() if " fits, small" not in line]  # progress, on a slow machine
    assert (done.code, len(said)) == (2, 1)
    assert "dying.Always (inferred), seed 0: its worker died 2 times (" in said[0]
    assert recorded(tmp_path / "results") == [("dying.Once", 0, "inferred"), ("joint", 0, "official")]
