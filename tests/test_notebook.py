"""``examples/notebook.ipynb``, cell by cell."""

import json
import sys
import types
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_prints_nothing_and_shows_its_rows(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("__main__")  # where the classes of cells are
    monkeypatch.setitem(sys.modules, "__main__", module)
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), vars(module))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert not list(tmp_path.iterdir())
    assert sorted(module.board["strategy"]) == ["__main__.MyHead", "balanced_softmax", "compose", "joint"]
    assert module.board["accuracy"].between(30, 60).all()
    assert module.own.manifest.dataset.num_classes == 10
