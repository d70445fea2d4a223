import subprocess
import sys
from pathlib import Path

from lt_bench.backbones.docs import backbones_page
from lt_bench.backbones.maps import key_map_names
from lt_bench.backbones.registry import backbone_names

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    assert page == backbones_page(), "run: python -m lt_bench.backbones.docs > docs/backbones.md"
    assert all(f"`{name.removeprefix('torchvision.')}`" in page for name in backbone_names())
    assert all(f"### {name}" in page for name in key_map_names())


def test_names_are_listed_without_torch():
    code = (
        "import sys; from lt_bench.backbones.docs import backbones_page; backbones_page();"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_plug_in_suite_names_importers_with_released_weights():
    from lt_bench.backbones.maps import read_key_map
    from lt_bench.bench.suite.run import read_suite

    suite = read_suite(ROOT / "benchmarks" / "suites" / "plug_in.yaml")
    assert {"joint", "los"} <= {name for name in suite.strategies if isinstance(name, str)}
    sources = [cache.backbone for cache in suite.caches]
    assert len(set(sources)) == len(sources) > 5
    for source in sources:
        assert not read_key_map(source).weights.startswith("none")
