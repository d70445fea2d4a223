from pathlib import Path

from lt_bench.data.docs import datasets_page
from lt_bench.data.images.transforms import augmentation
from lt_bench.data.specs import dataset_names, dataset_spec

PAGE = Path(__file__).parent.parent.parent / "docs" / "datasets.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == datasets_page(), "run: python -m lt_bench.data.docs > docs/datasets.md"


def test_the_page_names_every_benchmark():
    page = datasets_page()
    for name in dataset_names():
        spec = dataset_spec(name)
        assert spec.num_classes is None or all(f"`{spec.folder}/{need.path}`" in page for need in spec.needs)


def test_what_a_spec_says_of_augmentation_is_what_is_done():
    for name in dataset_names():
        spec = dataset_spec(name)
        if spec.layout not in ("small_images", "embeddings"):
            assert augmentation(spec, spec.input_size).words == spec.augmentation
