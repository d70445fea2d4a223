"""TorchMetrics without the packages on the side, for the suite's own code alone."""

import subprocess
import sys

import pytest

from lt_bench.bench.workers import Workers
from lt_bench.core import lean_import
from lt_bench.core.lean_import import import_torchmetrics_alone, imports_torchmetrics_alone
from lt_bench.core.names import object_at


@pytest.fixture
def command(monkeypatch):
    """This process as a command that has imported nothing yet."""
    monkeypatch.delitem(sys.modules, "torchmetrics", raising=False)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(lean_import, "_imports_alone", False)
    import_torchmetrics_alone()


@pytest.mark.usefixtures("command")
def test_code_of_the_users_own_imports_torchmetrics_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metric_user.py").write_text("import sys\nclass Head:\n    finders = [type(one).__module__ for one in sys.meta_path]\n")
    object_at("lt_bench.core.errors.UserError")
    assert imports_torchmetrics_alone()
    assert lean_import.__name__ not in object_at("own_metric_user.Head").finders
    assert not imports_torchmetrics_alone()


@pytest.mark.parametrize("alone", [True, False])
def test_a_worker_imports_torchmetrics_as_its_parent_does(alone, monkeypatch):
    monkeypatch.setattr(lean_import, "_imports_alone", alone)
    unit = "'_Finder' in [type(one).__name__ for one in __import__('sys').meta_path]"
    with Workers(eval, [{}]) as workers:
        assert [outcome for *_, outcome in workers.outcomes([unit])] == [alone]


@pytest.mark.slow
def test_check_of_a_strategy_that_uses_metrics_of_images(tmp_path):
    (tmp_path / "own_images.py").write_text(
        "import lt_bench as lt\nfrom torchmetrics.image import LearnedPerceptualImagePatchSimilarity\n"
        'class Head(lt.Strategy):\n    "Cross-entropy."\n    name = "head"\n'
    )
    line = [sys.executable, "-m", "lt_bench", "check", "own_images.Head"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
