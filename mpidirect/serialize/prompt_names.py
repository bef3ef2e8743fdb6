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
import pickle
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import functions, received_names, source_lines, user_modules
from .code_changes import comparable, same
from .pickler import Pickler, References
from .received_names import Table

LARGEST = 1024 * 1024  # bytes of an object's pickle from which on it counts as data
_MISSING = object()
_CODE = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type),
    *(typing.TypeVar, types.UnionType, types.GenericAlias, logging.Logger),
    *([typing.TypeAliasType] if hasattr(typing, "TypeAliasType") else []),
)


def is_code(value: Any) -> bool:
    """Whether the prompt lends it: a function, a class, a module, or another object that can be called."""
    return isinstance(value, _CODE) or callable(value)


class _Lent(NamedTuple):
    """The pickle of one name's value, and what it was made of."""

    value: Any  # that of data is not kept
    parts: list[Any] | None  # what it consists of, if that can be compared
    blob: bytes | None
    references: References | None
    reason: str = ""  # why it is not sent


_DATA = _Lent(None, None, None, None, "it is data")
_BUILTIN = _Lent(None, None, None, None)
_known: dict[str, _Lent] = {}
_lent: set[str] = set()  # all names that were ever lent


class ReferencedNames:
    """What the code in a pickle refers to, as the bytes that stand in front of the pickle.

    Parameters
    ----------
    references : References
        What the pickle itself refers to.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._found: list[tuple[str, dict[str, Any], _Lent]] | None = None
        self._modules: frozenset[str] = frozenset()
        self._texts: dict[str, str] = {}
        self._sources = b""  # of the user's modules
        self._encoded = b""

    def encode(self) -> bytes:
        """What an engine needs, as it is now at the prompt; empty if that is nothing."""
        changed = self._found is None or not all(_holds(*entry) for entry in self._found)
        if changed:
            self._look()
        gathered = b"" if received_names.borrower is not None else user_modules.gather(self._modules)
        if changed or gathered is not self._sources:
            self._sources = gathered
            self._encoded = self._packed()
        return self._encoded

    def _look(self) -> None:
        self._found = list(_look_up(self._references.names))
        lent = [lent.references for _, _, lent in self._found if lent.references is not None]
        parts = [self._references, *lent]
        self._modules = frozenset(name for part in parts for name in part.modules)
        self._texts = source_lines.gather(file for part in parts for file in part.files)

    def _packed(self) -> bytes:
        table: Table = {name: lent.blob for name, _, lent in self._found or () if lent is not _BUILTIN}
        anything = table or self._texts or self._sources
        return pickle.dumps((table, self._texts, self._sources), 5) if anything else b""


def _look_up(names: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], _Lent]]:
    """These names, and those that the code which they stand for refers to, with what is lent of them."""
    done: set[str] = set()
    waiting = list(names.items())
    while waiting:
        name, scope = waiting.pop()
        if name in done or name.startswith("__"):  # the latter are of each module
            continue
        done.add(name)
        lent = _look(name, scope.get(name, _MISSING))
        yield name, scope, lent
        if lent.references is not None:
            waiting.extend(lent.references.names.items())


def _holds(name: str, scope: dict[str, Any], lent: _Lent) -> bool:
    """Whether a name still stands for what was lent."""
    value = scope.get(name, _MISSING)
    if lent is _BUILTIN:
        return value is _MISSING
    if lent is _DATA:
        return value is _MISSING or not is_code(value)
    return value is lent.value and (lent.blob is None or _unchanged(value, lent.parts))


def why_not(name: str) -> str:
    """Why the prompt's value of `name` is not sent with functions that refer to it; empty if it is."""
    value = functions.namespace().get(name, _MISSING)
    return "" if value is _MISSING else _look(name, value).reason


def _look(name: str, value: Any) -> _Lent:
    if value is _MISSING or not is_code(value):
        _known.pop(name, None)
        return _BUILTIN if value is _MISSING and hasattr(builtins, name) and name not in _lent else _DATA
    known = _known.get(name)
    if known is not None and _holds(name, {name: value}, known):
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
        return _Lent(value, None, None, None, f"it cannot be pickled: {type(e).__name__}: {e}")
    blob = file.getvalue()
    if len(blob) > LARGEST:
        return _Lent(value, None, None, None, f"it is as large as data: {len(blob):,} bytes")
    return _Lent(value, parts, blob, pickler.references)


def _unchanged(value: Any, parts: list[Any] | None) -> bool:
    if parts is None:
        return False
    now = comparable(value)
    return now is not None and same(now, parts)
