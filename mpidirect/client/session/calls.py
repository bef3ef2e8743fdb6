"""The calls that a client knows: calls under way, calls whose results a user holds, and the latest ones."""

from __future__ import annotations

from collections import deque
from weakref import WeakValueDictionary

from ..calls.call import Call
from .call_log import CallLog

KEPT_CALLS = 64  # ended calls whose results stay available to `get_result`
KEPT_BYTES = 16 * 1024 * 1024  # bytes of the results of all these calls together


class CallRegistry:
    """The calls of one client.

    Attributes
    ----------
    under_way : dict of str to Call
        Calls without all replies, by id.
    known : WeakValueDictionary of str to Call
        All calls that still exist: a user holds their results, or they are among the latest.
    history : list of str
        The ids of the calls that were sent, in order.
    log : CallLog
        When the calls that have ended ran, and where.
    """

    def __init__(self) -> None:
        self.under_way: dict[str, Call] = {}
        self.known: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self.history: list[str] = []
        self.log = CallLog()
        self._latest: deque[Call] = deque()
        self._latest_bytes = 0

    def add(self, call: Call) -> None:
        """Register a call before its request is sent."""
        self.under_way[call.id] = call
        self.known[call.id] = call

    def drop(self, id: str) -> None:
        """Remove a call whose request could not be sent."""
        self.under_way.pop(id, None)

    def find(self, id: str) -> Call | None:
        """Return a call under way, or one that has ended and still exists."""
        return self.under_way.get(id) or self.known.get(id)

    def finish(self, call: Call) -> None:
        """If all engines have replied, keep the call among the latest calls, and report its failure."""
        if call.ready and self.under_way.pop(call.id, None) is not None:
            self._keep(call)
            if call.failed:
                call.report_failure()

    def _keep(self, call: Call) -> None:
        self.log.add(call)
        latest = self._latest
        latest.append(call)
        self._latest_bytes += call.size
        while latest and (len(latest) > KEPT_CALLS or self._latest_bytes > KEPT_BYTES):
            self._latest_bytes -= latest.popleft().size

    def forget(self, ids: set[str]) -> None:
        """Forget ended calls. The `AsyncResult` of a call still has the call."""
        for call in [call for call in self._latest if call.id in ids]:
            self._latest.remove(call)
            self._latest_bytes -= call.size
        for id in ids:
            self.known.pop(id, None)

    def abandon(self, ename: str, evalue: str) -> list[Call]:
        """End all calls under way with an error, and return them."""
        calls = list(self.under_way.values())
        for call in calls:
            call.abandon(ename, evalue)
        self.under_way.clear()
        return calls
