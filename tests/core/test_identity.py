from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.core.identity import canonical_json, record_id

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values))
def test_the_id_does_not_depend_on_the_order_of_keys(identity):
    assert record_id(identity) == record_id(dict(reversed(list(identity.items()))))


@given(values)
def test_canonical_json_loses_nothing(value):
    assert json.loads(canonical_json(value)) == value


def test_golden_id():
    identity = {"strategy": "los", "seed": 0, "hyperparameters": {"epsilon": 0.98}}
    text = '{"hyperparameters":{"epsilon":0.98},"seed":0,"strategy":"los"}'
    assert canonical_json(identity) == text
    assert record_id(identity) == hashlib.sha256(text.encode()).hexdigest()[:16] == "b50db1a419f583ba"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(UserError, match="identity"):
        record_id({"x": value})
