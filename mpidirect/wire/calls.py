"""Calls as pickles: a function that has not changed since the last call is not pickled again.

That is most of what a small call costs at the prompt.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from cloudpickle import cloudpickle

from . import pickles
from .pickles import PLAIN, Buffer, is_code

_MISSING = object()
_DATA = object()  # of the prompt: not sent along, whatever it is


class _Pickled(NamedTuple):
    """A function's pickle, and what it was made of."""

    state: list[Any]  # kept, so that nothing else gets the same identities
    identities: list[int]
    alone: bytes
    call: list[Buffer]  # that of the function without arguments


class _Made:
    """A function in a pickle of others: made of its own."""

    def __init__(self, alone: bytes) -> None:
        self._alone = alone

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._alone,)


_known: WeakKeyDictionary[types.FunctionType, _Pickled] = WeakKeyDictionary()


def dumps(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Buffer]:
    """`pickles.dumps` of ``(f, args, kwargs)``.

    Raises
    ------
    SerializationError
        When they cannot be pickled.
    """
    if type(f) is types.FunctionType:
        simple = all(type(a) in PLAIN for a in args) and all(type(a) in PLAIN for a in kwargs.values())
        known = _pickled(f) if simple else None
        if known is not None:
            return [pickle.dumps((_Made(known.alone), args, kwargs), 5)] if args or kwargs else known.call
    return pickles.dumps((f, args, kwargs))


def _pickled(f: types.FunctionType) -> _Pickled | None:
    """The function's pickle, if it goes by value and all that this depends on can be compared."""
    known = _known.get(f)
    state = None if known is None and cloudpickle._should_pickle_by_reference(f) else _state(f)
    if state is None:
        return None
    # and on which modules there are, where it refers to one
    identities = [*map(id, state), len(sys.modules), len(cloudpickle._PICKLE_BY_VALUE_MODULES)]
    if known is None or known.identities != identities:
        alone, call = pickles.dumps(f), pickles.dumps((f, (), {}))
        if len(alone) > 1:
            return None
        known = _known[f] = _Pickled(state, identities, bytes(alone[0]), [bytes(call[0])])
    return known


def _is_referred_to(value: Any) -> bool:
    """Whether a pickle has only the name of it, so that it may change."""
    if isinstance(value, types.BuiltinFunctionType):  # the method of an object has that object in its pickle
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    return isinstance(value, types.ModuleType) and cloudpickle._should_pickle_by_reference(value)


def _state(f: types.FunctionType) -> list[Any] | None:
    """What its pickle depends on, but for what can't change; None if that is more than identities tell."""
    # since Python 3.14, annotations may be such that they can't be evaluated
    annotated = getattr(f, "__annotate__" if sys.version_info >= (3, 14) else "__annotations__")
    if f.__closure__ or f.__kwdefaults__ or f.__dict__ or annotated:
        return None
    if getattr(f, "__type_params__", ()) or not all(type(d) in PLAIN for d in f.__defaults__ or ()):
        return None
    prompt = f.__module__ in ("__main__", None)
    state: list[Any] = [f.__code__, f.__defaults__, f.__name__, f.__qualname__, f.__module__, f.__doc__]
    scope = f.__globals__
    for name in cloudpickle._extract_code_globals(f.__code__):
        value = scope.get(name, _MISSING)
        if prompt and value is not _MISSING and not is_code(value):
            value = _DATA
        elif value is not _MISSING and not _is_referred_to(value):
            return None
        state.append(value)
    return state
