"""Detects whether code has changed since it was pickled, by the identities of its parts."""

from __future__ import annotations

import functools
import operator
import sys
import types
from typing import Any

from . import classes, functions
from .functions import is_by_reference
from .plain_types import PLAIN_TYPES

_NAMES_AND_CODE = ("__name__", "__qualname__", "__module__", "__doc__", "__code__")
# If all these attributes are empty, the pickle of a function depends on nothing else.
_OPTIONAL = ("__defaults__", "__kwdefaults__", "__closure__", "__dict__", functions.ANNOTATIONS)
_attributes_of = operator.attrgetter(*_NAMES_AND_CODE, *_OPTIONAL)

_LRU_CACHE: type = type(functools.lru_cache(len))
_LONGEST_TUPLE = 16  # items


def parts_of(value: Any) -> list[Any] | None:
    """Return the objects that the pickle of `value` depends on; None if identities can't tell a change.

    Equal identities mean an equal pickle.  The list keeps its objects alive, so no identity is used again.
    """
    parts: list[Any] = [len(sys.modules)]  # a submodule that is loaded later may add to the pickle
    return parts if _add_parts(value, parts, set()) else None


def same_parts(one: list[Any], other: list[Any]) -> bool:
    """Return whether two lists of `parts_of` consist of the same objects."""
    return len(one) == len(other) and one[0] == other[0] and all(map(operator.is_, one[1:], other[1:]))


def _add_parts(value: Any, parts: list[Any], seen: set[int]) -> bool:
    """Add the parts of `value` to `parts`; return False if identities can't tell a change."""
    kind = type(value)
    if kind in PLAIN_TYPES:
        parts.append(value)
        return True
    if id(value) in seen:
        return True
    if kind is types.FunctionType:
        seen.add(id(value))
        return _add_function(value, parts, seen)
    if kind is types.ModuleType:
        parts.append(value)
        return is_by_reference(value)
    if kind is types.BuiltinFunctionType:
        parts.append(value)
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    if issubclass(kind, type):
        seen.add(id(value))
        return _add_class(value, parts, seen)
    if kind is _LRU_CACHE:
        parts.append(value)
        return _add_parts(value.__wrapped__, parts, seen)
    if str(kind.__module__).startswith("numba."):
        parts.append(value)
        compiled = getattr(value, "_dispatcher", value)  # a universal function has a dispatcher
        return hasattr(compiled, "py_func") and _add_parts(compiled.py_func, parts, seen)
    if kind is functools.partial:
        parts += value, *value.keywords
        used = value.func, *value.args, *value.keywords.values()
        return not value.__dict__ and all(_add_parts(each, parts, seen) for each in used)
    if kind is tuple:
        return len(value) <= _LONGEST_TUPLE and all(_add_parts(item, parts, seen) for item in value)
    return False


def _add_function(f: Any, parts: list[Any], seen: set[int]) -> bool:
    attributes = _attributes_of(f)
    name, qualname, module, doc, code, defaults, kwdefaults, closure, own, annotated = attributes
    parts += f, name, qualname, module, doc, code, defaults
    if not functions.is_prompt_function(f):
        if is_by_reference(f):
            return True
        if not functions.installed_module_of(f.__globals__):
            return False
    if getattr(f, "__type_params__", ()):
        return False
    if not (defaults or kwdefaults or closure or own or annotated):
        return True
    named = [*own.items(), *(kwdefaults or {}).items()]
    if annotated:
        named += functions.annotations_of(f).items()
    for name, value in named:
        parts.append(name)
        if not _add_parts(value, parts, seen):
            return False
    if defaults and not all(_add_parts(each, parts, seen) for each in defaults):
        return False
    for cell in closure or ():
        try:
            content = cell.cell_contents
        except ValueError:  # the variable has no value yet
            return False
        if not _add_parts(content, parts, seen):
            return False
    return True


def _add_class(cls: Any, parts: list[Any], seen: set[int]) -> bool:
    parts.append(cls)
    if is_by_reference(cls):
        return True
    parts.append(classes.version(cls))
    return all(_add_parts(base, parts, seen) for base in cls.__bases__)
