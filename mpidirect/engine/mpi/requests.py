"""Requests of user code: their waits can be interrupted, and forgotten requests keep their buffers.

Non-blocking operations on watched communicators return requests of a subclass of mpi4py's, which replaces
``MPI.Request``. If MPI has no `Revoke`, waits for them are tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from .polled_communicator import PolledCommunicator
from .polling import keep_requests, poll_until
from .watched_communicator import WatchedCommunicator, watched_call

NON_BLOCKING = (
    *("Isend", "Ibsend", "Issend", "Irsend", "Irecv", "isend", "ibsend", "issend", "irecv"),
    *("Ibarrier", "Ibcast", "Igather", "Igatherv", "Iscatter", "Iscatterv", "Iallgather", "Iallgatherv"),
    *("Ialltoall", "Ialltoallv", "Ialltoallw", "Ireduce", "Iallreduce", "Ireduce_scatter_block"),
    *("Ireduce_scatter", "Iscan", "Iexscan", "Isendrecv", "Isendrecv_replace"),
)
_MPIRequest = MPI.Request


class _RequestType(type):
    """Makes mpi4py's requests instances of `Request`, too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _MPIRequest)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _MPIRequest)


class Request(_MPIRequest, metaclass=_RequestType):
    """A request that knows its communicator."""

    comm: Any

    def __new__(cls, request: Any = None, comm: Any = None) -> Any:
        self = _MPIRequest.__new__(cls, request)
        self.comm = getattr(request, "comm", None) if comm is None else comm
        return self

    def __del__(self) -> None:
        if self:  # No wait will complete this request, but MPI may still use its buffers.
            keep_requests([_MPIRequest(self)])

    def Wait(self, status: MPI.Status | None = None) -> Any:
        return _wait("Wait", [self], lambda: _MPIRequest.Wait(self, status), lambda: self.Test(status))

    def wait(self, status: MPI.Status | None = None) -> Any:
        def test() -> Any:
            ended, value = self.test(status)
            return (value,) if ended else None

        return _wait("wait", [self], lambda: (_MPIRequest.wait(self, status),), test)[0]


def _make_wait(name: str, is_pending: Callable[[Any], bool], result: Callable[[Any], Any]) -> Any:
    """Make a wait for several requests.

    Parameters
    ----------
    name : str
        The name of the method of mpi4py's class.
    is_pending : callable
        Returns whether the wait continues after this result of a test.
    result : callable
        Makes the result of the wait from the result of a test.
    """
    mpi_wait = getattr(_MPIRequest, name)
    mpi_test = getattr(_MPIRequest, name.replace("Wait", "Test").replace("wait", "test"))

    def call(cls: type, requests: Any, status: MPI.Status | None = None) -> Any:
        def test() -> Any:
            found = mpi_test(requests, status)
            return None if is_pending(found) else (result(found),)

        return _wait(name, requests, lambda: (mpi_wait(requests, status),), test)[0]

    return classmethod(functools.wraps(mpi_wait)(call))


for _name, _is_pending, _result in (
    ("Waitall", lambda found: not found, lambda found: found),
    ("waitall", lambda found: not found[0], lambda found: found[1]),
    ("Waitany", lambda found: not found[1], lambda found: found[0]),
    ("waitany", lambda found: not found[1], lambda found: (found[0], found[2])),
    ("Waitsome", lambda found: found == [], lambda found: found),
    ("waitsome", lambda found: found[0] == [], lambda found: found),
):
    setattr(Request, _name, _make_wait(_name, _is_pending, _result))


def _wait(name: str, requests: Any, wait: Callable[[], Any], test: Callable[[], Any]) -> Any:
    """Wait by MPI, or, if a request belongs to a polled communicator, by tests."""
    comm = next((comm for r in requests if r and (comm := getattr(r, "comm", None)) is not None), None)
    if comm is None:
        return wait()
    if not isinstance(comm, PolledCommunicator):
        return _WATCHED_WAITS[name](comm, wait)
    found = test()  # The request may have ended before its communicator was abandoned.
    if not found:
        with comm._blocking_call(f"Request.{name}"):
            found = poll_until(comm, f"Request.{name}", test)
    return found


def _watched_wait(name: str) -> Callable[..., Any]:
    def call(comm: Any, wait: Callable[[], Any]) -> Any:
        return wait()

    call.__name__ = f"Request.{name}"
    return watched_call(call)


_WATCHED_WAITS = {
    name: _watched_wait(name)
    for name in ("Wait", "wait", "Waitall", "waitall", "Waitany", "waitany", "Waitsome", "waitsome")
}


def _watched_operation(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a non-blocking method that returns a `Request`."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, PolledCommunicator):  # Otherwise MPI reports that the communicator was revoked.
            self._check_usable()
        self._revoke_if_abandoned()
        return Request(method(self, *args, **kwargs), self)

    return call


for _name in NON_BLOCKING:
    if hasattr(MPI.Intracomm, _name):  # mpi4py before version 4 lacks some of these methods.
        setattr(WatchedCommunicator, _name, _watched_operation(getattr(MPI.Intracomm, _name)))


def replace_request_class() -> None:
    """Make `Request` the class ``MPI.Request``."""
    MPI.Request = Request  # type: ignore[misc]
