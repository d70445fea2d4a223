"""Classes, functions and values in memory as text that says what they compute: for code that has no file, such as the cells of a notebook.

It is made of Python's bytecode, so layout, comments and docstrings do not count and no source is needed; another minor version of Python gives another text.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_NOT_CODE = {
    "__annotate_func__", "__annotations__", "__annotations_cache__", "__conditional_annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__",
    "__qualname__", "__static_attributes__", "__weakref__",
}  # fmt: skip


def code_text(code: types.CodeType) -> str:
    """A code object as text: instructions with their constants, names, and the functions within; no lines, no docstring."""
    steps = []
    for one in dis.get_instructions(code):
        if one.opcode in dis.hasconst:
            said = code_text(one.argval) if isinstance(one.argval, types.CodeType) else _constant(one.argval)
            steps.append(f"{one.opname} {said}")
        elif one.opname != "EXTENDED_ARG":
            steps.append(f"{one.opname} {one.arg}")
    names = (*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars, "|", *code.co_cellvars)
    return f"{code.co_name} {code.co_argcount} {code.co_kwonlyargcount} {names} [{'; '.join(steps)}]"


def same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same, wherever they were written."""
    return _same_bytes(one, other) or code_text(one) == code_text(other)


def _same_bytes(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether they are the same to the byte, a test that costs little; lines do not count."""
    if (one.co_code, one.co_names, one.co_varnames, len(one.co_consts)) != (
        other.co_code, other.co_names, other.co_varnames, len(other.co_consts),
    ):  # fmt: skip
        return False
    return all(
        _same_bytes(a, b) if isinstance(a, types.CodeType) and isinstance(b, types.CodeType) else repr(a) == repr(b)
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


def _constant(value: Any) -> str:
    return f"frozenset({sorted(map(repr, value))})" if isinstance(value, frozenset) else repr(value)


class InMemory:
    """Objects as text, with all objects that they refer to.

    Args:
        has_file: whether a module of this name has a source file; its objects are named, not described, and the module is noted in ``modules``.
        is_others: whether a module of this name is code of others (Python, torch, the suite), whose objects are named, not described.
    """

    def __init__(self, has_file: Callable[[str], bool], is_others: Callable[[str], bool]) -> None:
        self.modules: set[str] = set()
        self._has_file, self._is_others = has_file, is_others
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # kept alive, so that Python gives no id twice

    def has(self, value: Any) -> bool:
        """Whether a class, function or object was described already, by itself or within another."""
        return id(value) in self._seen

    def text(self, value: Any) -> str:
        """A value as text; of a class or function, its code."""
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, tuple | list):
            return f"{type(value).__name__}({', '.join(map(self.text, value))})"
        if isinstance(value, set | frozenset):
            return f"{type(value).__name__}({', '.join(sorted(map(self.text, value)))})"
        if isinstance(value, dict | types.MappingProxyType):
            return self._items(value)
        if isinstance(value, types.ModuleType):
            return self._outside(value.__name__) or f"module {value.__name__}"
        if id(value) in self._seen:
            return f"object {self._seen[id(value)]}"
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        return self._text(value)

    def _text(self, value: Any) -> str:
        if isinstance(value, type):
            return self._outside(value.__module__, value.__qualname__) or self._class(value)
        if isinstance(value, types.FunctionType):
            return self._outside(value.__globals__.get("__name__", ""), value.__qualname__) or self._function(value)
        if isinstance(value, staticmethod | classmethod):
            return f"{type(value).__name__} {self.text(value.__func__)}"
        if isinstance(value, property):
            return f"property {self.text((value.fget, value.fset))}"
        if isinstance(value, functools.partial):
            return f"partial {self.text((value.func, value.args, value.keywords))}"
        if isinstance(value, functools.cached_property):
            return f"cached_property {self.text(value.func)}"
        if isinstance(value, types.MethodType):
            return f"method {self.text((value.__func__, value.__self__))}"
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return _array(value)
        return self._object(value)

    def _object(self, value: Any) -> str:
        """An object: its class, and what it was made of or holds."""
        cls = self.text(type(value))
        if isinstance(arguments := getattr(value, "arguments", None), dict):  # an entry of a slot
            return f"{cls} {self._items(arguments)}"
        if not self._is_others(type(value).__module__):
            return f"{cls} {self._items(getattr(value, '__dict__', {}))}"
        said = repr(value)
        return cls if " at 0x" in said else f"{cls} {said}"

    def _items(self, values: Mapping[Any, Any]) -> str:
        return f"{{{', '.join(f'{self.text(name)}: {self.text(one)}' for name, one in values.items())}}}"

    def _outside(self, module: str, name: str = "") -> str | None:
        """The name of an object from code of others or from a module with a file; None for an object to describe."""
        if not self._is_others(module):
            if not self._has_file(module):
                return None
            self.modules.add(module)
        return f"{module}.{name}"

    def _class(self, cls: type) -> str:
        names = sorted(name for name in vars(cls) if name not in _NOT_CODE and not name.startswith("_abc_"))
        bases = self.text(cls.__bases__)
        return f"class {cls.__qualname__} {bases} {', '.join(f'{name} = {self.text(vars(cls)[name])}' for name in names)}"

    def _function(self, function: types.FunctionType) -> str:
        cells = [_content(cell) for cell in function.__closure__ or ()]
        used = {name: function.__globals__[name] for name in sorted(_globals_of(function.__code__)) if name in function.__globals__}
        rest = (function.__defaults__, function.__kwdefaults__, cells, used, getattr(function, "__wrapped__", None))
        return f"{code_text(function.__code__)} {self.text(rest)}"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _globals_of(code: types.CodeType) -> Iterable[str]:
    """Names that code looks up in its module."""
    names = {str(one.argval) for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= set(_globals_of(constant))
    return names


def _array(value: Any) -> str:
    """An array of NumPy or torch, by its numbers."""
    if hasattr(value, "detach"):
        torch = sys.modules["torch"]
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        content = value.tobytes()
    return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content).hexdigest()}"


__all__ = ["InMemory", "same_code"]
