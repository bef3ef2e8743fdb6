"""Names of the prompt that its functions refer to.

A function of the prompt looks up its global names in the engine's namespace.  A name that the engine lacks
comes from the prompt, if its value is code: a function, a class, a module, or another callable object.  Each
call carries a table of the names that its code refers to, directly or through other code of the prompt, and
of the pickles of their values.  The engine defines the names that it lacks (`received_names`), and defines
them anew when they have changed.  Data is not sent: a function that mentions ``x`` after
``dv.scatter("x", …)`` means the engine's part.
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
from .code_changes import parts_of, same_parts
from .pickler import Pickler, References
from .received_names import NameTable

_MAX_PICKLE = 1024 * 1024  # bytes; a callable object with a larger pickle is data
_MISSING = object()
_CODE_TYPES = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type),
    *(typing.TypeVar, types.UnionType, types.GenericAlias, logging.Logger),
    *([typing.TypeAliasType] if hasattr(typing, "TypeAliasType") else []),
)


def is_code(value: Any) -> bool:
    """Return whether a name with this value is sent: a function, class, module or another callable."""
    return isinstance(value, _CODE_TYPES) or callable(value)


class _PickledName(NamedTuple):
    """The pickle of one name's value, and the objects that this pickle depends on."""

    value: Any  # None for data, which is not kept
    parts: list[Any] | None  # None if identities can't tell a change
    blob: bytes | None
    references: References | None
    reason: str = ""  # why the value is not sent


_DATA = _PickledName(None, None, None, None, "it is data")
_BUILTIN = _PickledName(None, None, None, None)
_cache: dict[str, _PickledName] = {}
_ever_sent: set[str] = set()


class ReferencedNames:
    """The names that code in a pickle refers to, as the preamble of that pickle.

    Parameters
    ----------
    references : References
        The names that the pickle itself refers to.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._found: list[tuple[str, dict[str, Any], _PickledName]] | None = None
        self._modules: frozenset[str] = frozenset()
        self._cells: dict[str, str] = {}  # source lines, by the name of the cell's file
        self._module_sources = b""
        self._encoded = b""

    def encode(self) -> bytes:
        """Return the preamble for the present state of the prompt; empty if the pickle needs none."""
        changed = self._found is None or not all(_is_current(*entry) for entry in self._found)
        if changed:
            self._collect()
        gathered = b"" if received_names.engine_names is not None else user_modules.gather(self._modules)
        if changed or gathered is not self._module_sources:
            self._module_sources = gathered
            self._encoded = self._encode()
        return self._encoded

    def _collect(self) -> None:
        self._found = list(_follow(self._references.names))
        followed = [pickled.references for _, _, pickled in self._found if pickled.references is not None]
        parts = [self._references, *followed]
        self._modules = frozenset(name for part in parts for name in part.modules)
        self._cells = source_lines.gather(file for part in parts for file in part.files)

    def _encode(self) -> bytes:
        table: NameTable = {
            name: pickled.blob for name, _, pickled in self._found or () if pickled is not _BUILTIN
        }
        needed = table or self._cells or self._module_sources
        return pickle.dumps((table, self._cells, self._module_sources), 5) if needed else b""


def _follow(names: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], _PickledName]]:
    """Yield these names, and the names that the code of their values refers to."""
    done: set[str] = set()
    waiting = list(names.items())
    while waiting:
        name, scope = waiting.pop()
        if name in done or name.startswith("__"):  # each module has these names
            continue
        done.add(name)
        pickled = _pickled_name(name, scope.get(name, _MISSING))
        yield name, scope, pickled
        if pickled.references is not None:
            waiting.extend(pickled.references.names.items())


def _is_current(name: str, scope: dict[str, Any], pickled: _PickledName) -> bool:
    """Return whether the value of a name is still the pickled one."""
    value = scope.get(name, _MISSING)
    if pickled is _BUILTIN:
        return value is _MISSING
    if pickled is _DATA:
        return value is _MISSING or not is_code(value)
    return value is pickled.value and (pickled.blob is None or _is_unchanged(value, pickled.parts))


def reason_not_sent(name: str) -> str:
    """Return why the prompt's value of `name` is not sent with functions; empty if the value is sent."""
    value = functions.namespace().get(name, _MISSING)
    return "" if value is _MISSING else _pickled_name(name, value).reason


def _pickled_name(name: str, value: Any) -> _PickledName:
    if value is _MISSING or not is_code(value):
        _cache.pop(name, None)
        return _BUILTIN if value is _MISSING and hasattr(builtins, name) and name not in _ever_sent else _DATA
    known = _cache.get(name)
    if known is not None and _is_current(name, {name: value}, known):
        return known
    _cache[name] = pickled = _pickle_value(value)
    _ever_sent.add(name)
    return pickled


def _pickle_value(value: Any) -> _PickledName:
    file = io.BytesIO()
    pickler = Pickler(file)
    parts = parts_of(value)
    try:
        pickler.dump(value)
    except Exception as e:
        return _PickledName(value, None, None, None, f"it cannot be pickled: {type(e).__name__}: {e}")
    blob = file.getvalue()
    if len(blob) > _MAX_PICKLE:
        return _PickledName(value, None, None, None, f"it is as large as data: {len(blob):,} bytes")
    return _PickledName(value, parts, blob, pickler.references)


def _is_unchanged(value: Any, parts: list[Any] | None) -> bool:
    if parts is None:
        return False
    now = parts_of(value)
    return now is not None and same_parts(now, parts)
