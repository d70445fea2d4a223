"""The help: short, in groups, with every option explained; and the environment, where a name that is no option is refused."""

import re

import pytest

from lt_bench.cli.docstrings import explained, explained_by
from lt_bench.cli.request import parse
from lt_bench.cli.verbs import VERBS
from lt_bench.core.errors import UserError
from lt_bench.strategies.registry import find, strategy_names


@pytest.mark.parametrize("columns", ["80", "100", "160"])
def test_the_help_of_run_is_short_and_in_groups(columns, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    text = cli("run", "--help").out
    assert len(text.splitlines()) <= 70
    for title in ("strategy", "data", "features", "fit", "records and files", "messages"):
        assert re.search(rf"^{title}:$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= int(columns)


def test_what_is_for_images_is_shown_where_it_matters(cli):
    short = cli("run", "--help").out
    assert re.search(r"^  --phase1", short, re.MULTILINE) is None
    assert "--phase1" in short  # says where it is
    assert "lt-bench run --help-all" in " ".join(short.split())
    for words in (("--help-all",), ("--mode", "end-to-end", "--help"), ("--protocol=images-eval", "-h")):
        assert re.search(r"^  --phase1 PATH", cli("run", *words).out, re.MULTILINE)
    assert re.search(r"^  --split-seed N", cli("run", "--data-dir", "x", "--help").out, re.MULTILINE)
    assert "--help-all" not in cli("list", "--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = cli(verb, "--help-all" if verb in ("run", "tune") else "--help").out
    entries = re.split(r"\n  (?=--?\w)", text.partition("options:")[2])
    assert len(entries) > 5
    assert [entry for entry in entries[1:] if len(re.sub(r"^(-\w, )?--[\w.-]+( [A-Z,]+| \{.*?\})?", "", entry).split()) < 2] == []


def test_epsilon_is_explained(cli):
    text = " ".join(cli("run", "--strategy", "los", "--help").out.split())
    assert re.search(r"--strategy\.epsilon X mass spread evenly over all K classes \(from 0 to 1; default: 0\.98\)", text)
    assert "--strategy.lr X learning rate of the first epoch" in text


@pytest.mark.parametrize("name", strategy_names())
def test_every_hyper_parameter_of_every_strategy_is_explained(name, cli):
    text = " ".join(cli("run", "--strategy", name, "--help").out.split())
    for key in find(name).types():
        assert re.search(rf"--strategy\.{key}( [A-Z,]+| {{[^}}]*}})? [a-zA-Z0-9]", text), key


def test_docstrings_are_read_as_they_are_written():
    text = """Title.

    Args:
        one: said
            over two lines.
        two (int): with a type: and a colon.

    Attributes:
        three: of those.

    Raises:
        UserError: not an argument.
    """
    assert explained(text) == {"one": "said over two lines.", "two": "with a type: and a colon.", "three": "of those."}
    assert explained(None) == {}

    class Base:
        """Base.

        Attributes:
            a: of the base
            b: of the base
        """

    class Derived(Base):
        """Derived.

        Attributes:
            b: of the derived
        """

    assert explained_by(Derived) == {"a": "of the base", "b": "of the derived"}


WRONG = {
    "LT_BENCH_RUN__SEED": r"unknown environment variable LT_BENCH_RUN__SEED \(did you mean 'LT_BENCH_RUN__SEEDS'\?\)",
    "LT_BENCH_RUN__STRATEGY__EPSILN": r"LT_BENCH_RUN__STRATEGY__EPSILN \(did you mean 'LT_BENCH_RUN__STRATEGY__EPSILON'\?\)",
    "LT_BENCH_RUN_SEEDS": r"LT_BENCH_RUN_SEEDS \(did you mean 'LT_BENCH_RUN__SEEDS'\?\)",
    "LT_BENCH_RNU__SEEDS": r"LT_BENCH_RNU__SEEDS \(did you mean 'LT_BENCH_RUN__SEEDS'\?\)",
    "LT_BENCH__SEEDS": "unknown environment variable LT_BENCH__SEEDS",
    "LT_BENCH_HOM": r"unknown environment variable LT_BENCH_HOM \(did you mean 'LT_BENCH_HOME'\?\)",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_variable_that_is_no_option_is_refused(name, monkeypatch):
    monkeypatch.setenv(name, "5")
    with pytest.raises(UserError, match=WRONG[name]):
        parse("run", ["--strategy", "los"])


def test_variables_of_other_verbs_and_of_others_are_left_alone(monkeypatch):
    for name in ("LT_BENCH_TUNE__SEEDS", "LT_BENCH_IMPORT_FEATURES__NAME", "LT_BENCH_TUNE__NONSENSE", "LT_BENCH_MINE", "LT_BENCHMARK__X"):
        monkeypatch.setenv(name, "7")
    assert parse("run", ["--strategy", "los"]).seeds == [0]


def test_a_value_in_the_environment_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setenv("LT_BENCH_RUN__DEVICES", "many")
    with pytest.raises(UserError, match="run: --devices: expected a whole number, got many"):
        parse("run", ["--strategy", "los"])


@pytest.mark.parametrize(
    ("line", "seeds"),
    [("0-4", [0, 1, 2, 3, 4]), ("0,2,5-7", [0, 2, 5, 6, 7]), ("3", [3]), ("[0, 1]", [0, 1]), ("7-7", [7]), (" 1 , 2 ", [1, 2])],
)
def test_seeds_are_written_as_people_do(line, seeds):
    assert parse("run", ["--strategy", "los", "--seeds", line]).seeds == seeds


@pytest.mark.parametrize(
    ("line", "message"), [("4-0", "expected a range such as 0-4, got 4-0"), ("0-", "expected a whole number, got 0-"), ("1.5", "got 1.5")]
)
def test_seeds_that_are_none(line, message):
    with pytest.raises(UserError, match=f"run: --seeds: .*{re.escape(message)}"):
        parse("run", ["--strategy", "los", "--seeds", line])


def test_tune_takes_one_strategy():
    with pytest.raises(
        UserError, match=r"tune: --strategy los,ce names several; tune takes one at a time, e\.g\. `lt-bench tune --strategy los`"
    ):
        parse("tune", ["--strategy", "los,ce", "--cache", "small"])


@pytest.mark.parametrize("verb", VERBS)
def test_the_variable_that_help_names_is_an_option(verb, cli):
    text = " ".join(cli(verb, "--help").out.split())
    (named,) = set(re.findall(rf"LT_BENCH_{verb.upper().replace('-', '_')}__ ?([A-Z_]+)=", text))
    assert f"--{named.lower().replace('_', '-')}" in text
