"""Fixtures of several rooms: a home of their own, and a small feature cache."""

import ctypes
import functools
import gc
import importlib.metadata
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from lt_bench.core.lean_import import import_torchmetrics_alone

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `make test` has it: processes that tests fork hang where torch had a pool of threads
import_torchmetrics_alone()

# Every Trainer looks for plugins in the metadata of all installed packages, which took a sixth of the contract's tests; none is installed meanwhile.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)


def pytest_configure(config):
    """No deadline for examples: a busy machine is no fault of the code. As many as Hypothesis tries by itself where the slow tests run too."""
    examples = 30 if config.option.markexpr == "not slow" else 100
    hypothesis.settings.register_profile("suite", deadline=None, max_examples=examples)
    hypothesis.settings.load_profile("suite")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with interrupts ignored


def pytest_collection_finish(session):
    """All that was imported lives to the end: the collector of garbage looks at it no more."""
    gc.collect()
    gc.freeze()


for _room in ("data", "backbones", "bench"):  # images, photos, layouts and runs of stage 1 are made by modules there
    sys.path.insert(0, str(Path(__file__).parent / _room))

COUNTS = (60, 41, 25, 13, 5, 1)
DIM = 8


@pytest.fixture(autouse=True, scope="session")
def lt_bench_home(tmp_path_factory):
    """No test sees or touches the user's own caches."""
    home = tmp_path_factory.mktemp("home")
    before = os.environ.get("LT_BENCH_HOME")
    os.environ["LT_BENCH_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["LT_BENCH_HOME"]
    else:
        os.environ["LT_BENCH_HOME"] = before


@pytest.fixture(autouse=True)
def same_number_of_threads():
    """No test leaves torch with another number of threads: small products of later ones then take ten times as long."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None:
        assert sys.modules["torch"].get_num_threads() == before, "leaves torch with another number of threads"


def small_arrays(seed: int = 0) -> dict:
    """Arrays of a cache: K = 6 classes (the last with one training image, absent from validation), D = 8, three train views, flip, val and a head."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    K = len(COUNTS)
    means = torch.randn(K, DIM, generator=generator)

    def features(labels, noise=0.8):
        return (means[labels] + noise * torch.randn(labels.numel(), DIM, generator=generator)).relu()

    train = torch.arange(K).repeat_interleave(torch.tensor(COUNTS))[torch.randperm(sum(COUNTS), generator=generator)]
    val = torch.arange(K - 1).repeat_interleave(5)
    test = torch.arange(K).repeat_interleave(7)
    plain, image = features(train), features(test)
    noise = [0.2 * torch.randn(plain.shape, generator=generator) for _ in range(2)]
    return {
        "train/features/plain": plain,
        "train/features/aug1": (plain + noise[0]).relu(),
        "train/features/aug2": (plain + noise[1]).relu(),
        "train/labels": train,
        "train/rows": torch.arange(train.numel()) * 3 + 1,
        "val/features/plain": features(val),
        "val/labels": val,
        "test/features/plain": image,
        "test/features/flip": (image + 0.1 * torch.randn(image.shape, generator=generator)).relu(),
        "test/labels": test,
        "head/weight": means / means.norm(dim=1, keepdim=True) * torch.tensor(COUNTS).float().log1p()[:, None] / 4,
        "head/bias": torch.tensor(COUNTS).float().log() / 8,
    }


def small_description(name: str = "small", **changes):
    """The description that fits ``small_arrays``."""
    from lt_bench.features.manifest import BackboneInfo, DatasetInfo
    from lt_bench.features.write import Description

    names = tuple(f"class {k}" for k in range(len(COUNTS)))
    dataset = {"name": "embeddings", "split_hash": "5" * 16, "val_seen_by_backbone": False, "class_names": names} | changes.pop(
        "dataset", {}
    )
    fields = {"dtype": "float32", "transform": {"evaluation": "none", "augmentation": "noise"}, "origin": "invented", **changes}
    return Description(name, DatasetInfo(train_counts=COUNTS, **dataset), BackboneInfo("invented", "b" * 16, DIM), **fields)


@pytest.fixture(scope="session")
def make_cache():
    """Write a small cache: ``make_cache(directory, arrays={...}, without=(...), **changes of the description)``; returns its directory."""
    from lt_bench.features.write import write_cache

    def make(directory: Path, arrays=None, without=(), **changes) -> Path:
        given = {name: tensor for name, tensor in {**small_arrays(), **(arrays or {})}.items() if not name.startswith(tuple(without))}
        write_cache(directory, small_description(changes.pop("name", directory.name), **changes), given)
        return directory

    return make


@pytest.fixture(scope="session")
def small_cache(lt_bench_home, make_cache):
    """A cache among the known ones, of data set ``embeddings``: nobody changes it."""
    return make_cache(lt_bench_home / "caches" / "small")


@pytest.fixture(scope="session")
def arrays():
    """A function from a seed to the arrays of a small cache."""
    return small_arrays


@pytest.fixture(scope="session")
def description():
    """A function from a name and changes to a description of ``arrays``."""
    return small_description


@pytest.fixture(scope="module")
def light_resnet20():
    """``resnet20`` with one narrow block a stage, an eighth of its work: for tests of what is done with a network."""
    from lt_bench.backbones import cifar

    def light(name, num_classes, real=cifar.build):
        return cifar.CifarResNet(num_classes, 1, (8, 16, 64)) if name == "resnet20" else real(name, num_classes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar, "build", light)
        yield


@dataclass(frozen=True)
class Done:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Run ``lt-bench`` in this process, in a folder of its own: ``cli("run", "--strategy", "los")``."""
    from lt_bench.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in os.environ if name.startswith("LT_BENCH_") and name != "LT_BENCH_HOME"]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def builder():
    """Records of made-up runs, for the tests of results and leaderboard."""
    path = Path(__file__).parent / "leaderboard" / "builder.py"
    spec = importlib.util.spec_from_file_location("lt_bench_test_builder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Builder()


@pytest.fixture
def permissions_count():
    """Permissions of files hold for this thread also where root runs the tests."""
    libc, header, before = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if sys.platform != "linux" or libc.capget(header, before):
        pytest.skip("the capabilities of a thread are Linux's")
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] &= ~0b110  # effective, of the first 32: to override permissions, and to read and search regardless of them
    libc.capset(header, without)
    yield
    libc.capset(header, before)


@pytest.fixture
def close(permissions_count):
    """A function that takes permissions of a file or folder away, all by default, to the end of the test."""
    modes = {}

    def closed(path: Path, mode: int = 0) -> Path:
        modes.setdefault(path, path.stat().st_mode)
        path.chmod(mode)
        return path

    yield closed
    for path, mode in modes.items():
        path.chmod(mode)
