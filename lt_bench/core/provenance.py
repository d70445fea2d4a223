"""Fingerprints of code: which program made a number.

A module with a file is known by its source without docstrings, comments and layout, and so are the modules that it imports, those of Python's installation
and of the suite excepted. What has no file, or lies in the main module, is known by what it does (``core.bytecode``), with the functions and values that it refers to.
Not covered are data files that code reads, and modules that it imports by a computed name: such things belong into hyper-parameters.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lt_bench.core.bytecode import InMemory, same_code
from lt_bench.core.errors import UserError

SUITE = "lt_bench"
_DIGITS = 16
_LIBRARIES = {SUITE, "torch", "torchvision", "lightning", "pytorch_lightning", "numpy", "builtins"}
"""Never looked into, wherever they lie; their versions stand in the record."""
_UNSAID = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of a syntax tree that say nothing more than the rest of it."""
_CONSTANTS = {bool, int, float, complex, str, bytes, tuple, type(None)}
_MAIN = {"__main__", "__mp_main__"}
"""Names of the main module, here and in a process that ``multiprocessing`` started."""


def fingerprints(objects: Iterable[Any]) -> dict[str, str]:
    """16 hex digits for every part of the code of classes, functions and modules of the user's own: by file (``my_head.py``), or by name where there is none.

    A base of a class is covered with it. A class of the suite, of torch or of Python has no parts.

    Raises:
        UserError: a file was changed after it had been imported, so that it is not what runs; or a constant of it was changed in memory.
    """
    objects = list(objects)
    packages = {_top(module) for one in objects for module in _modules_of(one) if not _is_library(module)}
    memory = InMemory(has_file=_has_file, is_others=lambda module: _is_others(module, packages))
    texts = {
        f"{one.__qualname__}, of a function in {one.__module__}": _from_function(memory, one)
        for one in objects
        if "<locals>" in getattr(one, "__qualname__", "")
    }
    for one in objects:
        memory.modules |= {module for module in _modules_of(one) if _has_file(module) and not _is_others(module, packages)}
        for part in () if isinstance(one, types.ModuleType) else getattr(one, "__mro__", (one,)):
            if not _has_file(part.__module__) and not _is_others(part.__module__, packages) and not memory.has(part):
                name = f"{part.__qualname__}, in memory"
                texts[name] = texts.get(name, "") + memory.text(part)
    version = f"Python {sys.version_info.major}.{sys.version_info.minor} "
    parts = {name: digest(version + text) for name, text in texts.items()}
    return parts | _files(memory.modules, packages)


def digest(text: str | bytes) -> str:
    """16 hex digits of a text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:_DIGITS]


def combined(parts: dict[str, str]) -> str:
    """One fingerprint of several parts."""
    return digest("\n".join(f"{name} {parts[name]}" for name in sorted(parts)))


def source_digest(text: str | bytes) -> str:
    """16 hex digits of Python source without docstrings, comments and layout; the same under every version of Python.

    Raises:
        SyntaxError: the text is not Python.
    """
    return _tree_digest(ast.parse(text))


def _tree_digest(tree: ast.Module) -> str:
    words: list[str] = []
    _write(tree, words)
    return digest(" ".join(words))


def _write(value: Any, words: list[str], in_text: bool = False) -> None:
    """Write a syntax tree as words, without docstrings and other bare strings, and without the empty parts of f-strings that Python 3.12 adds."""
    if isinstance(value, ast.AST):
        words.append(f"{type(value).__name__}(")
        for name in value._fields:
            part = getattr(value, name, None)
            if part is not None and part != [] and name not in _UNSAID:
                words.append(name)
                _write(part, words, isinstance(value, ast.JoinedStr))
        words.append(")")
    elif isinstance(value, list):
        words.append("[")
        for one in value:
            if not _is_docstring(one) and not (in_text and _is_empty(one)):
                _write(one, words)
        words.append("]")
    else:
        words.append(repr(value))


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_empty(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _from_function(memory: InMemory, one: Any) -> str:
    """Text of a class or function that another function made, which holds the values of its closure too; a source file does not."""
    alone = InMemory(has_file=lambda module: module != one.__module__ and _has_file(module), is_others=memory._is_others)
    text = alone.text(one)
    memory.modules |= alone.modules
    return text


# ---- modules ----------------------------------------------------------------------------------------------------------------------------------


def _modules_of(one: Any) -> Iterator[str]:
    """Names of the modules of a function, or of a class and its bases; the name of a module."""
    for part in getattr(one, "__mro__", (one,)):
        yield part.__name__ if isinstance(part, types.ModuleType) else part.__module__


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_library(module: str) -> bool:
    return _top(module) in _LIBRARIES or _top(module) in sys.stdlib_module_names


def _is_others(module: str, packages: set[str]) -> bool:
    """Whether a module is code of others: a library, or installed and outside of ``packages``, those of the given classes."""
    if module in _MAIN:
        return False
    if _is_library(module):
        return True
    return _top(module) not in packages and (path := _path_of(module)) is not None and _is_installed(path)


def _has_file(module: str) -> bool:
    return module not in _MAIN and _path_of(module) is not None


@cache
def _installation() -> tuple[Path, ...]:
    paths = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path).resolve() for path in (*paths, site.getusersitepackages()))


@cache
def _is_installed(path: Path) -> bool:
    resolved = path.resolve()
    return any(resolved.is_relative_to(place) for place in _installation()) or not {"site-packages", "dist-packages"}.isdisjoint(
        resolved.parts
    )


def _path_of(module: str) -> Path | None:
    """The file of a module, loaded or not; nothing is imported."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        name = getattr(loaded, "__file__", None)
        return Path(name) if name and Path(name).is_file() else None
    places = None
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:number]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if number == len(parts):
            return Path(spec.origin) if spec.has_location and spec.origin else None
        if places is None:
            return None
    return None


def file_of(name: str) -> Path | None:
    """The Python file that a fingerprint is of, by the name that ``fingerprints`` gives it (``package/module.py``), where it is found now; nothing is imported.

    None for what is no Python file, or is not found.
    """
    module = name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
    path = _path_of(module) if name.endswith(".py") else None
    return path if path is not None and (path.name == "__init__.py") == name.endswith("/__init__.py") else None


def _files(modules: Iterable[str], packages: set[str]) -> dict[str, str]:
    """Fingerprints by file of modules, of the packages they lie in, and of those that they import, and so on."""
    parts: dict[str, str] = {}
    waiting, seen = sorted(modules), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        if name in _MAIN or _is_others(name, packages) or (path := _path_of(name)) is None:
            continue
        shown = "/".join(name.split(".")) + ("/__init__.py" if path.name == "__init__.py" else path.suffix)
        if path.suffix != ".py":
            parts[shown] = digest(path.read_bytes())
            continue
        file = check_module(sys.modules.get(name), path)
        parts[shown] = file.digest
        waiting += _imported(file.imports, name if path.name == "__init__.py" else name.rpartition(".")[0])
    return parts


def _imported(imports: list[ast.Import | ast.ImportFrom], package: str) -> Iterator[str]:
    """Names of modules that a module may import, within functions too; ``package`` is what its relative imports start from."""
    for node in imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if not _is_library(alias.name))
        else:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base and not _is_library(base):
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


# ---- what is in memory against what is in the file ------------------------------------------------------------------------------------------------


def check_module(module: types.ModuleType | None, path: Path) -> Source:
    """Read a source file, and refuse a file that is not what was imported, since its fingerprint would name other code than runs.

    Args:
        module: the imported module; None where it was not imported.
        path: the file.

    Raises:
        UserError: a function does something else than the file says, or a constant has another value.
    """
    status = path.stat()
    file = _source(path, status.st_mtime_ns, status.st_size)
    if module is not None:
        _check_loaded(module, file, path)
    return file


@dataclass(frozen=True, eq=False)
class Source:
    """A file of Python source.

    Attributes:
        digest: its fingerprint.
        body: its statements.
        imports: the import statements in it.
        rebound: names that functions assign in the module; they may have any value.
        functions: code of its functions by qualified name.
    """

    digest: str
    body: list[ast.stmt]
    imports: list[ast.Import | ast.ImportFrom]
    rebound: set[str]
    functions: dict[str, list[types.CodeType]]


@lru_cache(maxsize=256)
def _source(path: Path, mtime: int, size: int) -> Source:
    """A file as it was at ``mtime`` with ``size`` bytes."""
    try:
        tree = ast.parse(path.read_bytes())
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}; mend it and start Python again") from None
    nodes, functions = list(ast.walk(tree)), {}
    _collect(code, functions)
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    rebound = {one for node in nodes if isinstance(node, ast.Global) for one in node.names}
    return Source(_tree_digest(tree), tree.body, imports, rebound, functions)


def _check_loaded(module: types.ModuleType, file: Source, path: Path) -> None:
    """Compare a module in memory with its file."""
    if not isinstance(module.__loader__, importlib.machinery.SourceFileLoader):  # pytest's loader rewrites modules
        return
    for function in _functions(module):
        qualname = function.__code__.co_qualname
        if not any(same_code(function.__code__, code) for code in file.functions.get(qualname, ())):
            raise UserError(f"{path} was changed after it had been imported ({qualname}); start Python again, or reload the module")
    _check_constants(file.body, vars(module), file.rebound, path, "")
    for node in file.body:
        cls = vars(module).get(node.name) if isinstance(node, ast.ClassDef) else None
        if isinstance(cls, type) and isinstance(node, ast.ClassDef):
            _check_constants(node.body, vars(cls), set(), path, f"{node.name}.")


def _collect(code: types.CodeType, written: dict[str, list[types.CodeType]]) -> None:
    """The functions in a compiled file, by qualified name."""
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            written.setdefault(one.co_qualname, []).append(one)
            _collect(one, written)


def _functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    """Functions that a module defines, those of its classes included."""
    for value in vars(module).values():
        inside = vars(value).values() if isinstance(value, type) and value.__module__ == module.__name__ else (value,)
        for one in inside:
            function = getattr(one, "__func__", one)
            function = getattr(function, "fget", function)
            if isinstance(function, types.FunctionType) and function.__code__.co_filename == module.__file__:
                yield function


def _check_constants(body: list[ast.stmt], values: Any, rebound: set[str], path: Path, prefix: str) -> None:
    """Compare constants that are assigned once, as literals, with their values in memory."""
    assigned = list(_assigned(body))
    once = {name: node for name, node in assigned if [one for one, _ in assigned].count(name) == 1 and name not in rebound}
    for name, node in once.items():
        try:
            said = ast.literal_eval(node)  # pyright: ignore[reportArgumentType]
        except (ValueError, TypeError):
            continue
        value = values.get(name)
        # Python or a decorator may change the type (a member of an enumeration); deleted names and private names of a class are absent.
        if name in values and type(said) in _CONSTANTS and type(value) in _CONSTANTS and repr(value) != repr(said):
            raise UserError(
                f"{prefix}{name} is {value!r} in memory and {said!r} in {path}; make it a hyper-parameter, or start Python again"
            )


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that statements assign, with the value of plain assignments, and without what functions and classes do within."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name, None
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value
        else:
            yield from ((node.id, None) for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
