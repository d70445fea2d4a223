"""The index of the scripts behind the figures."""

from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_script_is_in_the_index():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if path.name != "__init__.py"}
    packages = {f"benchmarks.{path.parent.name}" for path in BENCHMARKS.glob("*/__main__.py")}
    assert len(scripts) > 15
    assert not {name for name in scripts | packages if name not in text}
