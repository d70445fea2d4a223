"""Nothing that is read from disk runs code: every call that could is of a safe form, or stands in the list below with its reason."""

import ast
from pathlib import Path

import pytest

from lt_bench.core.errors import UserError
from lt_bench.strategies.hyper import type_of

PACKAGE = Path(__file__).parents[1] / "lt_bench"
UNSAFE = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.load", "marshal.load", "marshal.loads", "dill.load", "joblib.load", "shelve.open", "eval", "exec",
    "torch.jit.load", "torch.export.load", "torch.hub.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle",
    "runpy.run_path", "imp.load_source",
}  # fmt: skip
ALLOWED = {
    ("data/readers/cifar_files.py", "pickle.Unpickler"): "a subclass that finds no other class than NumPy's",
    ("strategies/hyper.py", "eval"): "of names, subscripts and constants alone",
    ("deploy/classifier.py", "torch.export.load"): "only with trust_program",
}


def unsafe(source):
    """Names of calls and base classes in a source that can run what a file holds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in UNSAFE:
                yield name
            elif name == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load"
            elif name.endswith(".fit") and "ckpt_path" in given and given.get("weights_only") != "True":
                yield f"{name} of a checkpoint"
            elif name.endswith(".load_from_checkpoint") or (
                name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False"
            ):
                yield name
        elif isinstance(node, ast.ClassDef):
            yield from (ast.unparse(base) for base in node.bases if ast.unparse(base) in UNSAFE)
        elif isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "dill", "joblib", "runpy"):
            yield from (f"{node.module}.{name.name}" for name in node.names if f"{node.module}.{name.name}" in UNSAFE)


def test_no_file_is_read_in_a_way_that_runs_code():
    seen = {(path.relative_to(PACKAGE).as_posix(), name) for path in PACKAGE.rglob("*.py") for name in unsafe(path.read_text())}
    assert seen == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    ["pickle.load(f)", "torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "yaml.load(t, Loader=yaml.Loader)",
     "trainer.fit(m, ckpt_path=p)", "class A(pickle.Unpickler): pass", "from pickle import loads", "Net.load_from_checkpoint(p)", "eval(text)"],
)  # fmt: skip
def test_the_test_sees(line):
    assert list(unsafe(line))


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(p, weights_only=True)",
        "np.load(p)",
        "yaml.safe_load(t)",
        "model.eval()",
        "trainer.fit(m, ckpt_path=p, weights_only=True)",
    ],
)
def test_the_test_lets_pass(line):
    assert not list(unsafe(line))


@pytest.mark.parametrize("annotation", ["().__class__", "print(1)", "[float for x in y]", "(lambda: float)()", "float.real", "f'{float}'"])
def test_an_annotation_runs_nothing(annotation):
    with pytest.raises(UserError, match="is not made of"):
        type_of(annotation, "here")


def test_an_annotation_is_a_type():
    assert type_of("float | None", "here") == float | None
    assert type_of("tuple[int, ...]", "here") == tuple[int, ...]
