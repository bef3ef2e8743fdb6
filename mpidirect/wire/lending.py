"""Names of the prompt that its functions refer to and that an engine lacks.

A function of the prompt finds its global names on the engine.  What the engine lacks comes from the prompt,
if it is code there: a function, a class, a module, or an object that can be called.  With each call goes a
table of the names that its code refers to, directly and through other code of the prompt, and of their
pickles.  The engine takes from it what it lacks (`borrowing`), and takes it anew when it has changed.  Data
is not sent: a function that mentions ``x`` after ``dv.scatter("x", …)`` means the engine's part.
"""

from __future__ import annotations

import builtins
import io
import logging
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import functions
from .borrowing import Table
from .comparing import comparable, same
from .functions import Pickler

LARGEST = 1024 * 1024  # bytes of an object's pickle from which on it counts as data
_MISSING = object()
_CODE = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type),
    *(typing.TypeVar, types.UnionType, types.GenericAlias, logging.Logger),
)


def is_code(value: Any) -> bool:
    """Whether the prompt lends it: a function, a class, a module, or another object that can be called."""
    return isinstance(value, _CODE) or callable(value)


class _Lent(NamedTuple):
    """The pickle of one name's value, and what it was made of."""

    value: Any  # that of data is not kept
    parts: list[Any] | None  # what it consists of, if that can be compared
    blob: bytes | None
    names: Mapping[str, dict[str, Any]]  # that it refers to
    modules: Mapping[str, None]
    reason: str = ""  # why it is not sent


_DATA = _Lent(None, None, None, {}, {}, "it is data")
_known: dict[str, _Lent] = {}
_lent: set[str] = set()  # all names that were ever lent


class Needs(NamedTuple):
    """What a pickle refers to, with all that this refers to in its turn."""

    table: Table
    modules: dict[str, None]


def needs(names: Mapping[str, dict[str, Any]], modules: Iterable[str] = ()) -> Needs:
    """The table of names for a pickle.

    Parameters
    ----------
    names : mapping
        The global names that its code refers to, and the globals in which they are.
    modules : iterable of str
        The modules that it refers to by name.
    """
    table: Table = {}
    seen = dict.fromkeys(modules)
    waiting = list(names.items())
    while waiting:
        name, scope = waiting.pop()
        if name in table:
            continue
        value = scope.get(name, _MISSING)
        if value is _MISSING and hasattr(builtins, name) and name not in _lent:
            continue
        if name.startswith("__"):  # of the module itself
            continue
        lent = _look(name, value)
        table[name] = lent.blob
        waiting.extend(item for item in lent.names.items() if item[0] not in table)
        seen.update(lent.modules)
    return Needs(table, seen)


def why_not(name: str) -> str:
    """Why the prompt's value of `name` is not sent with functions that refer to it; empty if it is."""
    value = functions.namespace().get(name, _MISSING)
    return "" if value is _MISSING else _look(name, value).reason


def _look(name: str, value: Any) -> _Lent:
    if value is _MISSING or not is_code(value):
        _known.pop(name, None)
        return _DATA
    known = _known.get(name)
    if known is not None and known.value is value and (known.blob is None or _unchanged(value, known.parts)):
        return known
    _known[name] = lent = _pickled(value)
    _lent.add(name)
    return lent


def _pickled(value: Any) -> _Lent:
    file = io.BytesIO()
    pickler = Pickler(file)
    parts = comparable(value)
    try:
        pickler.dump(value)
    except Exception as e:
        return _Lent(value, None, None, {}, {}, f"it cannot be pickled: {type(e).__name__}: {e}")
    blob = file.getvalue()
    if len(blob) > LARGEST:
        return _Lent(value, None, None, {}, {}, f"it is as large as data: {len(blob):,} bytes")
    return _Lent(value, parts, blob, pickler.names, pickler.modules)


def _unchanged(value: Any, parts: list[Any] | None) -> bool:
    if parts is None:
        return False
    now = comparable(value)
    return now is not None and same(now, parts)
