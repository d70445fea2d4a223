from __future__ import annotations

import re

import numpy as np

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.tables.columns import registered
from lt_bench.leaderboard.tables.latex import escape, latex_table


def test_table(builder):
    made = [
        builder.make(name, 0, correct=np.arange(200) < hits)[0] for name, hits in (("balanced_softmax", 150), ("los", 140), ("ce", 100))
    ]
    (found,) = boards(from_records(made))
    columns = tuple(column for column in registered() if column.key in ("accuracy", "few", "tuning"))
    text = latex_table(found, columns)
    lines = text.splitlines()
    assert re.search(r"balanced\\_softmax & \\textbf\{75\.00\}", text)
    assert re.search(r"los & \\underline\{70\.00\}", text)
    assert re.search(r"ce & 50\.00 ", text)
    body = [line for line in lines if " & " in line]
    assert len(body) == 4
    assert {line.count("&") for line in body} == {3}
    for pair in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert lines.count(pair) == 1
    assert text.count("{") == text.count("}")


def test_escape():
    assert escape("a_b & 5% ± – $x$") == r"a\_b \& 5\% $\pm$ -- \$x\$"  # noqa: RUF001
