import pytest

from lt_bench.bench.contract.check import check_one, checks_of
from lt_bench.strategies.registry import describe, find, strategy_names

CASES = [(name, check) for name in strategy_names() for check in checks_of(find(name))]


@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{name}-{check}" for name, check in CASES])
def test_a_strategy_keeps_the_contract(name, check):
    assert check_one(find(name), check).problem is None


@pytest.mark.parametrize("name", strategy_names())
def test_the_registry_reads_from_the_source_what_the_class_says(name):
    read = find(name)
    imported = describe(read.load())
    for field in set(vars(read)) - {"doc", "cls", "slots"}:
        assert getattr(read, field) == getattr(imported, field), field
    assert read.doc.split() == imported.doc.split()


@pytest.mark.parametrize("name", strategy_names())
def test_a_shipped_strategy_says_what_it_is(name):
    entry = find(name)
    assert entry.family
    assert entry.paper
    assert "``" in entry.doc, "the formula stands in double backquotes"
