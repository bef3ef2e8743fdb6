"""Results of calls that were made before, or by another client."""

from __future__ import annotations

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
