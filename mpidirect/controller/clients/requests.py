"""Requests of clients, and the arrival of their data."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection

from ...arrays.lazy_numpy import np
from ...protocol import messages
from ...protocol.frames import Frame
from ...protocol.reliable_stream import WINDOW
from ..engine_registry import EngineRegistry
from ..scheduling.balanced_request import BalancedRequest
from ..scheduling.balancer import Balancer
from ..scheduling.scheduler import ActiveRequest, Scheduler
from ..sessions.session import Session
from ..sessions.uploads import RequestHeader, Upload
from .planner import DeliveryPlanner

log = logging.getLogger(__name__)

# Seconds that a client may be away in the middle of a request. The check runs once a second.
ENGINES_WAIT_LIMIT = 4.0  # when engines wait for the remaining data
PARTIAL_UPLOAD_LIMIT = 20.0  # when no engine waits

# Bytes that stay free for messages under way: if ZeroMQ finds no memory for a message, it ends the process.
SPARE_MEMORY = WINDOW

REPORT_DELAY = 1.0  # seconds that data is read before its client is told how much has been read

AnyRequest = ActiveRequest | BalancedRequest


class _Incoming:
    """The requests of a client that have not been handed on."""

    __slots__ = ("backlog", "receiving", "staging", "superfluous")

    def __init__(self) -> None:
        self.receiving: AnyRequest | None = None  # the request whose chunks are arriving
        # the request whose data is being read out of the client's memory
        self.staging: AnyRequest | None = None
        # requests that wait for the request before them
        self.backlog: deque[tuple[RequestHeader, list[Frame]]] = deque()
        self.superfluous = 0  # chunks of a dropped request that will still arrive


class Requests:
    """Hands requests to the scheduler and the balancer, in order, when their data has arrived."""

    def __init__(
        self,
        scheduler: Scheduler,
        balancer: Balancer,
        registry: EngineRegistry,
        planner: DeliveryPlanner,
        budget: int,
        fail: Callable[[ActiveRequest, int, str, str], None],  # ends a task with an error name and a text
    ) -> None:
        self._scheduler = scheduler
        self._balancer = balancer
        self._registry = registry
        self._planner = planner
        self._budget = budget
        self._fail = fail
        self._incoming: dict[Session, _Incoming] = {}
        self._staging: set[Session] = set()

    @property
    def staging(self) -> bool:
        """Return whether data is being read out of a client's memory."""
        return bool(self._staging)

    def forget(self, session: Session) -> None:
        """Forget the incomplete requests of a client that will not return."""
        self._incoming.pop(session, None)
        self._staging.discard(session)

    # -- arrival ----------------------------------------------------------------------------------

    def receive(self, session: Session, message: RequestHeader | messages.Chunk, frames: list[Frame]) -> None:
        """Take a request, or a chunk of its data."""
        incoming = self._incoming.get(session)
        if incoming is None:
            incoming = self._incoming[session] = _Incoming()
        if not isinstance(message, messages.Chunk):
            if incoming.receiving is not None:
                raise ValueError("a request arrived before all data of the previous request")
            if message.id in session.open or not message.id.startswith(f"{session.label}-"):
                raise ValueError("a request's id is not the client's own, or is in use")
            incoming.backlog.append((message, frames))
            self._take_backlog(session, incoming)
        elif incoming.superfluous:
            incoming.superfluous -= 1
        else:
            if incoming.receiving is None or len(frames) != 1:
                raise ValueError("data arrived that belongs to no request")
            if len(frames[0]):
                self._take_chunk(incoming, incoming.receiving, frames[0])
            else:
                self._withdraw(incoming)

    def _take_backlog(self, session: Session, incoming: _Incoming) -> None:
        """Begin the requests that need not wait for the data of an earlier request."""
        while incoming.backlog and incoming.staging is None:
            header, frames = incoming.backlog.popleft()
            self._begin(incoming, _request_of(session, header, frames))

    def _begin(self, incoming: _Incoming, request: AnyRequest) -> None:
        """Submit a request whose data has arrived, or wait for the data."""
        upload = request.upload
        if not upload.bulk:
            self._submit(request)
        elif not upload.header.addresses:
            incoming.receiving = request
            if not self._has_memory():
                self._drop(incoming, "MemoryError", _no_memory(upload))
        elif isinstance(request, ActiveRequest) and self._planner.stays_at_client(request):
            self._submit(request)
        else:
            incoming.staging = request
            self._staging.add(request.client)

    def _take_chunk(self, incoming: _Incoming, request: AnyRequest, frame: Frame) -> None:
        """Take the next chunk of a request; pass it on if the task has gone before its data."""
        upload = request.upload
        group, piece = upload.add(frame)
        if isinstance(request, ActiveRequest) and request.submitted:
            request.delivery.pass_on(request.open, group, piece)
            if not upload.missing:
                incoming.receiving = None
                request.delivery.seal(request.open, complete=True)
        elif not upload.missing:
            incoming.receiving = None
            self._submit(request)
        elif (
            isinstance(request, ActiveRequest) and upload.keeps_up and self._scheduler.begins_at_once(request)
        ):
            self._submit(request)

    def _submit(self, request: AnyRequest) -> None:
        """Hand a request to the scheduler or the balancer."""
        request.client.open[request.id] = request
        if isinstance(request, BalancedRequest):
            self._balancer.submit(request)
            return
        self._balancer.dependencies.register(request.id, len(request.targets))
        request.delivery = self._planner.choose(request)
        request.delivery.begin()
        for engine in self._scheduler.submit(request):
            self._fail(request, engine, "EngineError", self._registry.why_missing(engine))

    # -- data in the client's memory --------------------------------------------------------------

    def stage(self) -> None:
        """Read a chunk of each request whose data must not stay in its client's memory."""
        for session in list(self._staging):
            incoming = self._incoming[session]
            request = incoming.staging
            assert request is not None
            failure: tuple[str, str] | None = None
            try:
                request.upload.read_chunk()
            except OSError as e:
                failure = "EngineError", f"the client's data can't be read: {e}"
            except MemoryError:
                failure = "MemoryError", _no_memory(request.upload)
                session.notify(messages.DataRead, request.id)
            if failure is None and request.upload.missing:
                self._report(session, request)
                continue
            incoming.staging = None
            self._staging.discard(session)
            if failure is not None:
                self._refuse(request, *failure)
            else:
                session.notify(messages.DataRead, request.id)
                self._submit(request)
            self._take_backlog(session, incoming)
            if session.left and incoming.staging is None:
                self.forget(session)

    def _report(self, session: Session, request: AnyRequest) -> None:
        """Tell the client, in intervals, how much of its data has been read."""
        upload = request.upload
        if session.listener is not None and upload.report_due(REPORT_DELAY):
            session.notify(messages.DataMoving, request.id, upload.arrived, upload.size)

    # -- data that does not arrive ----------------------------------------------------------------

    def _withdraw(self, incoming: _Incoming) -> None:
        """End the request whose chunks are arriving: an empty chunk says that the client aborts it."""
        self._release_engines(incoming)
        if incoming.receiving is not None:
            self._drop(incoming, "TaskAborted", "aborted before it began")
        incoming.superfluous -= 1

    def abort(self, wanted: Collection[str] | None) -> int:
        """End requests whose data is not read yet, by their ids or all; return the number of their tasks."""
        aborted = 0
        for session, incoming in list(self._incoming.items()):
            waiting = [_request_of(session, *entry) for entry in incoming.backlog]
            staged = [incoming.staging] if incoming.staging is not None else []
            for request in [*staged, *waiting]:
                if wanted is not None and request.id not in wanted:
                    continue
                aborted += len(request.targets)
                if request is incoming.staging:
                    incoming.staging = None
                    self._staging.discard(session)
                incoming.backlog = deque(entry for entry in incoming.backlog if entry[0].id != request.id)
                self._refuse(request, "TaskAborted", "aborted before it began")
            self._take_backlog(session, incoming)
        return aborted

    def client_left(self, session: Session) -> None:
        """Give up the incomplete request of a client that will not return."""
        incoming = self._incoming.get(session)
        if incoming is not None:
            self._release_engines(incoming)
            incoming.receiving = None
            if incoming.staging is None:
                self.forget(session)

    def _release_engines(self, incoming: _Incoming) -> None:
        """Release the engines that wait for the remaining data of a request."""
        request = incoming.receiving
        if isinstance(request, ActiveRequest) and request.submitted:
            incoming.receiving = None
            incoming.superfluous = request.upload.missing  # the client sends these chunks if it returns
            request.delivery.abandon(request.open)

    def give_up_partial(self) -> None:
        """Give up incomplete requests of long-absent clients, and requests that need too much memory."""
        now = time.monotonic()
        away = [
            (session, incoming)
            for session, incoming in self._incoming.items()
            if session.listener is None and incoming.receiving is not None
        ]
        away.sort(key=lambda entry: -entry[0].away)  # the oldest ones go first
        kept = 0
        for session, incoming in away:
            request = incoming.receiving
            assert request is not None
            absent = now - session.away
            if isinstance(request, ActiveRequest) and request.submitted:
                if absent > ENGINES_WAIT_LIMIT:
                    self._release_engines(incoming)
                continue
            kept += request.upload.arrived
            if absent > PARTIAL_UPLOAD_LIMIT or kept > self._budget:
                kept -= request.upload.arrived
                self._drop(incoming, "EngineError", "its client was away before all its data had come")

    def _drop(self, incoming: _Incoming, ename: str, why: str) -> None:
        """Refuse the request whose chunks are arriving, and skip its other chunks."""
        request, incoming.receiving = incoming.receiving, None
        assert request is not None
        incoming.superfluous = request.upload.missing
        self._refuse(request, ename, why)
        log.warning("a request of client %s is dropped: %s", request.client.label, why)

    def _refuse(self, request: AnyRequest, ename: str, why: str) -> None:
        """End a request whose data has not arrived."""
        if isinstance(request, BalancedRequest):
            self._balancer.refuse(request, ename, why)
            return
        for engine in [engine for engine in request.targets if engine in request.open]:
            self._fail(request, engine, ename, why)

    # -- the end of the controller ----------------------------------------------------------------

    def end_all(self, session: Session, why: str) -> None:
        """End the incomplete requests of a client."""
        incoming = self._incoming.get(session)
        if incoming is None:
            return
        if incoming.receiving is not None:
            self._drop(incoming, "EngineError", why)
        if incoming.staging is not None:
            self._staging.discard(session)
            request, incoming.staging = incoming.staging, None
            self._refuse(request, "EngineError", why)
        while incoming.backlog:
            self._refuse(_request_of(session, *incoming.backlog.popleft()), "EngineError", why)

    def superfluous_chunks(self, session: Session) -> int:
        """Return how many chunks of a dropped request a client will still send."""
        incoming = self._incoming.get(session)
        return incoming.superfluous if incoming is not None else 0

    def skip_chunks(self, session: Session, count: int) -> None:
        """Skip chunks of a client. An earlier controller has dropped their request."""
        incoming = self._incoming[session] = _Incoming()
        incoming.superfluous = count

    def _has_memory(self) -> bool:
        """Return whether there is memory for all announced data, within a limit of this process."""
        receiving = [incoming.receiving for incoming in self._incoming.values()]
        due = sum(request.upload.due for request in receiving if request is not None)
        try:
            np.empty(due + SPARE_MEMORY, np.uint8)  # the pages are never touched
        except MemoryError:
            return False
        return True


def _request_of(session: Session, header: RequestHeader, frames: list[Frame]) -> AnyRequest:
    upload = Upload(header, frames, session.process, session.directory)
    if isinstance(header, messages.BalancedTasks):
        return BalancedRequest(header, session, upload)
    return ActiveRequest(header.id, session, header.method, header.targets, upload)


def _no_memory(upload: Upload) -> str:
    return f"the controller has no room for {upload.size:,} bytes of data (ulimit -v)"
