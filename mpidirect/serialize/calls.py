"""Calls as pickles: a function that has not changed since the last call is not pickled again.

Pickling the function is most of the cost of a small call at the prompt.
"""

from __future__ import annotations

import io
import pickle
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..protocol.frames import Frame
from . import pickles
from .code_changes import parts_of, same_parts
from .functions import is_by_reference
from .pickler import Pickler
from .plain_types import PLAIN_TYPES
from .prompt_names import ReferencedNames

_MAX_CACHED = 256  # functions whose pickles are kept


class _PickledFunction(NamedTuple):
    """The pickles of a function, and the objects that these pickles depend on."""

    parts: list[Any]
    function: bytes
    call: bytes  # the call without arguments
    names: ReferencedNames


class _Embedded:
    """A function inside the pickle of a call; the function's own pickle is inserted."""

    def __init__(self, function: bytes) -> None:
        self._function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._function,)


_cache: OrderedDict[int, _PickledFunction] = OrderedDict()  # by id of the function; `parts` keeps it alive


def dumps(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Frame]:
    """Pickle the call ``(f, args, kwargs)``: `pickles.dumps` with a cache of functions.

    Parameters
    ----------
    f : callable
        The function to call.
    args : sequence
        Its positional arguments.
    kwargs : mapping
        Its keyword arguments.

    Returns
    -------
    list of buffers
        As `pickles.dumps` returns them.

    Raises
    ------
    SerializationError
        When the function or an argument can't be pickled.

    Examples
    --------
    >>> pickles.loads(calls.dumps(len, ([1, 2],), {}))
    (<built-in function len>, ([1, 2],), {})
    """
    if type(f) is types.FunctionType:
        simple = PLAIN_TYPES.issuperset(map(type, (*args, *kwargs.values())))
        cached = _cached_pickle(f) if simple else None
        if cached is not None:
            call = cached.call
            if args or kwargs:
                call = pickle.dumps((_Embedded(cached.function), args, kwargs), 5)
            return [pickles.with_preamble(cached.names, call)]
    return pickles.dumps((f, args, kwargs))


def _cached_pickle(f: types.FunctionType) -> _PickledFunction | None:
    """Return the pickles of `f` if it goes by value and identities can tell a change; else None."""
    cached = _cache.get(id(f))
    parts = None if cached is None and is_by_reference(f) else parts_of(f)
    if parts is None:
        return None
    if cached is None or not same_parts(cached.parts, parts):
        try:
            function, names = _dump(f)
            call, _ = _dump((f, (), {}))
        except Exception:  # pickling the whole call raises the error
            return None
        cached = _cache[id(f)] = _PickledFunction(parts, function, call, names)
        if len(_cache) > _MAX_CACHED:
            _cache.popitem(last=False)
    return cached


def _dump(obj: Any) -> tuple[bytes, ReferencedNames]:
    file = io.BytesIO()
    pickler = Pickler(file)
    pickler.dump(obj)
    return file.getvalue(), ReferencedNames(pickler.references)
