"""The program of a run: revisions of the suite's strategies, forced up by their numbers, and fingerprints of the user's own."""

import ast
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

from lt_bench.features.samplers import Sampler
from lt_bench.strategies import revisions
from lt_bench.strategies.composition import compose
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.registry import describe, find, strategy_names
from lt_bench.strategies.revisions import code_of, own_objects
from lt_bench.strategies.slots.vocabulary import entries
from tests.strategies import golden_revisions as golden


def test_numbers_are_those_of_their_revisions():
    before, now = json.loads(golden.GOLDEN.read_text()), golden.numbers()
    assert not (names := golden.changed(before, now)), golden.advice(names)
    assert {name: one["revision"] for name, one in before.items()} == {name: one["revision"] for name, one in now.items()}, (
        "a revision was raised or something is new: run `make golden`"
    )
    assert set(strategy_names()) <= set(now)


@pytest.mark.parametrize("factor", [1 + 1e-5, 0.5])
def test_a_changed_number_is_one_line(factor):
    before = json.loads(golden.GOLDEN.read_text())
    now = json.loads(json.dumps(before))
    now["los"]["numbers"][-1] *= factor
    assert golden.changed(before, now) == ["los"]
    assert golden.advice(["los"]) == "numbers of los changed: raise revision in the class of los, and run `make golden`"
    now["los"]["revision"] = "2"
    assert golden.changed(before, now) == []


def test_an_edit_of_a_slot_a_sampler_or_a_metric_changes_numbers(monkeypatch):
    """Coverage of the numbers: halved, each changes those of some strategy."""
    from lt_bench.features.samplers import Instance, SquareRoot
    from lt_bench.metrics import evaluation
    from lt_bench.strategies.slots.targets import Smooth

    before = json.loads(golden.GOLDEN.read_text())
    problem = golden.problem()

    def changed(name):
        jobs = golden.jobs_of(problem)[name]
        heads = golden.fitted(problem, jobs)
        return not golden.agree(before[name], golden.measured(problem, [heads[id(one)] for one in jobs], every=True))

    assert not any(map(changed, ("los", "sqrt_sampling", "joint")))
    prepare = Smooth.prepare
    with monkeypatch.context() as patch:
        patch.setattr(Smooth, "prepare", lambda self, counts: (prepare(self, counts), setattr(self, "mass", 0.5))[0])
        assert changed("los")
    with monkeypatch.context() as patch:
        patch.setattr(SquareRoot, "order", Instance.order)
        assert changed("sqrt_sampling")
    with monkeypatch.context() as patch:
        scalars = evaluation.Evaluation.scalars
        patch.setattr(evaluation.Evaluation, "scalars", lambda self: scalars(self) | {"worst_class": 0.5})
        assert changed("joint")


def test_the_suites_strategies_are_known_by_a_revision():
    assert {code_of(find(name), {}).text for name in ("los", "ncm", "joint")} == {"revision 1"}
    assert code_of(find("los"), {}).parts == {}


def test_revisions_of_a_strategy_and_of_what_is_shared(monkeypatch):
    class Raised(find("los").load()):
        name = "raised"
        revision = 3

    assert revisions.revision_of(describe(Raised)) == "3"
    monkeypatch.setattr(revisions, "SHARED", 2)
    assert revisions.revision_of(find("los")) == "1.2"
    assert revisions.revision_of(describe(Raised)) == "3.2"


OWN = """
import torch
from lt_bench.features.samplers import Sampler
from lt_bench.strategies.contract import Strategy
from lt_bench.strategies.slots.initial_heads import InitialHead
from lt_bench.strategies.slots.transforms import Transform

class Squeeze(Transform):
    "z halved."
    def __call__(self, logits, labels):
        return logits / 2

class Twice(Sampler):
    "All twice."
    def order(self, *given):
        raise NotImplementedError

class Zeros(InitialHead):
    "Nothing."
"""


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file of own parts of the vocabulary."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_parts_r1.py").write_text(OWN)
    yield tmp_path / "own_parts_r1.py"
    sys.modules.pop("own_parts_r1", None)


@pytest.mark.parametrize(
    "slots", [{"transform": "own_parts_r1.Squeeze"}, {"sampler": "own_parts_r1.Twice()"}, {"initial_head": "own_parts_r1.Zeros"}]
)
def test_compositions_with_entries_of_ones_own_have_both(own_file, slots):
    def code():
        sys.modules.pop("own_parts_r1", None)
        entry = find("compose")
        resolved = entry.resolve("", None, slots)
        return code_of(entry.with_facts_of(resolved), resolved)

    before = code()
    assert before.text.startswith("own ")
    assert before.text.endswith(", revision 1")
    assert list(before.parts) == ["own_parts_r1.py"]
    own_file.write_text(OWN.replace("logits / 2", "logits / 3"))
    assert code().text != before.text
    own_file.write_text(OWN.replace('"z halved."', '"z, halved."'))
    assert code() == before


def test_own_samplers_and_heads_of_a_strategy_of_the_suites_kind(own_file):
    class Sampled(Strategy):
        name = "sampled"
        sampler = "own_parts_r1.Twice(2)"
        initial_head = "own_parts_r1.Zeros"

    assert [one.__name__ for one in own_objects(describe(Sampled), {})] == ["Sampled", "Twice", "Zeros"]
    assert "own_parts_r1.py" in code_of(describe(Sampled), {}).parts


def test_own_samplers_of_a_main_script_are_known_in_a_worker():
    """In a process that ``multiprocessing`` spawned, ``__main__.Mine`` of the plan is a class of ``__mp_main__``."""
    mine = type("Mine", (Sampler,), {"__module__": "__mp_main__", "__doc__": "Own."})
    sampled = type("Sampled", (Strategy,), {"__module__": "__mp_main__", "__doc__": "Own.", "name": "sampled", "sampler": mine})
    entry = dataclasses.replace(describe(sampled), sampler="__main__.Mine")
    assert own_objects(entry, {}) == [sampled, mine]


def test_a_composition_of_the_suites_entries_is_the_suites():
    assert code_of(describe(compose(target="smooth(0.5)")), {"target": "smooth(epsilon=0.5)"}).text == "revision 1"
    assert len(entries()) > 40


def test_code_is_read_once(monkeypatch):
    entry, reads = find("los"), []
    code = code_of(entry, {})
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **named: reads.append(self) or opened(self, *args, **named))
    assert code_of(entry, {}) == code
    assert reads == []


def test_the_files_of_the_suite_are_those_of_their_revisions():
    known = {name: code for name, (_, code) in json.loads(revisions.SOURCES.read_text()).items()}
    assert {name: code for name, (_, code) in revisions.fingerprints_of_files().items()} == known, (
        "files that make numbers changed: run `make golden`"
    )


MAKE_NO_NUMBERS = {
    "messages and names": ("core/documents.py", "core/errors.py", "core/names.py"),
    "where logits lie while they are looked at": ("core/devices.py", "core/leftovers.py"),
    "shares of files, which hyper-parameters hold": ("data/class_files.py",),
    "how processes are started": ("core/launchers.py",),
    "checked reading and writing of files; content is in the key of the cache": ("core/seals.py", "core/tensors.py", "features/manifest.py", "features/write.py"),
    "codes as they are written, which the key of the cache covers": ("features/moments.py",),
    "encoders of extractions, whose features the key of the cache covers": ("backbones/transformers_nets.py",),
    "weights and splits, which hashes in the key cover": ("backbones/checkpoints.py", "data/profiles.py", "engine/pretrain/recipes.py"),
    "what there is, and checks of it": (
        "backbones/registry.py", "features/sampler_names.py", "strategies/class_checks.py", "strategies/entry.py", "strategies/source.py",
    ),
}  # fmt: skip


def test_what_files_that_make_numbers_import_makes_numbers_or_is_known_not_to():
    of_strategies, shared = revisions.files()
    listed = of_strategies | shared
    imported = set()
    for path in listed.values():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lt_bench"):
                imported |= {
                    f"{name.removeprefix('lt_bench.').replace('.', '/')}.py"
                    for name in (node.module, *(f"{node.module}.{one.name}" for one in node.names))
                }
    files = {name for name in imported if (revisions.ROOT / name).is_file()}
    assert files - listed.keys() == {name for names in MAKE_NO_NUMBERS.values() for name in names}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the suite's files that may be edited; what runs is not touched."""
    root = tmp_path / "lt_bench"
    shutil.copytree(revisions.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(revisions, "ROOT", root)
    monkeypatch.setattr(revisions, "_check_loaded", lambda changed: None)
    caches = (revisions._edited, revisions._known)
    for one in caches:
        one.cache_clear()
    yield root
    for one in caches:
        one.cache_clear()


@pytest.mark.parametrize(
    ("file", "strategy", "other"),
    [
        ("strategies/los.py", "los", "crt"),
        ("strategies/_lib/cross_entropy.py", "los", None),
        ("metrics/logits.py", "crt", None),
        ("engine/heads/sgd.py", "crt", None),
    ],
)
def test_an_edited_file_of_the_suite_is_another_program(package, file, strategy, other):
    before = code_of(find(strategy), {}).text
    assert before == f"revision {find(strategy).revision}"
    (package / file).write_text((package / file).read_text() + "\nEDITED = 1\n")
    revisions._edited.cache_clear()
    code = code_of(find(strategy), {})
    assert code.text.startswith(f"{before} edited ")
    assert list(code.parts) == [f"lt_bench/{file}"]
    if other is not None:
        assert code_of(find(other), {}).text == f"revision {find(other).revision}"


def test_an_edited_docstring_of_the_suite_is_the_same_program(package):
    text = (package / "strategies/los.py").read_text()
    (package / "strategies/los.py").write_text("# a comment\n" + text.replace('    """', '    """Edited. ', 1))
    revisions._edited.cache_clear()
    assert code_of(find("los"), {}).text == f"revision {find('los').revision}"
