"""What clients ask for, and the data of it, on its way to the engines."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ...arrays.lazy_numpy import np
from ...protocol import messages
from ..scheduling.balanced_work import BalancedRequest
from ..scheduling.scheduler import ActiveRequest
from ..sessions.session import Session
from ..sessions.uploads import Upload

if TYPE_CHECKING:
    from ..controller import Controller

log = logging.getLogger(__name__)

# Seconds that engines wait for the data of a client that is away; a look comes once a second.
INTERRUPTED = 4.0
PARTIAL = 20.0  # the same, that it is kept when no engine waits for it


class Requests:
    """Takes the clients' requests in order, as far as their data is at hand.

    Parameters
    ----------
    controller : Controller
        Where they go.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.staging: set[Session] = set()  # whose data is being read

    def accepted(self, session: Session, message: Any, frames: list[Any]) -> None:
        """A request, or a piece of its data, has come."""
        if isinstance(message, (messages.Request, messages.BalancedTasks)):
            if session.upload is not None:
                raise ValueError("a request came before the data of the one before it")
            if message.id in session.open or not message.id.startswith(f"{session.label}-"):
                raise ValueError("a request's id is not the client's own, or is in use")
            session.backlog.append((message, frames))
            self._take(session)
        elif session.useless:
            session.useless -= 1
        else:
            job = session.upload
            if job is None or len(frames) != 1:
                raise ValueError("data came that belongs to no request")
            self._chunk(session, job, frames[0])

    def _take(self, session: Session) -> None:
        scheduler = self.controller.scheduler
        while session.backlog and session.staging is None:
            job = self._next(session)
            upload, request = job.payload, job.payload.request
            if not upload.bulk:
                self._submit(job)
            elif not request.addresses:
                session.upload = job
                if not self._has_room():
                    self._drop(session, "MemoryError", _no_room(upload))
            elif not job.balanced and self.controller.near(job.targets) and scheduler.idle(job.targets):
                upload.direct = True
                job.fetching = set(request.targets)
                self._submit(job)
            else:
                session.staging = job
                self.staging.add(session)

    def _next(self, session: Session) -> Any:
        """Return the job of the first request that waits."""
        request, frames = session.backlog.popleft()
        upload = Upload(request, frames, session.process, session.directory)
        if isinstance(request, messages.BalancedTasks):
            return BalancedRequest(request, session, upload)
        return ActiveRequest(request.id, session, request.method, request.targets, upload)

    def _chunk(self, session: Session, job: ActiveRequest, frame: Any) -> None:
        """The next bytes of a request: kept, or passed on at once where its engines wait for them."""
        upload = job.payload
        group, piece = upload.add(frame)
        if upload.early:
            self._pass_on(job, group, piece)
        if not upload.missing:
            session.upload = None
            if upload.early:
                self._seal(job, complete=True)
            else:
                self._submit(job)
        elif not (upload.early or job.balanced) and upload.soon and self.controller.scheduler.takes(job):
            upload.early = True
            self._submit(job)

    def _pass_on(self, job: ActiveRequest, group: int, piece: Any) -> None:
        upload, transfer = job.payload, self.controller.transfer
        together = upload.spread and group == 0
        if together and transfer.spread is not None:
            transfer.send_all([piece])
            return
        for engine in upload.targets_of(group):
            # where a collective broke, the engines that have noticed want everything again
            if engine in job.open and (not together or engine in upload.again):
                transfer.send(engine, [piece])

    def _seal(self, job: ActiveRequest, complete: bool) -> None:
        for engine in job.targets:
            if engine in job.open:
                self.controller.transfer.send(engine, [bytes([complete])])

    def _submit(self, job: Any) -> None:
        controller = self.controller
        session = job.client
        session.open[job.id] = job
        if isinstance(job, BalancedRequest):
            controller.balancer.submit(job)
            return
        controller.balancer.outcomes.begin(job.id, len(job.targets))
        upload = job.payload
        upload.spread = (
            upload.bulk
            and not upload.direct
            and upload.request.op != "share"
            and controller.transfer.spread is not None
            and len(job.targets) == controller.size
            and controller.scheduler.takes(job)
        )
        upload.prepare(bool(session.process) and controller.near(job.targets))
        together = upload.bulk_for_all()
        if together:
            controller.transfer.send_all(together)
        for engine in controller.scheduler.submit(job):
            why = controller.lost.get(engine, f"there is no engine {engine}")
            controller.fail(job, engine, "EngineError", why)

    # -- data that is read, or does not come -----------------------------------------------------------

    def stage(self) -> None:
        """Read a bit of the requests that must be kept here out of their clients' memory."""
        for session in list(self.staging):
            job = session.staging
            try:
                job.payload.stage()
            except (OSError, MemoryError) as e:
                session.staging = None
                ename, why = "EngineError", f"the client's data can't be read: {e}"
                if isinstance(e, MemoryError):
                    ename, why = "MemoryError", _no_room(job.payload)
                    session.tell(messages.DataRead, job.id)
                self._refuse(job, ename, why)
            else:
                if not job.payload.missing:
                    session.staging = None
                    session.tell(messages.DataRead, job.id)
                    self._submit(job)
            if session.staging is None:
                self.staging.discard(session)
            self._take(session)

    def abandon(self, session: Session) -> None:
        """The client is away in the middle of a request: its engines must not wait for the data."""
        job = session.upload
        if job is not None and job.payload.early:
            session.upload = None
            session.useless = job.payload.missing  # should the client come back, it sends them
            while job.payload.missing:
                self._pass_on(job, *job.payload.fill())
            self._seal(job, complete=False)

    def interrupted(self, sessions: list[Session]) -> None:
        """Let go of the engines that wait for clients that have been away for long, and of half requests."""
        now = time.monotonic()
        away = [session for session in sessions if session.listener is None and session.upload is not None]
        kept = 0
        for session in sorted(away, key=lambda session: -session.away):  # the oldest go first
            upload = session.upload.payload
            if upload.early:
                if now - session.away > INTERRUPTED:
                    self.abandon(session)
                continue
            kept += upload.arrived
            if now - session.away > PARTIAL or kept > self.controller.retention.budget:
                kept -= upload.arrived
                self._drop(session, "EngineError", "its client was away before all its data had come")

    def end_all(self, session: Session, why: str) -> None:
        """End the requests of a client that have not begun on engines: the controller ends."""
        if session.upload is not None:
            self._drop(session, "EngineError", why)
        if session.staging is not None:
            self.staging.discard(session)
            job, session.staging = session.staging, None
            self._refuse(job, "EngineError", why)
        while session.backlog:
            self._refuse(self._next(session), "EngineError", why)

    def _drop(self, session: Session, ename: str, why: str) -> None:
        """Forget a request of which not all has come."""
        job, session.upload = session.upload, None
        session.useless = job.payload.missing
        self._refuse(job, ename, why)
        log.warning("a request of client %s is dropped: %s", session.label, why)

    def _refuse(self, job: Any, ename: str, why: str) -> None:
        """End a request whose data is not here."""
        if isinstance(job, BalancedRequest):
            self.controller.balancer.refuse(job, ename, why)
            return
        for engine in [engine for engine in job.targets if engine in job.open]:
            self.controller.fail(job, engine, ename, why)

    def _has_room(self) -> bool:
        """Whether all that is announced would find room, where this process has a limit of memory."""
        sessions = self.controller.clients.sessions.values()
        due = sum(s.upload.payload.due for s in sessions if s.upload is not None)
        try:
            np.empty(due, np.uint8)  # no page of it is touched
        except MemoryError:
            return False
        return True


def _no_room(upload: Upload) -> str:
    return f"the controller has no room for {upload.size:,} bytes of data (ulimit -v)"
