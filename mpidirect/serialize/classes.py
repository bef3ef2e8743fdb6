"""Classes of the prompt as pickles: a class that returns to its process is the same class there.

A class travels with the identity that cloudpickle gives, and with a version.  An engine applies the content
of a class once per version.
"""

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

_ENUM_MEMBER_ATTRIBUTES = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
_MEMBERS_KEY = "members of mpidirect"  # no attribute has this name

# Attributes that Python derives from the other attributes of a class.
_OF_EACH_CLASS = frozenset({"__dict__", "__weakref__", "__annotations__", "__abstractmethods__", "_abc_impl"})
_OF_RECORDS = frozenset({"__dataclass_fields__", "__dataclass_params__", "__match_args__", "_field_defaults"})
_OF_ENUMERATIONS = frozenset({"_member_names_", "_member_map_", "_value2member_map_", "_member_type_"})
_DERIVED = _OF_EACH_CLASS | _OF_RECORDS | _OF_ENUMERATIONS
_MAX_COMPARED = 100  # items of a container whose text is compared


def reduce_class(cls: Any) -> Any:
    """Return the reduction of a class; NotImplemented for a class that is pickled by its name."""
    reduced: Any = _cloudpickle._class_reduce(cls)
    if reduced is NotImplemented or len(reduced) < 6:  # builtin types have short reductions
        return reduced
    make, args, state = reduced[:3]
    if issubclass(cls, enum.Enum):
        args, state = _reduce_enum(cls, args, state)
    elif "__slots__" in vars(cls) and not issubclass(cls, tuple):
        args[3]["__slots__"] = cls.__slots__  # cloudpickle would make a class without slots
        for slot in [n for n, v in state[0].items() if isinstance(v, types.MemberDescriptorType)]:
            del state[0][slot]
    content = {**state[0], **_attributes_outside_dict(cls)}
    return _make_class, (make, args), ((content, state[1]), version(cls)), None, None, _set_class_state


def _attributes_outside_dict(cls: Any) -> dict[str, Any]:
    """Return the attributes of a class that are not in its dictionary."""
    attributes = {"__qualname__": cls.__qualname__} if cls.__qualname__ != cls.__name__ else {}
    if sys.version_info >= (3, 14):  # Python 3.14 evaluates annotations when they are read
        with contextlib.suppress(Exception):  # an undefined name in an annotation
            attributes["__annotations__"] = cls.__annotations__
    return attributes


def _reduce_enum(cls: Any, args: tuple[Any, ...], state: Any) -> tuple[tuple[Any, ...], Any]:
    """Return arguments and state of an enumeration, with what cloudpickle omits: aliases and attributes."""
    members = {name: member.value for name, member in cls.__members__.items()}
    content = {name: value for name, value in state[0].items() if name not in members}
    attributes = {
        member.name: {
            name: value for name, value in vars(member).items() if name not in _ENUM_MEMBER_ATTRIBUTES
        }
        for member in cls
        if not vars(member).keys() <= _ENUM_MEMBER_ATTRIBUTES
    }
    if attributes:
        content[_MEMBERS_KEY] = attributes
    return (*args[:3], members, *args[4:]), (content, state[1])


# -- the side that unpickles a class ----------------------------------------------------------------------


class _AppliedState(NamedTuple):
    """The state that was last applied to a class from another process."""

    version: int
    names: frozenset[str]


_foreign_classes: weakref.WeakKeyDictionary[Any, _AppliedState] = weakref.WeakKeyDictionary()


def _make_class(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the class of this identity if this process has the class; else make the class."""
    known = _cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
    if known is not None:
        return known
    cls = _make_without_hooks(make, args)
    _foreign_classes[cls] = _AppliedState(-1, frozenset())
    return cls


def _make_without_hooks(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Make a class without ``__init_subclass__`` of the user's base classes.

    These hooks ran in the process that defined the class.
    """
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
    """Apply the content of a class from another process, unless this version was applied before."""
    (content, slots), version = state
    applied = _foreign_classes.get(cls)
    if applied is None or applied.version == version:
        return
    _foreign_classes[cls] = _AppliedState(version, frozenset(content))
    members = content.pop(_MEMBERS_KEY, {})
    _cloudpickle._class_setstate(cls, (content, slots))
    for name in applied.names - content.keys() - {"_abc_impl", _MEMBERS_KEY}:
        with contextlib.suppress(AttributeError):
            delattr(cls, name)
    for name, attributes in members.items():
        vars(cls[name]).update(attributes)


# -- versions ---------------------------------------------------------------------------------------------

_versions: weakref.WeakKeyDictionary[Any, tuple[list[Any], int]] = weakref.WeakKeyDictionary()


def version(cls: Any) -> int:
    """Return the version of a class: a number that grows when an attribute is set, replaced or deleted."""
    if cls in _foreign_classes:
        return _foreign_classes[cls].version
    own = [(name, value) for name, value in vars(cls).items() if name not in _DERIVED]
    parts = [part for name, value in own for part in (name, _comparison_key(value))]
    known = _versions.get(cls)
    if known is not None and len(known[0]) == len(parts) and all(map(_is_same, known[0], parts)):
        return known[1]
    number = 0 if known is None else known[1] + 1
    _versions[cls] = parts, number
    return number


def _comparison_key(value: Any) -> Any:
    """Return a value that changes when an attribute of the class changes, and refers to no such class."""
    value = getattr(value, "__func__", value)
    if isinstance(value, types.FunctionType):
        return value.__code__
    if isinstance(value, property):
        return tuple(getattr(f, "__code__", None) for f in (value.fget, value.fset, value.fdel))
    if type(value) in (list, dict, set, tuple):
        return repr(value) if len(value) <= _MAX_COMPARED else (id(value), len(value))
    return value if type(value) in PLAIN_TYPES else id(value)


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) is not types.CodeType and one == other)
