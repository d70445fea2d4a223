"""The command line: what it reads from where, and that every bad input ends in one line and exit code 2."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

import lt_bench as lt
from lt_bench import __version__
from lt_bench.bench.options import StrategyChoice
from lt_bench.cli.request import parse
from lt_bench.cli.verbs import VERBS
from lt_bench.results.store import Store

LIGHT = """
import contextlib, io, os, sys
from lt_bench.cli.main import main
from lt_bench.cli.verbs import VERBS
with contextlib.redirect_stdout(io.StringIO()) as out:
    codes = [main(["--help"]), main([]), main(["--version"]), main(["list"]), main(["list", "strategies", "los"]), main(["list", "datasets", "imagenet_lt"])]
    codes += [main(["list", "caches", "small"]), main(["run", "--strategy", "los", "--help"]), main(["run", "--strategy", "los", "--print_config"])]
    codes += [main([verb, "--help"]) for verb in VERBS]
assert set(codes) == {0}, codes
assert "d_ffds" in out.getvalue() and "imagenet_lt" in out.getvalue()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_help_and_list_import_no_torch(small_cache):
    lt.open_cache(small_cache).collapse()  # which a list of that cache measures where it is not known
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", LIGHT], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert "lt_bench" in modules
    assert not modules & {"torch", "lightning", "torchvision", "torchmetrics", "wandb", "pandas", "matplotlib", "scipy"}


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "lt_bench", "nothing"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lt-bench: ")


def test_help_names_every_verb(cli):
    done = cli("--help")
    assert done.code == 0
    for verb in VERBS:
        assert re.search(rf"^ +{verb} ", done.out, re.MULTILINE)
    assert cli("--version").out == f"lt-bench {__version__}\n"


RUN = ("run", "--strategy", "los", "--cache", "small")
BAD = {
    "unknown verb": (("rnu",), r"unknown verb 'rnu' \(did you mean 'run'\?\)"),
    "unknown strategy": (("run", "--strategy", "loss", "--cache", "small"), r"unknown strategy 'loss' \(did you mean 'los'\?\)"),
    "two as near": (("run", "--strategy", "lso", "--cache", "small"), r"unknown strategy 'lso' \(did you mean 'las' or 'los' or 'lws'\?\)"),
    "no strategy": (("run", "--cache", "small"), "--strategy is missing"),
    "no such module": (("run", "--strategy", "nowhere.Head", "--cache", "small"), "module 'nowhere' cannot be found"),
    "option of another verb": (
        ("update", "export", "--group-pattern", "(.)"),
        "unknown option --group-pattern, since images are read as those of the export's",
    ),
    "misspelt option": ((*RUN, "--sedes", "0"), r"unknown option --sedes \(did you mean '--seeds'\?\)"),
    "misspelt hyper-parameter": (
        (*RUN, "--strategy.epsilom", "0.5"),
        r"unknown option --strategy.epsilom \(did you mean '--strategy.epsilon'\?\)",
    ),
    "hyper-parameter of another": (
        ("run", "--strategy", "joint", "--cache", "small", "--strategy.tau", "1"),
        "unknown option --strategy.tau",
    ),
    "stray word": ((*RUN, "again"), "'again' belongs to no option"),
    "epsilon 2": ((*RUN, "--strategy.epsilon", "2"), "los.epsilon is 2.0, expected a number from 0 to 1"),
    "tau -1": (
        ("run", "--strategy", "tau_norm", "--cache", "small", "--strategy.tau", "-1"),
        "tau_norm.tau is -1.0, expected a number from 0 to 10",
    ),
    "epsilon is a word": ((*RUN, "--strategy.epsilon", "much"), "--strategy.epsilon: expected a number, got much"),
    "choice": ((*RUN, "--strategy.convention", "mine"), r"--strategy.convention: expected one of torch, others, got mine"),
    "zero epochs": ((*RUN, "--strategy.epochs", "0"), "epochs is 0, expected at least 1"),
    "half an epoch": ((*RUN, "--strategy.epochs", "0.5"), "--strategy.epochs: expected a whole number, got 0.5"),
    "batch of none": ((*RUN, "--strategy.batch_size", "0"), "batch_size is 0, expected at least 1"),
    "negative lr": ((*RUN, "--strategy.lr", "-0.1"), "lr is -0.1, expected a finite number >= 0"),
    "seeds not numbers": ((*RUN, "--seeds", "a,b"), "--seeds: expected a whole number, got a"),
    "seeds empty": ((*RUN, "--seeds", "[]"), r"seeds \(none\): expected distinct numbers from 0"),
    "seeds repeated": ((*RUN, "--seeds", "1,1"), "seeds 1,1: expected distinct numbers from 0"),
    "seeds negative": ((*RUN, "--seeds", "-1"), "seeds -1: expected distinct numbers from 0"),
    "seeds without value": ((*RUN, "--seeds"), "--seeds.*expected one argument"),
    "no data set": (("run", "--strategy", "los"), "--dataset is missing"),
    "unknown data set": (("run", "--strategy", "los", "--dataset", "cifar_100"), "cifar_100.*did you mean"),
    "cache of another data set": ((*RUN, "--dataset", "cifar10_lt"), "small: a cache of embeddings, and --dataset is cifar10_lt"),
    "cache of another factor": ((*RUN, "--imbalance-factor", "50"), "small: imbalance factor None, and --imbalance-factor is 50"),
    "cache of another backbone": ((*RUN, "--backbone", "resnet32"), "small: features of invented, and --backbone is resnet32"),
    "no such cache": (("run", "--strategy", "los", "--cache", "smal"), r"no cache 'smal' \(did you mean 'small'\?\): .*\(small, "),
    "no cache at path": (("run", "--strategy", "los", "--cache", "./nowhere"), r"nowhere: not a feature cache \(no manifest.json\)"),
    "not tuned": ((*RUN, "--tuned"), "los was not tuned on cache small; run `lt-bench tune --strategy los"),
    "accelerator": ((*RUN, "--accelerator", "tpu"), "--accelerator: expected one of auto, cpu, gpu, got tpu"),
    "no devices": ((*RUN, "--devices", "0"), "devices is 0, expected at least 1"),
    "wandb": ((*RUN, "--wandb", "perhaps"), "--wandb: expected one of off, offline, online, got perhaps"),
    "no permission": ((*RUN, "--results", "/dev/null/results"), "/dev/null/results: results cannot be written there"),
    "tune, no permission": (("tune", *RUN[1:], "--results", "/dev/null/results"), "results cannot be written there"),
    "import, no permission": (
        ("import-features", "--name", "x", "--train", "good.npz", "--test", "good.npz", "--out", "/dev/null/cache"),
        "/dev/null/cache: the cache cannot be written there .Not a directory.; choose another place with --out$",
    ),
    "leaderboard, no place": (
        ("leaderboard", "--out", "list.yaml"),
        "list.yaml: files cannot be written there .Not a directory.; choose another place with --out",
    ),
    "report, no place": (
        ("report", "--strategy", "ce", "--out", "list.yaml"),
        "list.yaml: files cannot be written there .Not a directory.; choose another place with --out",
    ),
    "endless seeds": ((*RUN, "--seeds", "0-1000000000"), "--seeds: expected a range of at most 10,000 numbers, got 0-1000000000"),
    "no option of report": (("report", "--cache", "small"), "report: unknown option --cache; `lt-bench report --help`"),
    "empty YAML": ((*RUN, "--config", "empty.yaml"), "empty.yaml: holds no options; leave it out"),
    "imbalance factor": (
        ("import-features", "--name", "x", "--train", "good.npz", "--test", "good.npz", "--imbalance-factor", "-3"),
        "imbalance factor is -3, expected a number of at least 1",
    ),
    "no config": ((*RUN, "--config", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    "config without file": ((*RUN, "--config"), "--config needs a YAML file"),
    "bad YAML": ((*RUN, "--config", "bad.yaml"), "bad.yaml: not YAML"),
    "YAML of a list": ((*RUN, "--config", "list.yaml"), "list.yaml: expected options and values, found a list"),
    "option in YAML": ((*RUN, "--config", "option.yaml"), "unknown option --sedes"),
    "hyper-parameter in YAML": (
        (*RUN, "--config", "hyper.yaml"),
        r"unknown option --strategy.epsilom \(did you mean '--strategy.epsilon'\?\)",
    ),
    "value in YAML": ((*RUN, "--config", "value.yaml"), "--strategy.epsilon: expected a number, got much"),
    "strategy in YAML": (("run", "--config", "list_strategy.yaml"), "unknown strategy 'lo'"),
    "list what": (("list", "strategys"), r"cannot list 'strategys' \(did you mean 'strategies'\?\)"),
    "list one": (("list", "strategies", "lo"), "unknown strategy 'lo'"),
    "list data set": (("list", "datasets", "cifar"), "cifar"),
    "list backbone": (("list", "backbones", "resnet33"), "resnet33"),
    "list cache": (("list", "caches", "none"), "no cache 'none'"),
    "bench without suite": (("bench",), "bench needs a suite"),
    "no such suite": (("bench", "shiped"), r"no suite 'shiped': .*\(did you mean 'shipped'\?\)"),
    "verify without record": (("verify",), "verify needs the JSON file of a record"),
    "verify nothing": (("verify", "nowhere.json"), "nowhere.json: no file of a record"),
    "verify no record": (("verify", "bad.yaml"), "bad.yaml: damaged"),
    "leaderboard of nothing": (("leaderboard", "--results", "nowhere"), "nowhere: no such directory of records"),
    "tune without grid": (("tune", "--strategy", "joint", "--cache", "small"), "strategy joint has nothing to tune: it declares no grid"),
    "import nothing": (("import-features",), "import-features needs --name, --train and --test"),
    "import no file": (("import-features", "--name", "x", "--train", "no.npz", "--test", "good.npz"), "no.npz: no such file"),
    "import NaN": (
        ("import-features", "--name", "x", "--train", "nan.npz", "--test", "good.npz"),
        "train/features/plain: NaN or infinity in 1 rows, the first is row 2",
    ),
    "import labels": (
        ("import-features", "--name", "x", "--train", "good.npz", "--test", "labels.npz", "--class-names", "two.txt"),
        r"class names: 2 names, and the labels \(or the head\) are of 8 classes",
    ),
    "import head": (
        ("import-features", "--name", "x", "--train", "good.npz", "--test", "good.npz", "--head", "head.npz"),
        r"head/weight has shape \(2, 4\), expected \(2, 3\)",
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of faulty files."""
    folder = tmp_path_factory.mktemp("files")
    texts = {
        "bad.yaml": "seeds: [0, 1\nstrategy: {",
        "list.yaml": "- seeds",
        "option.yaml": "sedes: [0]",
        "hyper.yaml": "strategy: {name: los, epsilom: 0.5}",
        "value.yaml": "strategy: {name: los, epsilon: much}",
        "list_strategy.yaml": "strategy: [joint, lo]",
        "empty.yaml": "# nothing yet\n",
        "two.txt": "one\ntwo\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    features, labels = np.ones((4, 3), dtype=np.float32) * np.arange(4)[:, None], np.array([0, 1, 0, 1])
    np.savez(folder / "good.npz", features=features, labels=labels)
    np.savez(folder / "labels.npz", features=features, labels=labels + 6 * (np.arange(4) == 3))
    np.savez(folder / "head.npz", weight=np.zeros((2, 4), dtype=np.float32), bias=np.zeros(2, dtype=np.float32))
    features[2, 1] = np.nan
    np.savez(folder / "nan.npz", features=features, labels=labels)
    return folder


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_exit_code_2(what, cli, files, small_cache, lt_bench_home, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir()), sorted((lt_bench_home / "caches").iterdir())
    arguments, message = BAD[what]
    done = cli(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("lt-bench: ")
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    assert re.search(message, done.err), done.err
    if (files / "results").is_dir():
        (files / "results").rmdir()  # it was found to be writable, and is empty
    assert (sorted(files.iterdir()), sorted((lt_bench_home / "caches").iterdir())) == before


DAMAGED = {
    "truncated": "damaged or truncated",
    "altered": "does not have the checksum of the manifest",
    "missing": "missing, and the cache needs it",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_cache_is_one_line(damage, cli, make_cache, tmp_path):
    path = make_cache(tmp_path / "cache") / "train.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-40] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    done = cli("run", "--strategy", "los", "--cache", str(tmp_path / "cache"))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "train.safetensors: " in done.err
    assert DAMAGED[damage] in done.err


def test_missing_data_says_what_is_needed_and_what_to_run_next(cli):
    done = cli("run", "--strategy", "los", "--dataset", "imagenet_lt")
    assert done.code == 2
    assert "no feature cache of imagenet_lt is here" in done.err
    assert "ImageNet_LT_train.txt" in done.err
    assert "lt-bench extract --dataset imagenet_lt" in done.err
    again = cli("run", "--strategy", "los", "--dataset", "cifar10_lt", "--imbalance-factor", "25", "--profile", "step")
    assert "--backbone NAME --imbalance-factor 25 --profile step --weights FILE`" in again.err  # the cache that was asked for
    assert "--name NAME --imbalance-factor 25 --train" in again.err
    assert "Traceback" not in done.err


def test_a_broken_pipe_and_an_interrupt(cli, monkeypatch):
    from lt_bench.cli import fits, listing

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "show_list", interrupted)
    done = cli("list")
    assert (done.code, done.err.count("\n")) == (130, 1)
    assert done.err == "lt-bench: interrupted; the same command begins again\n"
    monkeypatch.setattr(fits, "tune_verb", interrupted)
    done = cli("tune", "--strategy", "los", "--dataset", "cifar100_lt")
    assert (done.code, done.err) == (130, "lt-bench: interrupted; points that are done stay, and the same command goes on from there\n")


# ---- where options come from ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_environment_then_yaml_then_flags(config, monkeypatch):
    monkeypatch.setenv("LT_BENCH_RUN__DATASET", "from_environment")
    monkeypatch.setenv("LT_BENCH_RUN__DEVICES", "3")
    monkeypatch.setenv("LT_BENCH_RUN__SEEDS", "7")
    for name in ("EPSILON", "LR", "GAP"):
        monkeypatch.setenv(f"LT_BENCH_RUN__STRATEGY__{name}", "0.1")
    path = config("devices: 4\nseeds: 8,9\nstrategy: {name: los, lr: 0.2, gap: 0.2}\nwandb: off\n")
    options = parse("run", ["--strategy.gap", "0.3", "--config", path, "--seeds", "1,2"])
    assert (options.dataset, options.devices, options.seeds, options.wandb) == ("from_environment", 4, [1, 2], "off")
    assert options.strategy == StrategyChoice("los", {"epsilon": 0.1, "lr": 0.2, "gap": 0.3})
    assert parse("run", ["--config", path]).seeds == [8, 9]
    monkeypatch.setenv("LT_BENCH_RUN__CONFIG", path)
    assert (parse("run", []).wandb, parse("run", []).devices) == ("off", 3)


def test_the_strategy_itself_follows_the_same_order(config, monkeypatch):
    path = config("strategy: los\n")
    for variable in ("LT_BENCH_RUN__STRATEGY", "LT_BENCH_RUN__STRATEGY__NAME"):
        monkeypatch.setenv(variable, "ce")
        assert parse("run", []).strategy.name == "ce"
        assert parse("run", ["--config", path]).strategy.name == "los"
        assert parse("run", ["--config", path, "--strategy=cb"]).strategy.name == "cb"
        monkeypatch.delenv(variable)


def test_several_files_are_layered(tmp_path):
    (tmp_path / "one.yaml").write_text("seeds: [1]\ndevices: 2\nstrategy: {name: los, epsilon: 0.1}\n")
    (tmp_path / "two.yaml").write_text("seeds: 2-4\nstrategy: {lr: 0.2}\nwandb: offline\n")
    one, two = str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")
    options = parse("run", ["--wandb", "online", "--config", one, "--config", two])
    assert (options.seeds, options.devices, options.wandb) == ([2, 3, 4], 2, "online")
    assert options.strategy == StrategyChoice("los", {"epsilon": 0.1, "lr": 0.2})
    assert parse("run", [f"--config={two}", f"--config={one}"]).seeds == [1]


def test_dashes_and_underscores_are_the_same(config):
    for line in (["--imbalance-factor", "50", "--wandb-project", "p"], ["--imbalance_factor=50", "--wandb_project=p"]):
        options = parse("run", ["--strategy", "d-ffds", "--strategy.gamma-max", "2", *line])
        assert (options.imbalance_factor, options.wandb_project, options.strategy.hyperparameters) == (50.0, "p", {"gamma_max": 2.0})
    path = config("imbalance-factor: 50\nstrategy: {name: d_ffds, gamma-max: 2}\n")
    options = parse("run", ["--config", path])
    assert (options.imbalance_factor, options.strategy.hyperparameters) == (50.0, {"gamma_max": 2.0})


def test_lists(config, monkeypatch):
    for line in (["--seeds", "0,1,2"], ["--seeds=0,1,2"], ["--seeds", "[0, 1, 2]"], ["--config", config("seeds: 0,1,2\n")]):
        assert parse("run", ["--strategy", "los", *line]).seeds == [0, 1, 2]
    assert parse("run", ["--strategy", "los", "--strategy.milestones", "3,5"]).strategy.hyperparameters == {"milestones": (3, 5)}
    monkeypatch.setenv("LT_BENCH_RUN__STRATEGY__MILESTONES", "4,6")
    assert parse("run", ["--strategy", "los"]).strategy.hyperparameters == {"milestones": (4, 6)}


def test_a_switch_needs_no_value():
    assert parse("run", ["--strategy", "los", "--tuned"]).tuned is True
    assert parse("run", ["--strategy", "los", "--tuned", "--seeds", "1"]).tuned is True
    assert parse("run", ["--strategy", "los", "--tuned", "false"]).tuned is False
    assert parse("run", ["--strategy", "los"]).tuned is False


def test_what_was_said_is_given_also_where_it_is_the_default(config):
    """Otherwise ``tune --strategy.epsilon 0.98`` would not hold it fixed, and a data set's own setting would win over what was said."""
    assert parse("tune", ["--strategy", "los", "--strategy.epsilon", "0.98"]).strategy.hyperparameters == {"epsilon": 0.98}
    said = parse("run", ["--strategy", "d_ffds", "--dataset", "cifar100_lt", "--imbalance-factor", "50", "--strategy.gamma_min", "0"])
    assert said.strategy.hyperparameters == {"gamma_min": 0.0}
    unsaid = parse("run", ["--strategy", "d_ffds", "--dataset", "cifar100_lt", "--imbalance-factor", "50"])
    assert unsaid.strategy.hyperparameters == {}
    assert parse("run", ["--config", config("strategy: {name: los, epsilon: null, lr: 1e-3}\n")]).strategy.hyperparameters == {"lr": 0.001}


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--strategy", "los", "--cache", "small", "--strategy.lr", "1e-3", "--strategy.milestones", "1,2", "--seeds", "0,1"],
        ["run", "--strategy", "weight_balancing", "--dataset", "cifar100_lt", "--wandb", "off", "--tuned", "--imbalance-factor", "100"],
        ["tune", "--strategy", "d_ffds", "--dataset", "cifar100_lt", "--strategy.gamma_max", "4.5", "--results", "elsewhere"],
        ["bench", "shipped", "--results", "elsewhere"],
        ["import-features", "--name", "x", "--train", "a.npz", "--val-fraction", "0.2", "--dtype", "affine8"],
    ],
)
def test_a_printed_configuration_gives_the_same_options(line, cli, config):
    verb, *rest = line
    printed = cli(*line, "--print_config")
    assert printed.code == 0
    assert parse(verb, ["--config", config(printed.out)]) == parse(verb, rest)
    assert yaml.safe_load(printed.out)


def test_the_environment_is_read_for_every_verb(monkeypatch):
    monkeypatch.setenv("LT_BENCH_IMPORT_FEATURES__VAL_FRACTION", "0.25")
    assert parse("import-features", []).val_fraction == 0.25


def test_help_of_a_strategy_shows_its_options(cli):
    done = cli("run", "--strategy", "los", "--help")
    assert done.code == 0
    for option in ("--strategy.epsilon", "--strategy.convention {torch,others}", "--strategy.lr", "--seeds"):
        assert option in done.out
    assert "--strategy.epsilon" not in cli("run", "--help").out


def test_list_shows_what_there_is(cli, small_cache, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    everything = cli("list").out
    for word in ("los", "imagenet_lt", "resnet32", "small", "embeddings"):
        assert word in everything
    one = cli("list", "strategies", "d_ffds").out
    for word in ("gamma_max", "nwjun/FFDS-Loss", "--strategy.lr", "on cifar10_lt@100"):
        assert word in one
    key = json.loads((small_cache / "manifest.json").read_text())["key"]
    collapse = lt.open_cache(small_cache).collapse()
    words = f"train {collapse['train']:.3f}, val {collapse['val']:.3f}, test {collapse['test']:.3f}"
    shown = cli("list", "caches", "small").out
    assert key in shown
    assert f"feature collapse: {words} (" in shown
    assert words in cli("list", "caches").out
    assert json.loads(cli("list", "caches", "small", "--json").out)["collapse"] == collapse
    assert "115,846" in cli("list", "datasets", "imagenet_lt").out
    assert "64" in cli("list", "backbones", "resnet32").out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --seeds a", "run: --seeds: expected a whole number, got a"),
        ("run --strategy los --strategy.epsilon x", "run: --strategy.epsilon: expected a number, got x"),
        ("run --wandb maybe", "run: --wandb: expected one of off, offline, online, got maybe"),
        ("run --precision half", "run: --precision: expected one of bf16, fp32, got half"),
        ("bench shipped --workers two", "bench: --workers: expected a whole number, got two"),
        ("bench shipped --worker 2", "bench: unknown option --worker (did you mean '--workers'?); `lt-bench bench --help` lists them"),
        ("run joint", "run: 'joint' belongs to no option; `lt-bench run --help` lists them"),
        ("verify", "verify needs the JSON file of a record, whose path a run prints"),
        ("verify x.json --tolerance maybe", "verify: --tolerance: expected a number, got maybe"),
        (
            "leaderboard --results . --formats []",
            "no leaderboard format was named; choose among markdown, csv, latex, html, published, plots",
        ),
        ("bench shipped --slurm-options a=1", "--slurm-options are for --slurm PARTITION; name one, or leave them out"),
        ("check", "check needs a strategy: a name, or the dotted path of your own, e.g. my_pkg.my_module.MyHead"),
    ],
)
def test_what_was_wrong_is_said_in_plain_words(cli, line, said):
    done = cli(*line.split())
    assert (done.code, done.err) == (2, f"lt-bench: {said}\n")


def test_a_file_in_the_way_is_one_line(cli, tmp_path, builder):
    Store(tmp_path / "results").write(*builder.make("ce", 0))
    (tmp_path / "taken").write_text("mine")
    done = cli("leaderboard", "--out", "taken")
    assert (done.code, done.err) == (
        2,
        "lt-bench: taken: files cannot be written there (Not a directory); choose another place with --out\n",
    )
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_record_with_a_word_for_a_number_is_named(cli, tmp_path, builder):
    store = Store(tmp_path / "results")
    path = store.path(store.write(*builder.make("ce", 0)))
    data = json.loads(path.read_text())
    data["metrics"]["test"]["accuracy"] = "high"
    path.write_text(json.dumps(data))
    done = cli("leaderboard")
    assert done.code == 2
    assert done.err.startswith(f"lt-bench: {path.relative_to(tmp_path)}: altered after it was written")
    assert done.err.count("\n") == 1


BLOCKED = """
import sys
class Torch(BaseException): pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise Torch
sys.meta_path.insert(0, Finder())
import contextlib, io, json
from lt_bench.cli.main import main
for what, words in json.loads(sys.argv[1]).items():
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            assert main(words) == 2, what
    except Torch:
        print("torch:", what)
"""
NEEDS_ARRAYS = (
    "import NaN",
    "import labels",
    "import head",
    "import, no permission",
)  # the fault is in the arrays, or found after reading them


def test_refusals_that_need_no_tensor_import_no_torch(files, small_cache):
    bad = {what: words for what, (words, _) in BAD.items() if what not in NEEDS_ARRAYS}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", BLOCKED, json.dumps(bad)]
    done = subprocess.run(command, cwd=files, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_year_of_a_paper_is_no_number_of_arxiv(cli):
    lines = {line.split()[0]: line for line in cli("list", "strategies").out.splitlines() if line.strip()}
    assert "Sun et al. 2024" in lines["lort"]
    assert "2403" not in lines["lort"]
    assert lines["ncm_one_image"].rstrip().endswith("a control of ours"), "the year is that of another's classifier"
