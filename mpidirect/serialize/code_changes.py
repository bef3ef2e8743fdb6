"""Whether code has changed since it was pickled: its parts are compared by their identities."""

from __future__ import annotations

import functools
import operator
import sys
import types
from typing import Any

from cloudpickle import cloudpickle

from . import classes, functions
from .plain_types import PLAIN_TYPES

# What a function has besides its code; without any of the last five its pickle depends on nothing else.
_ATTRIBUTES = ("__name__", "__qualname__", "__module__", "__doc__", "__code__")
_MORE = ("__defaults__", "__kwdefaults__", "__closure__", "__dict__", functions.ANNOTATED)
_attributes_of = operator.attrgetter(*_ATTRIBUTES, *_MORE)


_CACHED: type = type(functools.lru_cache(len))


def comparable(value: Any) -> list[Any] | None:
    """The objects that the pickle of `value` depends on; None if their identities don't tell all.

    Equal identities mean an equal pickle.  The list keeps its objects alive, so no identity is used again.
    """
    parts: list[Any] = [len(sys.modules)]  # a function may refer to a submodule that is loaded now
    return parts if _compare(value, parts, set()) else None


def _compare(value: Any, parts: list[Any], seen: set[int]) -> bool:
    kind = type(value)
    if kind in PLAIN_TYPES:
        parts.append(value)
        return True
    if id(value) in seen:
        return True
    if kind is types.FunctionType:
        seen.add(id(value))
        return _compare_function(value, parts, seen)
    if kind is types.ModuleType:
        parts.append(value)
        return cloudpickle._should_pickle_by_reference(value)
    if kind is types.BuiltinFunctionType:
        parts.append(value)
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    if issubclass(kind, type):
        seen.add(id(value))
        return _compare_class(value, parts, seen)
    if kind is _CACHED:
        parts.append(value)
        return _compare(value.__wrapped__, parts, seen)
    if str(kind.__module__).startswith("numba."):
        parts.append(value)
        compiled = getattr(value, "_dispatcher", value)  # of a universal function, else itself
        return hasattr(compiled, "py_func") and _compare(compiled.py_func, parts, seen)
    if kind is functools.partial:
        parts += value, *value.keywords
        used = value.func, *value.args, *value.keywords.values()
        return not value.__dict__ and all(_compare(each, parts, seen) for each in used)
    if kind is tuple:
        return len(value) <= 16 and all(_compare(item, parts, seen) for item in value)
    return False


def _compare_function(f: Any, parts: list[Any], seen: set[int]) -> bool:
    name, qualname, module, doc, code, defaults, kwdefaults, closure, attributes, annotated = _attributes_of(
        f
    )
    parts += f, name, qualname, module, doc, code, defaults
    if not functions.is_prompt(f):
        if cloudpickle._should_pickle_by_reference(f):
            return True
        if not functions.home_of(f.__globals__):
            return False
    if not (defaults or kwdefaults or closure or attributes or annotated):
        return not getattr(f, "__type_params__", ())
    if getattr(f, "__type_params__", ()):
        return False
    named = [*attributes.items(), *(kwdefaults or {}).items()]
    if annotated:
        named += functions.annotations_of(f).items()
    for name, value in named:
        parts.append(name)
        if not _compare(value, parts, seen):
            return False
    if defaults and not all(_compare(each, parts, seen) for each in defaults):
        return False
    for cell in closure or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a name that has no value yet
            return False
        if not _compare(content, parts, seen):
            return False
    return True


def _compare_class(cls: Any, parts: list[Any], seen: set[int]) -> bool:
    parts.append(cls)
    if cloudpickle._should_pickle_by_reference(cls):
        return True
    parts.append(classes.version(cls))
    return all(_compare(base, parts, seen) for base in cls.__bases__)


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether what `comparable` gave is the same at two times."""
    return len(one) == len(other) and one[0] == other[0] and all(map(operator.is_, one[1:], other[1:]))
