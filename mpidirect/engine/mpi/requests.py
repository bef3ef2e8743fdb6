"""Requests of user code: who waits for one can be got out, and what is forgotten keeps its buffers.

What user code begins on its communicators gives requests of a subclass of mpi4py's, which takes the place of
``MPI.Request``.  Where MPI has no `Revoke`, their waits are tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from .polling import PolledCommunicator, keep, until
from .watched_communicator import WatchedCommunicator, watched_call

BEGIN = (
    *("Isend", "Ibsend", "Issend", "Irsend", "Irecv", "isend", "ibsend", "issend", "irecv"),
    *("Ibarrier", "Ibcast", "Igather", "Igatherv", "Iscatter", "Iscatterv", "Iallgather", "Iallgatherv"),
    *("Ialltoall", "Ialltoallv", "Ialltoallw", "Ireduce", "Iallreduce", "Ireduce_scatter_block"),
    *("Ireduce_scatter", "Iscan", "Iexscan", "Isendrecv", "Isendrecv_replace"),
)
_Plain = MPI.Request


class _Kind(type):
    """Requests that our communicators had no part in are requests, too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _Plain)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Plain)


class Request(_Plain, metaclass=_Kind):
    """A request that knows its communicator."""

    comm: Any

    def __new__(cls, request: Any = None, comm: Any = None) -> Any:
        self = _Plain.__new__(cls, request)
        self.comm = getattr(request, "comm", None) if comm is None else comm
        return self

    def __del__(self) -> None:
        if self:  # nobody waits for it any more, but MPI may still use its buffers
            keep([_Plain(self)])

    def Wait(self, status: Any = None) -> Any:
        return _wait("Wait", [self], lambda: _Plain.Wait(self, status), lambda: self.Test(status))

    def wait(self, status: Any = None) -> Any:
        def done() -> Any:
            ended, value = self.test(status)
            return (value,) if ended else None

        return _wait("wait", [self], lambda: (_Plain.wait(self, status),), done)[0]


def _of_several(name: str, pending: Callable[[Any], bool], shown: Callable[[Any], Any]) -> Any:
    """A wait for several requests, made of a test: when it finds nothing, and what to return of it."""
    wait, test = getattr(_Plain, name), getattr(_Plain, name.replace("Wait", "Test").replace("wait", "test"))

    def call(cls: type, requests: Any, status: Any = None) -> Any:
        def done() -> Any:
            found = test(requests, status)
            return None if pending(found) else (shown(found),)

        return _wait(name, requests, lambda: (wait(requests, status),), done)[0]

    return classmethod(functools.wraps(wait)(call))


for _name, _pending, _shown in (
    ("Waitall", lambda found: not found, lambda found: found),
    ("waitall", lambda found: not found[0], lambda found: found[1]),
    ("Waitany", lambda found: not found[1], lambda found: found[0]),
    ("waitany", lambda found: not found[1], lambda found: (found[0], found[2])),
    ("Waitsome", lambda found: found == [], lambda found: found),
    ("waitsome", lambda found: found[0] == [], lambda found: found),
):
    setattr(Request, _name, _of_several(_name, _pending, _shown))


def _wait(name: str, requests: Any, wait: Callable[[], Any], done: Callable[[], Any]) -> Any:
    """Wait by MPI, or by testing, if any of the requests is on a communicator of ours."""
    comm = next((comm for r in requests if r and (comm := getattr(r, "comm", None)) is not None), None)
    if comm is None:
        return wait()
    if not isinstance(comm, PolledCommunicator):
        return _MARKED[name](comm, wait)
    found = done()  # it may have ended before its communicator was lost
    if not found:
        with comm._at(f"Request.{name}"):
            found = until(comm, f"Request.{name}", done)
    return found


def _marked(name: str) -> Callable[..., Any]:
    def call(comm: Any, wait: Callable[[], Any]) -> Any:
        return wait()

    call.__name__ = f"Request.{name}"
    return watched_call(call)


_MARKED = {
    name: _marked(name)
    for name in ("Wait", "wait", "Waitall", "waitall", "Waitany", "waitany", "Waitsome", "waitsome")
}


def begins(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that begins something and returns a request for it: one of ours."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, PolledCommunicator):  # others are told by MPI
            self._must_be_usable()
        self._revoke_if_abandoned()
        return Request(method(self, *args, **kwargs), self)

    return call


for _name in BEGIN:
    if hasattr(MPI.Intracomm, _name):  # mpi4py before version 4 lacks some
        setattr(WatchedCommunicator, _name, begins(getattr(MPI.Intracomm, _name)))


def begin() -> None:
    """Have ``MPI.Request`` be the class of such requests."""
    MPI.Request = Request  # type: ignore[misc]
