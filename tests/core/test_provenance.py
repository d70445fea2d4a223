"""Fingerprints of code: whatever changes a number changes them, and nothing else does."""

import ast
import importlib
import linecache
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from lt_bench.core.errors import UserError
from lt_bench.core.provenance import fingerprints, source_digest

HEAD = '''
"""A head."""
import math
import {helper}
from {helper} import shift

EXPONENT = -0.25

class MyHead:
    """Its doc."""
    margin = 1.0

    def transform(self, z):
        """T."""
        from {late} import late
        return z * math.pow(2, EXPONENT) + shift(self.margin) + late()
'''
HELPER = '''
def shift(margin):
    """The number to add."""
    return 0.5 * margin
'''
LATE = "def late():\n    return 1\n"


class Folder:
    """A folder with a head and two helpers, whose modules have names of this test's own."""

    def __init__(self, path, tag):
        self.path, self.names = path, {one: f"{one}_{tag}" for one in ("head", "helper", "late")}
        self.write("head", HEAD)
        self.write("helper", HELPER)
        self.write("late", LATE)

    def write(self, which, text):
        file = self.path / f"{self.names[which]}.py"
        file.write_text(text.replace("{helper}", self.names["helper"]).replace("{late}", self.names["late"]))

    def edit(self, which, old, new):
        file = self.path / f"{self.names[which]}.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def parts(self):
        """Fingerprints of the class in a process that starts now."""
        for name in self.names.values():
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True  # edits within a second would not be seen otherwise
        return fingerprints([importlib.import_module(self.names["head"]).MyHead])


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Folder(tmp_path, f"t{abs(hash(request.node.name))}")


def test_parts_are_the_files_that_the_class_reaches(folder):
    assert set(folder.parts()) == {f"{name}.py" for name in folder.names.values()}
    assert all(len(one) == 16 for one in folder.parts().values())


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [
        ("head", "-0.25", "0.25"),
        ("head", "z * math", "z + math"),
        ("head", "margin = 1.0", "margin = 1"),
        ("helper", "0.5", "0.25"),
        ("late", "return 1", "return 2"),
    ],
)
def test_an_edit_changes_the_part_of_its_file_alone(folder, which, old, new):
    before = folder.parts()
    folder.edit(which, old, new)
    after = folder.parts()
    assert {name for name in before if before[name] != after[name]} == {f"{folder.names[which]}.py"}


@pytest.mark.parametrize(
    ("which", "old", "new"),
    [
        ("head", '"""T."""', '"""T of z."""'),
        ("head", '        """T."""\n', ""),
        ("head", '"""A head."""', '"""A good head."""\n# and a comment'),
        ("head", "import math", "import math  # of Python"),
        ("helper", "0.5 * margin", "(0.5\n        * margin)"),
        ("helper", "The number to add.", "The number that is added."),
    ],
)
def test_docstrings_comments_and_layout_change_nothing(folder, which, old, new):
    before = folder.parts()
    folder.edit(which, old, new)
    assert folder.parts() == before


def test_modules_of_a_package_by_relative_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "research_t1" / "common").mkdir(parents=True)
    for name, text in {
        "__init__": "", "heads": "from .common import powers\nfrom . import bases\nclass A(bases.B):\n    pass\n", "bases": "class B:\n    pass\n",
        "common/__init__": "", "common/powers": "P = 2\n", "unrelated": "X = 1\n",
    }.items():  # fmt: skip
        (tmp_path / "research_t1" / f"{name}.py").write_text(text)
    parts = fingerprints([importlib.import_module("research_t1.heads").A])
    assert set(parts) == {f"research_t1/{name}.py" for name in ("__init__", "heads", "bases", "common/__init__", "common/powers")}


def test_the_suites_torchs_and_pythons_classes_have_no_parts():
    from lt_bench.strategies.los import LOS

    assert fingerprints([LOS]) == {}
    assert fingerprints([textwrap.TextWrapper]) == {}


def test_a_file_edited_after_its_import_is_refused(folder):
    folder.parts()
    folder.edit("helper", "0.5", "0.25")
    with pytest.raises(UserError, match=r"helper_t\d+\.py was changed after it had been imported \(shift\)"):
        fingerprints([sys.modules[folder.names["head"]].MyHead])


def test_a_comment_written_after_the_import_is_none(folder):
    before = folder.parts()
    folder.edit("head", "EXPONENT = -0.25", "# a comment\n\nEXPONENT = -0.25")
    folder.edit("head", '        """T."""\n', "")
    assert fingerprints([sys.modules[folder.names["head"]].MyHead]) == before


def test_a_constant_changed_in_memory_is_refused(folder, monkeypatch):
    folder.parts()
    module = sys.modules[folder.names["head"]]
    monkeypatch.setattr(module, "EXPONENT", 0.25)
    with pytest.raises(UserError, match=r"EXPONENT is 0\.25 in memory and -0\.25 in"):
        fingerprints([module.MyHead])
    monkeypatch.setattr(module, "EXPONENT", -0.25)
    monkeypatch.setattr(module.MyHead, "margin", 2.0)
    with pytest.raises(UserError, match=r"MyHead\.margin is 2\.0 in memory"):
        fingerprints([module.MyHead])


ENUMS = """
from enum import IntEnum, StrEnum

TEMP = 3
del TEMP

class Kind(IntEnum):
    A = 1

class Word(StrEnum):
    B = "b"

class A:
    __secret = 3
    KIND = 2
"""


def test_deleted_private_and_enumerated_constants_of_an_unedited_file_are_no_change(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "enums_t4.py").write_text(ENUMS)
    module = importlib.import_module("enums_t4")
    assert list(fingerprints([module.A, module.Kind, module.Word])) == ["enums_t4.py"]
    monkeypatch.setattr(module.A, "KIND", None)
    with pytest.raises(UserError, match=r"A\.KIND is None in memory"):
        fingerprints([module.A])


CELL = '''
import numpy as np
TABLE = np.array([1.0, 2.0])
POWER = -0.25
UNRELATED = 1

def scaled(z):
    """Helps."""
    return z * POWER

class Cell:
    """Of a cell."""
    epsilon = 0.5

    def transform(self, z):
        return scaled(z) + TABLE.sum()

def plots():
    return UNRELATED
'''


def of_cell(text=CELL, filename="<ipython-input-1>", **values):
    """Fingerprints of the class of a cell, which sees what is defined in the main module."""
    space = {"__name__": "__main__"}
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    exec(compile(text, filename, "exec"), space)
    space |= values
    return fingerprints([space["Cell"]])


@pytest.mark.parametrize(
    ("old", "new"),
    [("-0.25", "0.25"), ("2.0]", "3.0]"), ("z * POWER", "z / POWER"), ("epsilon = 0.5", "epsilon = 0.6"), ("+ TABLE", "- TABLE")],
)
def test_cells_of_a_notebook_with_the_functions_and_values_they_use(old, new):
    assert of_cell() != of_cell(CELL.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNRELATED = 1", "UNRELATED = 2"), ("return UNRELATED", "return 2 * UNRELATED"), ('"""Helps."""', '"""Scales."""  # well'),
        ('"""Helps."""', "# helps"), ('    """Of a cell."""\n', ""),
    ],
)  # fmt: skip
def test_other_cells_docstrings_and_comments_change_nothing(old, new):
    assert of_cell() == of_cell(CELL.replace(old, new))
    assert list(of_cell()) == ["Cell, in memory"]


def test_a_helper_or_value_that_another_cell_gives_anew_counts():
    assert of_cell(POWER=0.3) == of_cell(CELL.replace("-0.25", "0.3")) != of_cell()
    assert of_cell(TABLE=np.zeros(2)) != of_cell()


def test_what_exec_makes_needs_no_source():
    space: dict = {"__name__": "nowhere_to_be_found"}
    exec("class A:\n    def f(self): return 1\nclass B:\n    def f(self): return 2\n", space)
    a, b = ("".join(fingerprints([space[name]]).values()) for name in "AB")
    assert a != b


def test_a_base_without_a_file_is_described_once_and_never_by_a_number(tmp_path, monkeypatch):
    space = [{"__name__": "nowhere_to_be_found"}, {"__name__": "nowhere_to_be_found"}]
    for one, value in zip(space, (1, 2), strict=True):
        exec(f"class Base:\n    def f(self): return {value}\nclass A(Base):\n    pass\nclass B(Base):\n    pass\n", one)
    first, second = (fingerprints([one["A"], one["B"]]) for one in space)
    assert list(first) == list(second) == ["A, in memory", "B, in memory"]
    assert first["A, in memory"] != second["A, in memory"]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "derived_t5.py").write_text("def derived(base):\n    return type('C', (base,), {'__module__': __name__})\n")
    derived = importlib.import_module("derived_t5").derived
    first, second = (fingerprints([derived(one["Base"])]) for one in space)
    assert list(first) == list(second) == ["Base, in memory", "derived_t5.py"]
    assert first["Base, in memory"] != second["Base, in memory"]


def test_the_main_script_is_the_same_program_in_a_worker(tmp_path):
    (tmp_path / "helper_t6.py").write_text("import __main__\nSHIFT = 1\n")
    (tmp_path / "script.py").write_text(
        "import multiprocessing\nfrom lt_bench.core.provenance import fingerprints\nfrom helper_t6 import SHIFT\nimport helper_t6\n"
        "def helper(z):\n    return z + SHIFT + helper_t6.SHIFT\n"
        "class MyHead:\n    def f(self):\n        return helper(1)\ndef parts(_):\n    return fingerprints([MyHead]), MyHead.__module__\n"
        "if __name__ == '__main__':\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print([*pool.map(parts, [0]), parts(0)])\n"
    )
    (there, name), (here, _) = ast.literal_eval(subprocess.check_output([sys.executable, str(tmp_path / "script.py")], text=True))
    assert name == "__mp_main__"
    assert there == here
    assert list(here) == ["MyHead, in memory", "helper_t6.py"]


def test_classes_that_a_function_makes_differ_by_what_they_close_over(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "factory_t2.py").write_text("def make(p):\n    class Made:\n        def f(self):\n            return p\n    return Made\n")
    make = importlib.import_module("factory_t2").make
    assert fingerprints([make(1)]) == fingerprints([make(1)]) != fingerprints([make(2)])


def test_a_script_is_known_by_its_class_and_not_by_its_driver(tmp_path):
    script = tmp_path / "script.py"
    said = []
    for text in ("seeds = 5", "seeds = 10", "seeds = 5\nMyHead.f = lambda self: 3"):
        script.write_text(
            "from lt_bench.core.provenance import fingerprints\nclass MyHead:\n    def f(self):\n        return 1\n"
            f"{text}\nprint(fingerprints([MyHead]))\n"
        )
        said.append(subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1] != said[2]


def test_the_digest_of_a_source_is_the_same_under_every_python():
    assert source_digest('"""d"""\nx = f"{1:>{2}}"  # c\ndef f(a, /, *, b=None) -> int:\n    "doc"\n    return -a\n') == "077d20eaeb9e0ce4"


def test_a_usual_file_takes_less_than_10_ms(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    methods = "\n".join(f"    def f{i}(self, z):\n        return z * {i} + self.g(z, {i})" for i in range(30))
    (tmp_path / "usual_t3.py").write_text(f"import math\nclass A:\n{methods}\n")
    cls = importlib.import_module("usual_t3").A
    seconds = []
    for _ in range(20):
        started = time.thread_time()  # other processes do not count
        fingerprints([cls])
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 0.01
