"""The vocabulary and compositions on the command line: listed, run, compared, verified, and mistakes named."""

import json
import shlex
import sys

import pytest

import lt_bench as lt
from lt_bench.results.store import Store
from lt_bench.strategies.slots.vocabulary import TITLES

QUICK = ("--strategy.epochs", "2", "--strategy.batch_size", "16", "--accelerator", "cpu")
RUN = ("run", "--strategy", "compose", "--cache", "small", *QUICK)


def test_the_vocabulary_is_listed(cli):
    everything = cli("list", "slots")
    assert everything.code == 0
    assert all(slot in everything.out for slot in TITLES)
    assert "log_prior(tau=1.0)" in everything.out
    assert "effective_number(beta=0.9999)" in everything.out
    rows = json.loads(cli("list", "slots", "--json").out)
    assert [row["slot"] for row in rows] == list(TITLES)


def test_a_slot_in_full(cli):
    shown = cli("list", "slots", "transform").out
    for word in (
        "Menon et al.",
        "log(pi_c^tau + 1e-12)",
        "tau: strength of the prior (float; from 0 to 10; default: 1.0)",
        "slots.transforms.LogPrior",
    ):
        assert word in shown
    target = json.loads(cli("list", "slots", "target", "--json").out)
    smooth = next(one for one in target["entries"] if one["name"] == "smooth")
    assert smooth["parameters"][0] == {
        "name": "epsilon", "type": "float", "default": 0.1, "low": 0, "high": 1, "help": "mass spread over the classes",
    }  # fmt: skip
    assert cli("list", "slots", "transforms").err.startswith("lt-bench: there is no slot 'transforms' (did you mean 'transform'?)")
    assert "'log_prior'; it is an entry of at_inference, transform" in cli("list", "slots", "log_prior").err


def test_a_strategy_prints_its_composition_which_runs_as_it_does(cli, small_cache, tmp_path):
    shown = cli("list", "strategies", "label_smoothing").out
    (line,) = [line for line in shown.splitlines() if line.startswith("as a composition: ")]
    words = shlex.split(line.removeprefix("as a composition: "))
    assert words[:6] == ["lt-bench", "run", "--strategy", "compose", "--dataset", "cifar100_lt"]
    assert json.loads(cli("list", "strategies", "label_smoothing", "--json").out)["composition"] == shlex.join(words)
    assert cli("run", "--strategy", "label_smoothing", "--cache", "small", *QUICK).code == 0
    assert cli("run", "--strategy", "compose", "--cache", "small", *words[6:], *QUICK).code == 0
    one, other = Store(tmp_path / "results").records()
    assert one.strategy.name != other.strategy.name
    assert one.metrics == other.metrics
    assert "slots cannot say it" in cli("list", "strategies", "ncm").out


def test_a_composition_runs_is_compared_and_verified(cli, small_cache, tmp_path):
    given = ("--strategy.target", "smooth(0.3)", "--strategy.transform", "log_prior", "--strategy.initial_head", "random")
    for sampler in ("instance", "class_aware"):
        assert cli(*RUN, *given, "--strategy.sampler", sampler, "--seeds", "0,1").code == 0
    records = list(Store(tmp_path / "results").records())
    assert len(records) == 4
    assert {one.strategy.sampler for one in records} == {"instance", "class_aware(run=4)"}
    assert all(one.seeds.varies.startswith("initial head and batch order") for one in records)
    assert all(one.identity.hyperparameters["target"] == "smooth(epsilon=0.3)" for one in records)
    again = cli(*RUN, *given[:2], "--strategy.transform", "log_prior( 1.0 )", *given[4:], "--strategy.sampler", "class_aware(4)", "--json")
    assert json.loads(again.out)[0]["id"] in {one.id for one in records}, "the same composition in other words is the same record"
    rows = {row["row"] for row in json.loads(cli("leaderboard", "--json", "--formats", "csv").out)["rows"]}
    assert rows == {"compose (user) [sampler=instance]", "compose (user) [sampler=class_aware(run=4)]"}
    path = next(path for path in Store(tmp_path / "results").paths() if "class_aware" in path.read_text())
    checked = cli("verify", str(path))
    assert checked.code == 0, checked.err
    command = shlex.split(json.loads(path.read_text())["command"])
    assert command[command.index("--strategy.target") + 1] == "smooth(epsilon=0.3)"
    assert "--strategy.kernel" not in command


def test_a_composition_of_python_is_the_same_record(cli, small_cache, tmp_path):
    given = ("--strategy.target", "smooth(0.3)", "--strategy.trainable", "bias")
    assert cli(*RUN, *given).code == 0
    (record,) = Store(tmp_path / "results").records()
    (run,) = lt.fit(
        lt.compose(target="smooth(0.3)", trainable="bias", epochs=2, batch_size=16), lt.open_cache("small"), seeds=[0], accelerator="cpu"
    )
    assert (run.record.id, run.record.strategy) == (record.id, record.strategy)
    assert run.record.metrics["test"]["nll"] == record.metrics["test"]["nll"]
    assert run.record.command == record.command
    assert "'smooth(epsilon=0.3)'" in record.command


def test_the_label_of_one_row_names_its_slots(cli, small_cache):
    assert cli(*RUN, "--strategy.transform", "margin(1.5)").code == 0
    assert (
        cli("run", "--strategy", "compose", "--cache", "small", "--strategy.trainable", "none", "--strategy.at_inference", "log_prior").code
        == 0
    )
    rows = {row["row"].partition(" (unhealthy")[0] for row in json.loads(cli("leaderboard", "--json", "--formats", "csv").out)["rows"]}
    assert rows == {
        "compose (user) [transform=margin(max_margin=1.5)]",
        "compose (user) [at_inference=log_prior(tau=1.0), trainable=none]",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strategy.transform", "log_priors"), "transform has no entry 'log_priors' (did you mean 'log_prior'?)"),
        (("--strategy.transform", "log_prior(tua=1)"), "transform log_prior has no parameter 'tua' (did you mean 'tau'?); it has tau"),
        (("--strategy.target", "smooth(epsilon=1.5)"), "smooth.epsilon is 1.5, expected a number from 0 to 1"),
        (("--strategy.transfrom", "identity"), "run: unknown option --strategy.transfrom (did you mean '--strategy.transform'?)"),
        (("--strategy.sampler", "class_awre"), "sampler has no entry 'class_awre' (did you mean 'class_aware'?)"),
        (("--strategy.sampler", "weighted"), "sampler weighted is for classes with weights of the samples of their own"),
        (("--strategy.initial_head", "none"), "initial_head none is for classes with parameters of their own"),
        (("--strategy.trainable", "none"), "compose: with trainable none there is no epochs, as no step is taken"),
    ],
)
def test_mistakes_are_named_in_one_line(cli, words, message):
    done = cli(*RUN, *words)
    assert done.code == 2
    assert done.err.startswith(f"lt-bench: {message}")
    assert done.err.count("\n") == 1


def test_mistakes_are_named_without_torch(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "has no entry 'log_priors'" in cli(*RUN, "--strategy.transform", "log_priors").err
    assert "smooth.epsilon is 1.5" in cli(*RUN, "--strategy.target", "smooth(1.5)").err


def test_there_is_nothing_to_tune(cli, small_cache):
    done = cli("tune", "--strategy", "compose", "--cache", "small")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "a suite may have axes over them" in done.err


OWN = '''
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import Transform


class Squeeze(Transform):
    """``T(z) = strength tanh(z)``."""

    strength: float = hyper(2.0, low=0, high=9, help="largest logit")

    def __call__(self, logits, labels):
        assert logits.dim() == 2, "written for one head"
        return self.strength * logits.tanh()
'''


def test_an_entry_of_a_file_in_the_current_folder(cli, small_cache, tmp_path):
    (tmp_path / "my_squeeze.py").write_text(OWN)
    done = cli(*RUN, "--strategy.transform", "my_squeeze.Squeeze(3)", "--seeds", "0,1")
    assert done.code == 0, done.err
    records = list(Store(tmp_path / "results").records())
    assert [one.identity.hyperparameters["transform"] for one in records] == ["my_squeeze.Squeeze(strength=3.0)"] * 2
    assert (
        "my_squeeze.Squeeze has no parameter 'strngth' (did you mean 'strength'?)"
        in cli(*RUN, "--strategy.transform", "my_squeeze.Squeeze(strngth=1)").err
    )
    path = next(iter(Store(tmp_path / "results").paths()))
    assert cli("verify", str(path)).code == 0
