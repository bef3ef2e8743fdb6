"""Results of earlier calls, and of other clients' calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..calls.balanced_call import BalancedCall
from ..calls.call import Call
from ..type_variables import Value
from .asyncresult import AsyncResult


class AsyncHubResult(AsyncResult[Value]):
    """The result of a call that was repeated, or that another client made.

    `Client.resubmit` and `Client.get_result` return it.

    Examples
    --------
    >>> rc.resubmit(ar).get()
    [1024, 1024, 1024, 1024]
    """

    _kind = "AsyncHubResult"


class MapTaskResult(AsyncHubResult[Value]):
    """The result of one task of a load-balanced map, by its id: the list of the task's items."""

    def _value(self, return_exceptions: bool, values: list[Any]) -> Any:
        return [super()._value(return_exceptions, values)]


def kind_of_result(calls: Sequence[Call], known: bool, single: bool) -> type[AsyncResult]:
    """Return the class for the result of earlier calls.

    Parameters
    ----------
    calls : sequence of Call
        The calls.
    known : bool
        Whether this client has made all of these calls.
    single : bool
        Whether the result is the value of one part.
    """
    if single and isinstance(calls[0], BalancedCall) and calls[0].is_map:
        return MapTaskResult
    return AsyncResult if known else AsyncHubResult
