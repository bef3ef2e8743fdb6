"""Calls as pickles: a function that has not changed since the last call is not pickled again.

That is most of what a small call costs at the prompt.
"""

from __future__ import annotations

import io
import pickle
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cloudpickle import cloudpickle

from . import pickles, prompt_names
from .code_changes import comparable, same
from .pickler import Pickler
from .pickles import Buffer
from .plain_types import PLAIN_TYPES

_LATEST = 256  # functions whose pickles are kept


class _Pickled(NamedTuple):
    """A function's pickle, and what it was made of."""

    parts: list[Any]
    alone: bytes
    call: bytes  # that of the function without arguments
    needs: prompt_names.ReferencedNames


class _Made:
    """A function in a pickle of others: made of its own."""

    def __init__(self, alone: bytes) -> None:
        self._alone = alone

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._alone,)


_known: OrderedDict[int, _Pickled] = (
    OrderedDict()
)  # by the identity of the function, which `parts` keeps alive


def dumps(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Buffer]:
    """`pickles.dumps` of ``(f, args, kwargs)``.

    Raises
    ------
    SerializationError
        When they cannot be pickled.
    """
    if type(f) is types.FunctionType:
        simple = all(type(a) in PLAIN_TYPES for a in args) and all(
            type(a) in PLAIN_TYPES for a in kwargs.values()
        )
        known = _pickled(f) if simple else None
        if known is not None:
            call = pickle.dumps((_Made(known.alone), args, kwargs), 5) if args or kwargs else known.call
            return [pickles.in_front(known.needs, call)]
    return pickles.dumps((f, args, kwargs))


def _pickled(f: types.FunctionType) -> _Pickled | None:
    """The function's pickle, if it goes by value and all that this depends on can be compared."""
    known = _known.get(id(f))
    parts = None if known is None and cloudpickle._should_pickle_by_reference(f) else comparable(f)
    if parts is None:
        return None
    if known is None or not same(known.parts, parts):
        try:
            alone, needs = _dump(f)
            call, _ = _dump((f, (), {}))
        except Exception:  # told where the whole call is pickled
            return None
        known = _known[id(f)] = _Pickled(parts, alone, call, needs)
        if len(_known) > _LATEST:
            _known.popitem(last=False)
    return known


def _dump(obj: Any) -> tuple[bytes, prompt_names.ReferencedNames]:
    file = io.BytesIO()
    pickler = Pickler(file)
    pickler.dump(obj)
    return file.getvalue(), prompt_names.ReferencedNames(pickler.references)
