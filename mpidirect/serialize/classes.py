"""Classes of the prompt as pickles: where one comes back, it is the class that is there."""

from __future__ import annotations

import contextlib
import enum
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from cloudpickle import cloudpickle as _cloudpickle

from .functions import is_installed
from .plain_types import PLAIN_TYPES


def reduce_class(cls: Any) -> Any:
    """How a class is pickled; NotImplemented if that is by its name."""
    reduced: Any = _cloudpickle._class_reduce(cls)
    if reduced is NotImplemented or len(reduced) < 6:  # the latter is a builtin type
        return reduced
    make, args, state = reduced[:3]
    if issubclass(cls, enum.Enum):
        args, state = _enum_parts(cls, args, state)
    elif "__slots__" in vars(cls) and not issubclass(cls, tuple):
        args[3]["__slots__"] = cls.__slots__  # cloudpickle would make a class without them
        for slot in [n for n, v in state[0].items() if isinstance(v, types.MemberDescriptorType)]:
            del state[0][slot]
    content = {**state[0], **_besides(cls)}
    return _make_class, (make, args), ((content, state[1]), version(cls)), None, None, _set_class_state


def _besides(cls: Any) -> dict[str, Any]:
    """What a class has, but not in its dictionary."""
    more = {"__qualname__": cls.__qualname__} if cls.__qualname__ != cls.__name__ else {}
    if sys.version_info >= (3, 14):  # they are evaluated when they are asked for
        with contextlib.suppress(Exception):  # they may name what is not there
            more["__annotations__"] = cls.__annotations__
    return more


_OF_MEMBERS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def _enum_parts(cls: Any, args: tuple[Any, ...], state: Any) -> tuple[tuple[Any, ...], Any]:
    """What an enumeration is made of; cloudpickle forgets aliases, and what members have besides values."""
    members = {name: member.value for name, member in cls.__members__.items()}
    content = {name: value for name, value in state[0].items() if name not in members}
    more = {
        member.name: {name: value for name, value in vars(member).items() if name not in _OF_MEMBERS}
        for member in cls
        if not vars(member).keys() <= _OF_MEMBERS
    }
    if more:
        content[_MEMBERS] = more
    return (*args[:3], members, *args[4:]), (content, state[1])


_MEMBERS = "members of mpidirect"  # no attribute has this name


class _Content(NamedTuple):
    """What was last set of a class that comes from elsewhere."""

    version: int
    names: frozenset[str]


_arrived: weakref.WeakKeyDictionary[Any, _Content] = weakref.WeakKeyDictionary()


def _make_class(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A class that was made elsewhere; if it comes from here, the one that is here."""
    before = _cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
    if before is not None:
        return before
    cls = _make_unnoticed(make, args)
    _arrived[cls] = _Content(-1, frozenset())
    return cls


def _make_unnoticed(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Make a class without telling base classes of the user: they were told where it was defined."""
    hooks = [
        (base, vars(base)["__init_subclass__"])
        for first in (types.resolve_bases(args[2]) if make is _cloudpickle._make_skeleton_class else ())
        for base in first.__mro__
        if "__init_subclass__" in vars(base) and not is_installed(sys.modules.get(base.__module__))
    ]
    try:
        for base, _ in hooks:
            base.__init_subclass__ = classmethod(lambda cls, **options: None)
        return make(*args)
    finally:
        for base, hook in hooks:
            base.__init_subclass__ = hook


def _set_class_state(cls: Any, state: tuple[Any, int]) -> None:
    """Give a class what it has where it comes from, unless it is from here, or has that already."""
    (content, slots), version = state
    before = _arrived.get(cls)
    if before is None or before.version == version:
        return
    _arrived[cls] = _Content(version, frozenset(content))
    members = content.pop(_MEMBERS, {})
    _cloudpickle._class_setstate(cls, (content, slots))
    for name in before.names - content.keys() - {"_abc_impl", _MEMBERS}:
        with contextlib.suppress(AttributeError):
            delattr(cls, name)
    for name, attributes in members.items():
        vars(cls[name]).update(attributes)


# -- how classes change -----------------------------------------------------------------------------------

_versions: weakref.WeakKeyDictionary[Any, tuple[list[Any], int]] = weakref.WeakKeyDictionary()


# What follows from the rest of a class, and does not change.
_OF_EACH_CLASS = frozenset({"__dict__", "__weakref__", "__annotations__", "__abstractmethods__", "_abc_impl"})
_OF_RECORDS = frozenset({"__dataclass_fields__", "__dataclass_params__", "__match_args__", "_field_defaults"})
_OF_ENUMERATIONS = frozenset({"_member_names_", "_member_map_", "_value2member_map_", "_member_type_"})
_MADE = _OF_EACH_CLASS | _OF_RECORDS | _OF_ENUMERATIONS


def version(cls: Any) -> int:
    """A number that changes when the class does: when methods or attributes are set or replaced."""
    if cls in _arrived:
        return _arrived[cls].version
    own = [(name, value) for name, value in vars(cls).items() if name not in _MADE]
    parts = [part for name, value in own for part in (name, _part(value))]
    known = _versions.get(cls)
    if known is not None and len(known[0]) == len(parts) and all(map(_same, known[0], parts)):
        return known[1]
    number = 0 if known is None else known[1] + 1
    _versions[cls] = parts, number
    return number


def _part(value: Any) -> Any:
    """What tells whether an attribute of a class is still the same, without a reference to the class."""
    value = getattr(value, "__func__", value)
    if isinstance(value, types.FunctionType):
        return value.__code__
    if isinstance(value, property):
        return tuple(getattr(f, "__code__", None) for f in (value.fget, value.fset, value.fdel))
    if type(value) in (list, dict, set, tuple):
        return repr(value) if len(value) <= _FEW else (id(value), len(value))
    return value if type(value) in PLAIN_TYPES else id(value)


_FEW = 100  # items that are compared


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) is not types.CodeType and one == other)
