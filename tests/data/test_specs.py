import subprocess
import sys

import pytest

from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_names, dataset_spec
from lt_bench.metrics.groups import shot_groups

# strategies.md 2.1 and 3 (many > 100, few < 20).
PUBLISHED = {
    "imagenet_lt": (115846, 1280, 5, (385, 479, 136)),
    "places_lt": (62500, 4980, 5, (131, 163, 71)),
    "inat2018": (437513, 1000, 2, (842, 4076, 3224)),
    "cifar100_lt": (10847, 500, 5, (35, 35, 30)),
    "cifar10_lt": (12406, 5000, 50, (8, 2, 0)),
    "tiny_imagenet_lt": (21549, 500, 5, (70, 70, 60)),
    "ictext_lt": (25711, 3200, 32, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    spec = dataset_spec(name)
    counts = spec.train_counts()
    total, most, least, groups = PUBLISHED[name]
    assert (len(counts), sum(counts), max(counts), min(counts)) == (spec.num_classes, total, most, least)
    if groups:
        found = shot_groups(counts)
        assert (found.many.sum(), found.medium.sum(), found.few.sum()) == groups


@pytest.mark.parametrize("name", dataset_names())
def test_every_spec_is_complete(name):
    spec = dataset_spec(name)
    assert spec.title
    assert spec.summary
    assert spec.obtain
    if spec.num_classes:
        assert spec.licence
        assert spec.homepage.startswith("http")
        assert spec.paper
        assert spec.needs
        names = spec.class_names()
        assert names is None or len(set(names)) == spec.num_classes


def test_class_names_are_in_label_order():
    assert dataset_spec("cifar10_lt").class_names()[:3] == ("airplane", "automobile", "bird")
    assert dataset_spec("cifar100_lt").class_names()[99] == "worm"


def test_given_counts_take_no_factor():
    with pytest.raises(UserError, match="takes no imbalance factor"):
        dataset_spec("imagenet_lt").train_counts(50)


def test_names():
    assert dataset_spec("CIFAR100-LT").name == "cifar100_lt"
    with pytest.raises(UserError, match="did you mean cifar100_lt"):
        dataset_spec("cifar100lt")
    with pytest.raises(UserError, match="there are cifar10_lt"):
        dataset_spec("xyz")


def test_the_listing_imports_no_torch():
    code = "import sys, lt_bench.data.specs, lt_bench.data.splits, lt_bench.backbones.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
