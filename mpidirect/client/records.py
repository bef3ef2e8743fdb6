"""Calls as mappings and as records: what `Client.results`, `Client.metadata` and `Client.db_query` return."""

from __future__ import annotations

import fnmatch
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from .calls.call import Call

T = TypeVar("T")


def part_id(call: Call, key: int) -> str:
    """Return the id of one engine's part of a call."""
    return f"{call.id}:{key}"


class PartsById(Mapping[str, T], Generic[T]):
    """A live mapping from the ids of parts of calls to a value for each part.

    Parameters
    ----------
    calls : mapping of str to Call
        The calls, by id.
    value_of : callable
        Returns the value for a call and a key of its targets.
    answered : bool
        Whether the mapping has only the parts with a reply.
    """

    def __init__(self, calls: Mapping[str, Call], value_of: Callable[[Call, int], T], answered: bool) -> None:
        self._calls = calls
        self._value_of = value_of
        self._answered = answered

    def __getitem__(self, id: str) -> Any:
        request, _, part = id.partition(":")
        call = self._calls.get(request)
        if call is None or (part and not part.isdigit()):
            raise KeyError(id)
        keys = [int(part)] if part else list(call.targets)
        available = self._keys_of(call)
        if any(key not in available for key in keys):
            raise KeyError(id)
        values = [self._value_of(call, key) for key in keys]
        return values if len(values) > 1 else values[0]

    def __iter__(self) -> Iterator[str]:
        for call in list(self._calls.values()):
            for key in list(self._keys_of(call)):
                yield part_id(call, key)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _keys_of(self, call: Call) -> Mapping[int, Any] | list[int]:
        return call.replies if self._answered else call.targets


_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    **_ORDERINGS,
    "$in": lambda value, operand: value in operand,
    "$nin": lambda value, operand: value not in operand,
    "$glob": lambda value, operand: value is not None and fnmatch.fnmatchcase(value, operand),
    "$mod": lambda value, operand: value is not None and value % operand[0] == operand[1],
    "$all": lambda value, operand: all(item in value for item in operand),
}


def matches(record: Mapping[str, Any], key: str, condition: Any) -> bool:
    """Return whether the entry `key` of a record fulfils a condition of `Client.db_query`."""
    value = record.get(key)
    if not isinstance(condition, dict) or not any(str(name).startswith("$") for name in condition):
        return bool(value == condition)
    return all(_holds(record, key, name, operand) for name, operand in condition.items())


def _holds(record: Mapping[str, Any], key: str, name: str, operand: Any) -> bool:
    """Return whether one operator of a condition holds."""
    value = record.get(key)
    if name == "$exists":
        return (key in record) == bool(operand)
    if name == "$not":
        return not matches(record, key, operand)
    if name not in _OPERATORS:
        known = ", ".join([*_OPERATORS, "$exists", "$not"])
        raise ValueError(f"db_query knows no operator {name!r}; it has {known}")
    if name in _ORDERINGS and value is None:
        return False
    return _OPERATORS[name](value, operand)
