import dataclasses
import re
import textwrap
from collections import Counter

import pytest
import torch

from lt_bench.core.errors import UserError
from lt_bench.data.specs import dataset_spec
from lt_bench.engine.pretrain.recipes import RECIPES
from lt_bench.features.cache import Head
from lt_bench.strategies import registry
from lt_bench.strategies.contract import Facts
from lt_bench.strategies.entries_from_source import entries_of
from lt_bench.strategies.hyper import type_name
from lt_bench.strategies.pages import page
from lt_bench.strategies.recipe import Recipe
from lt_bench.strategies.registry import find, strategy_names

OWN = '''
"""A file of the user's own."""
from typing import Literal
from lt_bench.strategies.contract import Recipe, Strategy
from lt_bench.strategies.hyper import hyper
from lt_bench.strategies.slots.transforms import LogPrior


class {cls}(Strategy):
    """Mine: ``l_i = CE(z_i, y)``."""

    name = {name!r}
    family = "own"
    paper = "none"
    recipe = Recipe(lr=0.5, epochs=3)
    scale: float = hyper(1.0, low=0, grid=(1.0, 2.0), help="of it")
    mode: Literal["a", "b"] = hyper("a")

    transform = LogPrior("scale")
'''


def test_every_entry_says_what_its_class_says():
    """Facts that are read from the source without importing are those of the imported class."""
    for name in strategy_names():
        entry = find(name)
        imported = registry.describe(entry.load())
        for field in (
            "name",
            "family",
            "paper",
            "sampler",
            "initial_head",
            "trains",
            "fitting",
            "recipe",
            "official",
            "settings",
            "grid",
            "inferred",
            "selected_on_val",
            "stackable",
        ):
            assert getattr(entry, field) == getattr(imported, field), (name, field)
        assert entry.hyperparameters == imported.hyperparameters, name
        assert entry.class_path == imported.class_path


def test_facts_of_los():
    entry = find("los")
    assert entry.recipe == Recipe(lr=5e-4, momentum=0.9, weight_decay=0.0, batch_size=64, epochs=20)
    assert [(one.dataset, one.imbalance_factor) for one in entry.official] == [
        ("cifar100_lt", 10),
        ("cifar100_lt", 50),
        ("cifar100_lt", 100),
    ]
    assert {h.name: h.default for h in entry.hyperparameters} == {
        "epsilon": 0.98,
        "convention": "torch",
        "true_probability": 0.0,
        "gap": 0.0,
    }
    assert entry.summary.startswith("LOS: ")
    assert find("LOS") == find("los")
    assert find("balanced-softmax").name == "balanced_softmax"


def test_a_subclass_inherits_the_facts_it_does_not_change():
    lort, los = find("lort"), find("los")
    assert (lort.recipe, lort.hyperparameters, lort.grid) == (los.recipe, los.hyperparameters, los.grid)
    assert (lort.inferred, lort.official) == (True, ())


def test_names_that_records_use_are_kept_free():
    ce = find("ce")
    with pytest.raises(UserError, match="cannot be called matmul"):
        dataclasses.replace(ce, hyperparameters=(dataclasses.replace(find("los").hyperparameters[0], name="matmul"),))


def test_resolve_takes_the_nearer_setting():
    entry = find("d_ffds")
    assert entry.resolve("cifar100_lt", 100)["gamma_max"] == 4.5
    assert entry.resolve("cifar100_lt", 50)["gamma_max"] == 5.0
    assert entry.resolve("cifar100_lt", 50)["gamma_min"] == 1.5
    assert entry.resolve("cifar100_lt", 50, {"gamma_min": 0.0})["gamma_min"] == 0.0  # given wins, also where it is the general default
    assert entry.resolve("cifar100_lt")["epochs"] == 70
    assert entry.resolve("cifar100_lt", None, {"milestones": [1, 2]})["milestones"] == (1, 2)
    assert "epochs" not in find("tau_norm").resolve("cifar100_lt")


def test_resolve_refuses_what_the_strategy_does_not_have():
    with pytest.raises(UserError, match=r"los has no hyper-parameter 'epsilan' \(did you mean 'epsilon'\?\); it has epsilon, "):
        find("los").resolve("cifar100_lt", 100, {"epsilan": 0.5})
    with pytest.raises(UserError, match="joint has no hyper-parameter 'epochs'; it has none"):
        find("joint").resolve("cifar100_lt", 100, {"epochs": 3})


def test_official_is_a_matter_of_the_data_set():
    assert find("los").is_official("cifar100_lt", 100)
    assert not find("los").is_official("cifar100_lt", 200)
    assert not find("los").is_official("imagenet_lt")
    assert find("balanced_softmax").is_official("cifar100_lt", 200)
    assert not find("balanced_softmax").is_official("cifar100_lt", 100), "released for IF 200 only"
    assert find("crt").is_official("imagenet_lt", 256), "a data set with one imbalance factor"
    assert find("joint").is_official("anything")
    assert not find("lort").is_official("cifar100_lt", 100)


def test_the_name_of_a_file_here_leads_to_its_classes(tmp_path, monkeypatch):
    """``--strategy my_head`` with a my_head.py in the folder; the file is read and not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_head.py").write_text("raise SystemExit\n\n\nclass MyHead:\n    name = 'my_head'\n\n\nclass Other:\n    pass\n")
    with pytest.raises(
        UserError, match=r"'my_head' \(did you mean 'my_head.MyHead' or 'my_head.Other', of my_head.py here\?\); `lt-bench list"
    ):
        find("my_head")
    for content in ("def broken(:", "x = 1", "\0"):
        (tmp_path / "loss.py").write_text(content)
        with pytest.raises(UserError, match=r"unknown strategy 'loss' \(did you mean 'los'\?\)"):
            find("loss")


def test_unknown_names():
    with pytest.raises(UserError, match=r"unknown strategy 'balanced_softmx' \(did you mean 'balanced_softmax'\?\)"):
        find("balanced_softmx")
    with pytest.raises(UserError, match="unknown strategy 'zzz'; `lt-bench list strategies`"):
        find("zzz")
    for name in ("", ".", "a.", ".a", "./los.py", "../x.y", "no_such_package.module.Head", "lt_bench.strategies.los.", "pathlib.Path.x"):
        with pytest.raises(UserError) as caught:
            find(name)
        assert "\n" not in str(caught.value)


def test_what_is_called_official_names_its_source():
    assert {name for name, recipe in RECIPES.items() if not recipe.official} == {"fast"}, "ours"
    for entry in (*map(find, strategy_names()), *RECIPES.values()):
        for one in entry.official:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.repository), entry.name
            assert re.fullmatch(r"[0-9a-f]{7,40}", one.commit), entry.name
            assert re.search(r"\w\.(py|json|yaml)\b", one.config), entry.name
            profiles = dataset_spec(one.dataset).layout in ("small_images", "tiny_imagenet")
            assert (one.imbalance_factor is not None) == profiles, f"{entry.name}: {one.dataset} exists with several imbalance factors"
            if one.imbalance_factor is not None:
                assert one.imbalance_factor in (10, 50, 100, 200), entry.name
        assert len({(one.dataset, one.imbalance_factor) for one in entry.official}) == len(entry.official), entry.name


def test_every_strategy_has_configurations_of_its_own_and_its_page_shows_them():
    """One demo states two strategies: rows of one length, and the second stage."""
    claims = Counter((one.repository, one.config) for entry in map(find, strategy_names()) for one in entry.official)
    shared = {config for config, number in claims.items() if number > 1}
    assert shared == {("ShadeAlsha/LTR-weight-balancing", "demo2_second-stage-training.py")}
    for entry in map(find, strategy_names()):
        text = page(entry)
        assert all(str(one) in text for one in entry.official), entry.name
    for name in ("crt", "lws"):
        assert all(f"cls_{name}" in one.config and f"cls_{name}" in one.differs for one in find(name).official)


def test_official_says_where_it_comes_from(own):
    own("mine_official", """
        import lt_bench as lt
        class One(lt.Strategy):
            name = "one"
            official = lt.Official("me/mine", "0123abc", "train.py", "cifar100_lt", 100)
        class Wrong(lt.Strategy):
            name = "wrong"
            official = ("cifar100_lt",)
    """)  # fmt: skip
    one = find("mine_official.One")
    assert one.is_official("cifar100_lt", 100)
    assert not one.is_official("cifar100_lt", 50)
    with pytest.raises(UserError, match=r"official is 'cifar100_lt', expected Official\("):
        find("mine_official.Wrong")


def test_a_budget_in_steps_and_a_length_in_epochs_exclude_each_other():
    entry = find("balanced_softmax")
    assert entry.resolve("cifar100_lt", 100)["iterations"] == 2000
    assert "epochs" not in entry.resolve("cifar100_lt", 100)
    assert "iterations" not in entry.resolve("places_lt"), "whose configuration counts epochs"
    given = entry.resolve("cifar100_lt", 100, {"epochs": 3})
    assert given["epochs"] == 3
    assert "iterations" not in given
    with pytest.raises(UserError, match="epochs and iterations were both given"):
        entry.resolve("cifar100_lt", 100, {"epochs": 3, "iterations": 4})
    assert "schedule_offset" not in find("los").resolve("cifar100_lt", 100), "records without an offset are those from before there was one"
    assert entry.resolve("cifar100_lt", 100, {"schedule_offset": 0})["schedule_offset"] == 0


@pytest.mark.parametrize(
    ("name", "dataset", "factor", "settings"),
    [
        ("weight_balancing_released", "cifar100_lt", 100, {"epochs": 10, "schedule": "cosine", "schedule_offset": 1}),
        ("balanced_softmax", "cifar100_lt", 200, {"iterations": 2000, "schedule_offset": 1}),
        ("meta_sampler", "cifar100_lt", 200, {"iterations": 2000, "schedule_offset": 1}),
        ("marc", "cifar100_lt", 200, {"iterations": 2000, "warmup_iterations": 800, "schedule_offset": 1}),
        ("crt", "imagenet_lt", None, {"epochs": 10, "schedule": "cosine", "schedule_offset": 1}),
        ("lws", "places_lt", None, {"batch_size": 256, "schedule_offset": 1}),
        ("d_ffds", "tiny_imagenet_lt", 100, {"epochs": 90, "milestones": (5,), "decay": 0.01}),
        ("d_ffds", "ictext_lt", 18, {"epochs": 50, "milestones": (10, 30), "decay": 0.01, "gamma_max": 3.8}),
        ("d_ffds", "ictext_lt", 100, {"epochs": 50, "milestones": (10, 30), "decay": 0.01, "gamma_max": 2.4}),
    ],
)
def test_official_lengths_and_schedules_are_those_of_the_released_files(name, dataset, factor, settings):
    resolved = find(name).resolve(dataset, factor)
    assert {key: resolved.get(key) for key in settings} == settings


def test_types_cover_what_resolves():
    for name in strategy_names():
        entry = find(name)
        assert set(entry.types()) == set(entry.options("")), name
    assert find("los").types()["lr"] is float
    assert type_name(find("los").types()["convention"]) == "torch | others"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of the user's own and put it on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(module, text):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        return module

    return write


def test_a_strategy_of_the_users_own(own):
    own("own_one", OWN.format(cls="Mine", name="mine"))
    entry = find("own_one.Mine")
    assert (entry.name, entry.class_path, entry.public_name) == ("mine", "own_one.Mine", "own_one.Mine")
    assert entry.recipe.lr == 0.5
    assert entry.types()["scale"] is float
    assert entry.resolve("x", None, {"scale": 3.0})["scale"] == 3.0
    head = Head(torch.zeros(2, 3), torch.zeros(2))
    assert entry.grid == {"scale": (1.0, 2.0)}
    assert entry.load()(Facts(3, (3, 2), head), scale=2.0).scale == 2.0
    with pytest.raises(UserError, match=r"mine\.scale is -1\.0, expected a number of at least 0"):
        entry.load()(Facts(3, (3, 2), head), scale=-1.0)


BROKEN = {
    "import": ("import no_such_module_anywhere\n", "cannot be imported"),
    "syntax": ("class Head(:\n", "cannot be imported"),
    "raises": ("1 / 0\n", "cannot be imported"),
    "no class": ("x = 1\n", "has no class 'Head'"),
    "not a class": ("Head = 3\n", "Head is no class"),
    "another class": ("class Head:\n    pass\n", "is not a lt_bench.Strategy"),
    "no strategy": (
        "from lt_bench.strategies.contract import Strategy\nclass Head(Strategy):\n    pass\n",
        "own_broken_no_strategy.Head has no name",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_of_the_users_own(own, fault):
    module = own(f"own_broken_{fault.replace(' ', '_')}", BROKEN[fault][0])
    with pytest.raises(UserError, match=BROKEN[fault][1]) as caught:
        find(f"{module}.Head")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("scale: float = hyper", "scale = hyper"), "scale needs a type: `scale: float = hyper"),
        (("low=0", "low=int(0)"), "Shipped.scale: the arguments of hyper must be literals"),
        (('mode: Literal["a", "b"] = hyper("a")', "mode: complex = hyper(1j)"), "type 'complex' is not made of float"),
        (("recipe = Recipe(lr=0.5, epochs=3)", "recipe = Recipe(lr=float(1), epochs=3)"), "Shipped.recipe must be a literal"),
        (('family = "own"', 'family = "o" + "wn".lower()'), "Shipped.family must be a literal"),
        (('    """Mine: ``l_i = CE(z_i, y)``."""\n', ""), "class Shipped has no docstring"),
    ],
)
def test_a_shipped_file_that_breaks_the_rules_is_a_loud_error(tmp_path, change, message):
    text = OWN.format(cls="Shipped", name="shipped")
    assert change[0] in text
    path = tmp_path / "shipped.py"
    path.write_text(text.replace(*change))
    with pytest.raises(UserError, match=message):
        entries_of(path)


def test_a_name_twice_is_a_loud_error(tmp_path, monkeypatch):
    for file in ("one", "two"):
        (tmp_path / f"{file}.py").write_text(OWN.format(cls="Same", name="same"))
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    registry._shipped.cache_clear()
    try:
        with pytest.raises(UserError, match=r"two\.py: strategy 'same' is defined in lt_bench\.strategies\.one\.Same already"):
            strategy_names()
    finally:
        registry._shipped.cache_clear()


def test_a_shipped_file_that_cannot_be_imported_is_a_user_error(own):
    entry = find("los")
    broken = registry.dataclasses.replace(entry, class_path="lt_bench.strategies.no_such_file.Head")
    with pytest.raises(UserError, match=r"lt_bench\.strategies\.no_such_file\.Head: cannot be imported"):
        broken.load()


def test_what_a_file_says_of_its_slots(tmp_path):
    path = tmp_path / "shipped.py"
    path.write_text(OWN.format(cls="Shipped", name="shipped"))
    (entry,) = entries_of(path)
    assert entry.slots == {"sampler": "instance", "initial_head": "joint", "transform": "log_prior(tau=1.0)"}
    path = tmp_path / "other.py"  # a file is read once
    path.write_text(OWN.format(cls="Shipped", name="shipped") + "\n    def begin(self, train):\n        pass\n")
    (entry,) = entries_of(path)
    assert entry.slots is None
