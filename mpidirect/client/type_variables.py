"""The types of what users choose, and the type variables of results and views."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    # A type without its parameter, such as `AsyncResult`, has the parameter `Any`.
    Value = TypeVar("Value", default=Any)
    Targets = TypeVar("Targets", default=Any)
else:
    from typing import ParamSpec, TypeVar

    Value = TypeVar("Value")
    Targets = TypeVar("Targets")

# Value: what the user gets from a result.
# Targets: `int` for a view whose calls return the value of one engine, `list[int]` for a list of values.
Item = TypeVar("Item")  # what a user's function returns on one engine, or for one item
Params = ParamSpec("Params")  # the parameters of a user's function

# How a user chooses engines: an id, a slice of the living engines, several ids, "all" or None.
EngineSelection = Union[SupportsIndex, slice, str, Collection[SupportsIndex], None]
