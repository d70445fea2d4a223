"""Refusals name the file or the variable that an option comes from; an option that stands twice on the line is refused."""

import pytest

from lt_bench.cli.request import parse
from lt_bench.core.errors import UserError

RUN = ("--cache", "small")
FILES = {
    "seads: 1": "run: unknown option --seads (did you mean '--seeds'?)",
    "seeds: abc": "run: --seeds: expected a whole number, got abc",
    "mode: nope": "run: --mode: expected one of head, end-to-end, got nope",
    "strategy: nope": "unknown strategy 'nope'",
    "strategy: {name: los, epsilom: 0.5}": "run: unknown option --strategy.epsilom",
    "strategy: {name: los, epsilon: abc}": "run: --strategy.epsilon: expected a number, got abc",
    "strategy: {name: los, epsilon: 7}": "los.epsilon is 7.0, expected a number from 0 to 1",
    "imbalance-factor: abc": "run: --imbalance-factor: expected a number, got abc",
}
VARIABLES = {
    "SEEDS=abc": "run: --seeds: expected a whole number, got abc",
    "STRATEGY=nope": "unknown strategy 'nope'",
    "STRATEGY__NAME=nope": "unknown strategy 'nope'",
    "STRATEGY__EPSILON=7": "los.epsilon is 7.0",
    "IMBALANCE_FACTOR=abc": "run: --imbalance-factor: expected a number, got abc",
}


def refusal(verb, *words):
    with pytest.raises(UserError) as caught:
        parse(verb, words)
    return str(caught.value)


@pytest.mark.parametrize("content", FILES)
def test_a_refusal_names_the_file(content, tmp_path):
    (tmp_path / "good.yaml").write_text("again: true")
    (tmp_path / "bad.yaml").write_text(content)
    words = [] if "strategy" in content else ["--strategy", "los"]
    said = refusal("run", *RUN, *words, "--config", str(tmp_path / "bad.yaml"), "--config", str(tmp_path / "good.yaml"))
    assert said.startswith(f"{tmp_path / 'bad.yaml'}: {FILES[content]}")


@pytest.mark.parametrize("setting", VARIABLES)
def test_a_refusal_names_the_variable(setting, monkeypatch):
    name, _, value = setting.partition("=")
    monkeypatch.setenv(f"LT_BENCH_RUN__{name}", value)
    words = [] if value == "nope" else ["--strategy", "los"]
    assert refusal("run", *RUN, *words).startswith(f"LT_BENCH_RUN__{name}: {VARIABLES[setting]}")


def test_what_stands_on_the_line_is_of_the_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_RUN__SEEDS", "1")
    (tmp_path / "one.yaml").write_text("seeds: 2\nstrategy: los")
    line = ("--config", str(tmp_path / "one.yaml"), *RUN)
    assert refusal("run", *line, "--seeds", "abc").startswith("run: --seeds: expected a whole number, got abc")
    assert refusal("run", *line, "--strategy", "nope").startswith("unknown strategy 'nope'")
    assert refusal("pretrain", "--recipe.lr", "abc").startswith("pretrain: --recipe.lr: ")
    monkeypatch.setenv("LT_BENCH_PRETRAIN__RECIPE_FIELDS__LR", "abc")
    assert refusal("pretrain").startswith("LT_BENCH_PRETRAIN__RECIPE_FIELDS__LR: pretrain: --recipe.lr: ")


@pytest.mark.parametrize(
    ("refused", "good"),
    [
        ("seeds: abc", "seeds: 2"),
        ("seeds: [1, abc]", "seeds: 2"),
        ("seeds: 1,abc", "seeds: 1"),
        ("seeds: 1.5", "seeds: 5"),
        ("strategy: {epsilon: abc}", "strategy: {epsilon: 0.1}"),
        ("mode: nope", "mode: head"),
    ],
)
def test_of_several_sources_the_one_of_the_refused_value_is_named(refused, good, tmp_path, monkeypatch):
    """The parser checks the values of every source, also of those that a later one overrides."""
    bad, fine = tmp_path / "bad.yaml", tmp_path / "fine.yaml"
    bad.write_text(refused)
    fine.write_text(good)
    for files in ((bad, fine), (fine, bad)):
        words = [word for path in files for word in ("--config", str(path))]
        assert refusal("run", *RUN, "--strategy", "los", *words).startswith(f"{bad}: run: --")
    if refused == "seeds: abc":
        assert refusal("run", *RUN, "--strategy", "los", "--config", str(bad), "--seeds", "2").startswith(f"{bad}: run: --seeds")
        monkeypatch.setenv("LT_BENCH_RUN__SEEDS", "x")
        line = ("run", *RUN, "--strategy", "los", "--config", str(fine))
        assert refusal(*line).startswith("LT_BENCH_RUN__SEEDS: run: --seeds: expected a whole number, got x")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run --strategy ncm --strategy los", "run: --strategy stands 2 times on the line (ncm, los); write --strategy ncm,los"),
        ("run --seeds 0 --seeds=1 --seeds 0", "run: --seeds stands 3 times on the line (0, 1, 0); write --seeds 0,1"),
        ("run --strategy.lr 0.1 --strategy.lr 0.2", "run: --strategy.lr stands 2 times on the line (0.1, 0.2); give it once"),
        ("run --wandb_project a --wandb-project b", "run: --wandb-project stands 2 times on the line (a, b); give it once"),
        ("run --again --again false", "run: --again stands 2 times on the line (no value, false); give it once"),
        ("tune --strategy=ncm --strategy los", "tune: --strategy stands 2 times on the line (ncm, los); give it once"),
        ("leaderboard --rows los --rows ncm", "leaderboard: --rows stands 2 times on the line (los, ncm); write --rows los,ncm"),
    ],
)
def test_an_option_twice_on_the_line(line, says):
    verb, *words = line.split()
    assert refusal(verb, *words) == says


def test_files_may_be_several_and_the_line_overrides_them(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_RUN__SEEDS", "1")
    for name, seeds in (("one", 2), ("two", 3)):
        (tmp_path / f"{name}.yaml").write_text(f"seeds: {seeds}\nstrategy: los")
    files = [word for name in ("one", "two") for word in ("--config", str(tmp_path / f"{name}.yaml"))]
    assert parse("run", [*RUN, "--strategy", "ncm"]).seeds == [1]
    assert parse("run", [*RUN, *files]).seeds == [3]
    options = parse("run", [*RUN, *files, "--seeds", "4", "--strategy", "ncm", "--quiet", "--quiet"])
    assert (options.seeds, options.strategy.name) == ([4], "ncm")
