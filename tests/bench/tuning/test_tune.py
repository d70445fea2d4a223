"""``lt-bench tune``: on validation that the backbone has not seen, and never on the test set."""

import itertools
import json
import pickle
import shlex
import shutil
from typing import ClassVar

import pytest
import torch

import lt_bench as lt
from lt_bench.bench.submission import tunings_of
from lt_bench.bench.tuned import read_tuning, tuning_id, tuning_path
from lt_bench.bench.tuning.scores import Scorer
from lt_bench.bench.workers import Death, Workers
from lt_bench.core.errors import UserError
from lt_bench.core.seals import sealed
from lt_bench.features.cache import open_cache
from lt_bench.leaderboard.objective.objective import MICRO
from lt_bench.results.store import Store
from lt_bench.strategies.registry import find

MISTAKEN = '''
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.recipe import Recipe


class Mistaken(Strategy):
    """Raises what a mistake raises."""

    name = "mistaken"
    recipe = Recipe(lr=0.01, epochs=1)
    grid = {"lr": (0.01, 0.1)}

    def transform(self, logits, labels):
        raise RuntimeError("no such transform")
'''
FAST = ("--strategy.epochs", "2", "--accelerator", "cpu")


@pytest.fixture
def copy(small_cache, tmp_path):
    return shutil.copytree(small_cache, tmp_path / "copy")


def document(folder):
    (path,) = (folder / "tuning").glob("*.json")
    return json.loads(path.read_text())


def shared(folder):
    """The document without its seal, and by how many workers it was made."""
    found = document(folder)
    del found["seal"]
    return found, found.pop("workers")


def test_the_whole_grid_is_recorded_and_the_best_is_chosen(cli, small_cache, tmp_path):
    done = cli("tune", "--strategy", "la_loss", "--cache", "small", *FAST, "--seeds", "2,0")
    assert (done.code, done.err) == (0, "")
    found = document(tmp_path / "results")
    grid = find("la_loss").grid
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    assert [row["hyperparameters"] for row in found["grid"]] == [{"epochs": 2, **point} for point in points]
    assert (found["selected_on"], found["val_seen_by_backbone"], found["seeds"]) == ("val", False, [2, 0])
    assert found["classes_without_validation"] == ["class 5"]
    for row in found["grid"]:
        assert row["mean"] == pytest.approx(sum(row["macro_accuracy"]) / 2)
    best = max(row["mean"] for row in found["grid"])
    assert found["macro_accuracy"] == best
    assert found["choice"] == next(row["hyperparameters"] for row in found["grid"] if row["mean"] == best)
    assert len({row["mean"] for row in found["grid"]}) > 1
    assert not list((tmp_path / "results").glob("*/*.npz"))  # tuning is no result


def test_a_point_of_the_grid_is_what_run_measures_on_validation(cli, small_cache, tmp_path):
    assert cli("tune", "--strategy", "la_loss", "--cache", "small", "--accelerator", "cpu", "--seeds", "2,0").code == 0
    found = document(tmp_path / "results")
    done = cli("run", "--strategy", "la_loss", "--cache", "small", "--tuned", "--seeds", "2,0")
    assert done.code == 0
    share = 100 * (found["choices"].count(found["choices"][0]) - found["tied"]) / 100
    line = f"la_loss: tuning {found['id']}, {len(found['grid'])} points on all 25 validation images, 5 a class, none of class 5; chosen alone in {share:.0f} % of redrawn validation sets; standard error of the choice"
    assert line in done.out
    assert 0 < found["standard_error"] < 0.2
    assert len(found["choices"]) == found["validation"]["draws"] == 100
    records = {record.identity.seed: record for record in Store(tmp_path / "results").records()}
    chosen = next(row for row in found["grid"] if row["hyperparameters"] == found["choice"])
    for seed, score in zip((2, 0), chosen["macro_accuracy"], strict=True):
        record = records[seed]
        assert record.metrics["val"]["macro_accuracy"] == pytest.approx(score, abs=1e-12)
        assert record.identity.hyperparameters.items() >= found["choice"].items()
        assert (record.tuning.kind, record.tuning.selected_on, record.tuning.grid_size) == ("tuned", "val", len(found["grid"]))
        assert (record.tuning.seeds, record.tuning.tuning_id) == ([2, 0], found["id"])
    wider = found | {"grid": found["grid"] + [found["grid"][0]]}  # a later tuning with the same choice
    wider = sealed(wider | {"id": tuning_id(wider)})
    next((tmp_path / "results" / "tuning").glob("*.json")).write_text(json.dumps(wider))
    assert cli("run", "--strategy", "la_loss", "--cache", "small", "--tuned", "--seeds", "2,0").code == 0
    for again in Store(tmp_path / "results").records():
        assert (again.tuning.grid_size, again.tuning.tuning_id) == (len(wider["grid"]), wider["id"])
        assert (again.id, again.time) == (records[again.identity.seed].id, records[again.identity.seed].time)  # not fitted again
    both = cli("run", "--strategy", "la_loss", "--cache", "small", "--tuned", "--strategy.lr", "0.1")
    assert both.code == 2
    assert "--tuned takes the chosen hyper-parameters, and lr was given too" in both.err


def test_a_choice_beside_values_fixed_by_hand_is_no_tuned_one(cli, small_cache, tmp_path):
    assert cli("tune", "--strategy", "la_loss", "--cache", "small", *FAST, "--seeds", "0").code == 0
    assert document(tmp_path / "results")["fixed"] == {"epochs": 2}
    done = cli("run", "--strategy", "la_loss", "--cache", "small", "--tuned")
    assert done.code == 2
    assert "was not tuned" in done.err


@pytest.mark.parametrize("damage", ["removed", "poisoned"])
def test_the_test_split_is_never_read(cli, copy, tmp_path, damage):
    if damage == "removed":
        (copy / "test.safetensors").unlink()
    else:
        (copy / "test.safetensors").write_bytes(b"nothing that could be read")
    done = cli("tune", "--strategy", "tau_norm", "--cache", str(copy))
    assert (done.code, done.err) == (0, "")
    assert document(tmp_path / "results")["cache"] == "small"
    assert cli("run", "--strategy", "tau_norm", "--cache", str(copy)).code == 2  # the damage is real


def test_what_is_fixed_leaves_the_grid_and_stands_in_the_command(cli, small_cache, tmp_path):
    line = ("tune", "--strategy", "los", "--cache", "small", *FAST, "--strategy.epsilon", "0.98", "--seeds", "1")
    assert cli(*line).code == 0
    found = document(tmp_path / "results")
    assert [row["hyperparameters"]["lr"] for row in found["grid"]] == list(find("los").grid["lr"])
    assert {row["hyperparameters"]["epsilon"] for row in found["grid"]} == {0.98}
    assert cli(*shlex.split(found["command"])[1:], "--results", "again").code == 0
    assert document(tmp_path / "again")["id"] == found["id"]
    nothing = cli(*line, "--strategy.lr", "0.1")
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)
    assert "los has nothing to tune beside what is fixed" in nothing.err


def test_the_choice_is_that_of_validation_labels(cli, make_cache, arrays, tmp_path):
    """With validation images of the largest class only, any head-class bias wins; with all classes it does not: the choice follows validation."""
    val = arrays()["val/labels"]
    only_largest = {name: tensor[val == 0] for name, tensor in arrays().items() if name.startswith("val/")}
    choices = {}
    for name, changed in (("all", {}), ("largest", only_largest)):
        make_cache(tmp_path / name, arrays=changed, dataset={"split_hash": name})
        assert cli("tune", "--strategy", "logit_adjustment", "--cache", str(tmp_path / name), "--results", f"results-{name}").code == 0
        choices[name] = document(tmp_path / f"results-{name}")
    assert choices["largest"]["choice"]["tau"] < choices["all"]["choice"]["tau"]
    assert choices["largest"]["classes_without_validation"] == [f"class {k}" for k in range(1, 6)]


def test_validation_that_the_backbone_has_seen_is_refused(cli, make_cache, tmp_path):
    make_cache(tmp_path / "seen", dataset={"val_seen_by_backbone": True})
    done = cli("tune", "--strategy", "los", "--cache", str(tmp_path / "seen"), *FAST)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "the backbone was trained on these validation images" in done.err
    assert not (tmp_path / "results").exists()


def test_a_cache_without_validation_is_refused(cli, make_cache, tmp_path):
    make_cache(tmp_path / "bare", without=("val",))
    done = cli("tune", "--strategy", "los", "--cache", str(tmp_path / "bare"), *FAST)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no validation split, and the test set chooses nothing" in done.err


def test_the_same_tuning_twice_is_the_same(cli, small_cache, tmp_path):
    for results in ("one", "two"):
        assert cli("tune", "--strategy", "d_ffds", "--cache", "small", *FAST, "--seeds", "0,1", "--results", results).code == 0
    assert document(tmp_path / "one") == document(tmp_path / "two")
    assert torch.equal(open_cache(small_cache).split("val").labels, torch.arange(5).repeat_interleave(5))


def test_a_point_that_the_strategy_refuses_is_left_out_with_the_reason(cli, small_cache, tmp_path):
    fixed = ("--strategy.gamma_min", "1.0", "--strategy.lr", "0.01", "--strategy.weight_decay", "0.001")
    done = cli("tune", "--strategy", "d_ffds", "--cache", "small", *FAST, *fixed, "--seeds", "0")
    assert (done.code, done.err) == (0, "")
    assert "2 more points of the grid are refused, the first because d_ffds.gamma_max is 0, below gamma_min 1" in done.out
    found = document(tmp_path / "results")
    assert [row["hyperparameters"]["gamma_max"] for row in found["grid"]] == [1.5, 4.5]
    assert [row["hyperparameters"]["gamma_max"] for row in found["refused"]] == [0.0, 0.5]
    done = cli("tune", "--strategy", "d_ffds", "--cache", "small", *FAST, *fixed[2:], "--strategy.gamma_min", "9", "--seeds", "0")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "gamma_max is 0, below gamma_min 9" in done.err


class Here(Workers):
    """Does everything in this process, the last unit first."""

    done: ClassVar[list[set[str]]] = []

    def outcomes(self, units):
        for unit in reversed(units):
            self.done.append({run.id for run in unit.runs})
            yield 0, unit, self._do(unit)


class Deadly(Workers):
    """Every worker dies."""

    def outcomes(self, units):
        for unit in units:
            yield 0, unit, Death("SIGKILL")


def test_the_points_are_shared_by_workers_and_the_grid_is_that_of_one(cli, small_cache, tmp_path, monkeypatch):
    line = ("tune", "--strategy", "focal", "--cache", "small", *FAST, "--seeds", "0,1")
    assert cli(*line, "--results", "one", "--workers", "1").code == 0
    monkeypatch.setattr("lt_bench.bench.suite.units.Workers", Here)
    assert cli(*line, "--results", "two", "--workers", "2").code == 0
    first, second, *again = Here.done
    assert (len(first), len(second), first & second) == (18, 18, set())
    assert len(set().union(*again)) == sum(map(len, again)) == 6  # the three best points from a shifted start
    (one, alone), (two, workers) = shared(tmp_path / "one"), shared(tmp_path / "two")
    assert two == one
    assert (alone, workers) == (1, 2)


def test_what_workers_are_sent_can_be_sent():
    assert isinstance(pickle.loads(pickle.dumps(Scorer(MICRO))), Scorer)


def test_a_mistake_in_a_strategy_is_one_line(cli, small_cache, tmp_path):
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    done = cli("tune", "--strategy", "mistaken.Mistaken", "--cache", "small", "--strategy.epochs", "1", "--seeds", "0")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "RuntimeError in " in done.err
    assert "(transform): no such transform" in done.err
    assert not list((tmp_path / "results").rglob("*.json"))


@pytest.mark.slow
def test_two_workers_choose_what_one_does(cli, small_cache, tmp_path):
    line = ("tune", "--strategy", "focal", "--cache", "small", *FAST, "--seeds", "0,1")
    assert cli(*line, "--results", "one", "--workers", "1").code == 0
    done = cli(*line, "--results", "two", "--workers", "2", "-q")
    assert (done.code, done.err) == (0, "")
    (one, alone), (two, workers) = shared(tmp_path / "one"), shared(tmp_path / "two")
    assert two == one
    assert (alone, workers) == (1, 2)


def test_workers_that_die_are_named_and_nothing_is_written(cli, small_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.bench.suite.units.Workers", Deadly)
    done = cli("tune", "--strategy", "focal", "--cache", "small", *FAST, "--seeds", "0,1", "--workers", "2")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "its worker died 2 times (SIGKILL)" in done.err
    assert not list((tmp_path / "results").rglob("*.json"))


def test_what_has_no_grid_is_not_sent_to_be_tuned(cli, small_cache):
    done = cli("run", "--strategy", "joint", "--cache", "small", "--tuned")
    assert (done.code, done.err) == (2, "lt-bench: strategy joint has nothing to tune: it declares no grid\n")


@pytest.mark.parametrize(
    ("options", "message"), [(("--workers", "0"), "workers is 0"), (("--workers", "2", "--devices", "2"), "--devices shares every fit")]
)
def test_workers_that_cannot_be_are_refused(cli, small_cache, options, message):
    done = cli("tune", "--strategy", "focal", "--cache", "small", *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def test_a_diverged_point_is_never_chosen(cli, small_cache, tmp_path):
    """At 1e9 a separable head scores as well as any; what its logits say is lost."""
    grid = "--strategy.weight_decay", "0.0", "--seeds", "0,1"
    (tmp_path / "own_of_divergence.py").write_text(
        "from lt_bench.strategies.ce import CE\n\n\nclass Wide(CE):\n    name = 'wide'\n    grid = {'lr': (1e9, 0.1, 1e38)}\n\n\n"
        "class Wider(CE):\n    name = 'wider'\n    grid = {'lr': (1e9, 1e38)}\n"
    )
    done = cli("tune", "--strategy", "own_of_divergence.Wide", "--cache", "small", *FAST, *grid)
    assert done.code == 0
    assert "not chosen: 2 points whose fits diverged" in done.out
    found = document(tmp_path / "results")
    assert found["choice"]["lr"] == 0.1
    assert [point.get("health") for point in found["grid"]] == [["logits_blown_up"], None, ["diverged"]]
    done = cli("tune", "--strategy", "own_of_divergence.Wider", "--cache", "small", *FAST, *grid)
    assert done.code == 2
    assert "the fits of every point diverged" in done.err


def test_a_choice_whose_fit_looks_wrong_is_said(cli, small_cache, tmp_path):
    done = cli("tune", "--strategy", "ce", "--cache", "small", *FAST, "--seeds", "0", "--strategy.lr", "0.0")
    assert done.code == 0
    assert "ce: the best point of the grid looks wrong on validation: unchanged" in done.err
    assert document(tmp_path / "results")["grid"][0]["health"] == ["unchanged"]


def test_every_objective_chooses_by_its_own_scores(cli, small_cache, tmp_path):
    """Scores are those of the heads' validation predictions; what is chosen is the best by them, and a record says by what."""
    names = open_cache(small_cache).manifest.dataset.class_names
    files = {"prior": tmp_path / "prior.json", "cost": tmp_path / "cost.csv"}
    files["prior"].write_text(json.dumps({name: int(k == 0) for k, name in enumerate(names)}))
    files["cost"].write_text("class,cost\n" + "".join(f"{name},{1 + 9 * (k == 0)}\n" for k, name in enumerate(names)))
    by_kind = {}
    for kind, metric in (("macro", "macro_accuracy"), ("micro", "accuracy"), ("prior", "prior_accuracy"), ("cost", "mean_cost")):
        objective = f"{kind}={files[kind]}" if kind in files else kind
        line = ("tune", "--strategy", "tau_norm", "--cache", "small", "--seeds", "0", "--results", str(tmp_path / kind))
        done = cli(*line, *([] if kind == "macro" else ["--objective", objective]))
        assert done.code == 0, done.err
        found = document(tmp_path / kind)
        by_kind[kind] = {str(point["hyperparameters"]): point[metric][0] for point in found["grid"]}
        best = (min if kind == "cost" else max)(by_kind[kind].values())
        assert (found["objective"]["kind"], found[metric]) == (kind, best)
        assert found["choice"] == next(point["hyperparameters"] for point in found["grid"] if point["mean"] == best)
        assert "validation images" in done.out
        assert cli("run", "--strategy", "tau_norm", "--cache", "small", "--tuned", "--results", str(tmp_path / kind)).code == 0
        (record,) = Store(tmp_path / kind).records()
        assert (record.tuning.objective, record.tuning.tuning_id) == (None if kind == "macro" else kind, found["id"])
        if metric in record.metrics["val"]:
            assert record.metrics["val"][metric] == pytest.approx(best)
    for point, recall in by_kind["prior"].items():  # of the first class alone
        counts = torch.bincount(open_cache(small_cache).split("val").labels)
        wrong = round((1 - by_kind["micro"][point]) * int(counts.sum()))
        of_first = round((1 - recall) * int(counts[0]))
        assert by_kind["cost"][point] == pytest.approx((wrong + 9 * of_first) / int(counts.sum()))


def test_an_earlier_tuning_stays_for_the_records_that_name_it(cli, small_cache, tmp_path):
    line = ("--strategy", "tau_norm", "--cache", "small", "--results", str(tmp_path / "results"))
    said, records = [], {}
    for objective in ("macro", "micro"):
        said.append(cli("tune", *line, "--seeds", "0", "--objective", objective).out)
        assert cli("run", *line, "--tuned").code == 0
        (record,) = Store(tmp_path / "results").records()
        path = Store(tmp_path / "results").path(record)
        newest = json.loads(tuning_path(tmp_path / "results", find("tau_norm"), open_cache(small_cache).manifest).read_text())
        assert (newest["objective"]["kind"], record.tuning.tuning_id) == (objective, newest["id"])
        records[objective] = path, record
    assert ["earlier tuning" in text for text in said] == [False, True]
    assert "1 earlier tuning; --tuned takes the newest" in said[1]
    files = [tunings_of(*one) for one in records.values()]
    assert [read_tuning(file)["id"] for (file,) in map(dict.values, files)] == [record.tuning.tuning_id for _, record in records.values()]
    assert cli("validate", "results").code == 0


def test_an_objective_that_was_altered_is_refused(cli, small_cache, tmp_path):
    assert cli("tune", "--strategy", "tau_norm", "--cache", "small", "--seeds", "0", "--objective", "micro").code == 0
    found = document(tmp_path / "results")
    (path,) = (tmp_path / "results" / "tuning").glob("*.json")
    path.write_text(json.dumps(sealed(found | {"objective": {"kind": "macro"}})))
    done = cli("run", "--strategy", "tau_norm", "--cache", "small", "--tuned")
    assert (done.code, "damaged tuning" in done.err) == (2, True), done.err
    renamed = [{("macro_accuracy" if key == "accuracy" else key): value for key, value in point.items()} for point in found["grid"]]
    path.write_text(json.dumps(sealed(found | {"objective": {"kind": "macro"}, "grid": renamed, "macro_accuracy": found["accuracy"]})))
    done = cli("run", "--strategy", "tau_norm", "--cache", "small", "--tuned")
    assert (done.code, "its id is not that of its content" in done.err) == (2, True), done.err


def test_an_objective_that_is_none_is_refused_before_anything_is_fitted(cli, small_cache, tmp_path):
    for objective, said in (
        ("accuracy", "expected macro, micro, shots, prior=FILE or cost=FILE"),
        ("cost=none.csv", "no such file: none.csv"),
    ):
        done = cli("tune", "--strategy", "tau_norm", "--cache", "small", "--objective", objective)
        assert (done.code, said in done.err) == (2, True), done.err
    assert not (tmp_path / "results").exists()


def test_what_a_choice_is_worth_is_said(cli, small_cache, copy, tmp_path):
    """Of five images no grid of 21 points has a single best; images that come in groups are drawn one by one."""
    labels = open_cache(small_cache).split("val").labels.tolist()
    rows = "".join(f"{number}.png,val,track {number // 2}\n" for number in range(len(labels)))
    (copy / "images.csv").write_text(f"path,split,group\n{rows}")
    line = ("tune", "--strategy", "tau_norm", "--accelerator", "cpu", "--val-size", "5")
    done = cli(*line, "--cache", str(copy))
    assert (done.code, done.err) == (0, "")
    found = document(tmp_path / "results")
    said = " ".join(done.out.split())
    best = [point for point in found["grid"] if point["mean"] == found["macro_accuracy"]]
    assert len(best) > 1
    assert f"{len(best)} points tie at {100 * found['macro_accuracy']:.2f} %: the first is taken" in said
    assert (
        f"chosen in {found['choices'].count(found['choices'][0])} of 100 draws of validation images, in {found['tied']} of them tied"
        in said
    )
    assert "these images do not settle the choice" in said
    assert f"these images come in {found['validation']['groups']} groups, and draws take them one by one" in said
    assert found["validation"]["groups"] == 5
    tuning = lt.tune("tau_norm", lt.open_cache(copy), val_size=5, accelerator="cpu")
    assert str(tuning).startswith(f"tau_norm: {found['choice']}; {len(best)} points tie")
    done = cli(*line, "--cache", "small", "--draws", "1", "--results", "once")
    assert "drawn once, so nothing says how settled the choice is" in done.out
    assert "in groups" not in done.out


def test_what_is_tuned_is_not_fitted_again(cli, small_cache, tmp_path, monkeypatch):
    line = ("tune", "--strategy", "tau_norm", "--cache", "small", "--accelerator", "cpu")
    assert "fitted again" not in cli(*line).out
    found, (path,) = document(tmp_path / "results"), (tmp_path / "results" / "tuning").glob("*.json")

    def fitted(*given, **more):
        raise UserError("fitted again")

    with monkeypatch.context() as patched:
        patched.setattr("lt_bench.bench.tuning.tune.scores_of", fitted)
        again = cli(*line)
        assert again.code == 0
        assert "tuned before with the same settings, code and versions, and not fitted again" in again.out
        assert document(tmp_path / "results") == found
        assert lt.tune("tau_norm", lt.open_cache(small_cache), results=tmp_path / "results", accelerator="cpu").document == found
        for other in (("--objective", "micro"), ("--budget", "30"), ("--draws", "9"), ("--val-size", "20"), ("--results", "other")):
            assert "fitted again" in cli(*line, *other).err
        path.write_text(path.read_text().replace("0.5", "0.6"))
        assert "fitted again" in cli(*line).err  # an altered one is no tuning
    assert cli(*line).code == 0
    assert document(tmp_path / "results") == found
