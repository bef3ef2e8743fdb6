"""A client's session with the controller: sends requests, and receives the replies."""

from __future__ import annotations

import contextlib
import itertools
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ... import errors
from ...files import logs
from ...files.connection_file import ConnectionInfo
from ...memory import process_memory
from ...protocol import messages
from ...protocol.frames import Frame
from ..calls import unseen_failures
from ..calls.call import Call
from ..connection.connection import Connection
from ..connection.receiver import Answer
from ..connection.tunnel import Tunnel
from .calls import CallRegistry
from .debuggers import Command, WaitingDebuggers
from .engines import EngineDirectory
from .walltime import Deadline

FAILURE_REASON_TIMEOUT = 5.0  # seconds that a scheduler has to say why the cluster's job ended
WITHDRAWAL_TIMEOUT = 1.0  # seconds that data which is sent already has to arrive
# seconds that the remaining engines of a failed call have to end it after the interrupt
INTERRUPT_TIMEOUT = 10.0
INTERRUPT_DELAY = 0.25  # seconds between the first failure and the interrupt of the remaining engines
OPERATIONS_OF_USERS = ("apply", "map", "execute")  # an error names these instead of the user's function


class Session:
    """The state that a client shares with the controller, and the requests between the two.

    `Client`, views and results hold the session. The session knows none of them.

    Parameters
    ----------
    info : ConnectionInfo
        The contents of the connection file.
    timeout : float
        Seconds that the controller has to answer.
    patience : float
        Seconds to try for a new connection when this one breaks.
    sshserver : str
        A host to reach the controller through, as ssh takes it; empty for a direct connection.

    Attributes
    ----------
    engines : EngineDirectory
        The engines.
    calls : CallRegistry
        The calls that this client made.
    debuggers : WaitingDebuggers
        The debuggers of engines that wait for a command of this client.
    connection : Connection
        The connection to the controller.
    facts : dict
        What the controller said about the cluster in its welcome.
    python_mismatch : str
        The difference between this Python and the engines' Python, as a sentence; empty if there is none.
    interrupt_on_error : bool
        Whether a call that fails on one engine is interrupted on the others.
    """

    def __init__(self, info: ConnectionInfo, timeout: float, patience: float, sshserver: str = "") -> None:
        self.info = info
        self.engines = EngineDirectory(self.check, self.wait)
        self.calls = CallRegistry()
        self.debuggers = WaitingDebuggers(self._send_to_debuggers)
        self.interrupt_on_error = False
        self.uninterrupted: set[str] = set()  # calls that an interrupt did not end
        self._silent_waits = 0  # the number of waits during which no debugger gets the prompt
        self._answers: dict[str, messages.Answer | None] = {}
        self._numbers = itertools.count(1)
        self._walltime: Deadline | None = None
        self._tunnel = Tunnel(sshserver, info) if sshserver else None
        self.facts: dict[str, Any] = {}  # set before the connection, whose thread takes messages at once
        self.connection = Connection(info, self, timeout, patience, self._tunnel)
        welcome = self.connection.welcome
        with self.connection.lock:
            news, self.facts = self.facts, welcome.facts
            self.facts.update(news)
        self.python_mismatch = _python_mismatch(welcome.python)
        self.engines.start(welcome)
        self._walltime = Deadline(info, self.facts.get("time_left"))
        unseen_failures.watch(self)

    # -- requests ----------------------------------------------------------------------------------------

    def new_id(self, mark: str = "") -> str:
        """Return an id for a request; `mark` distinguishes kinds of requests."""
        return f"{self.connection.name}-{mark}{next(self._numbers)}"

    def submit(
        self,
        operation: str,
        method: str,
        targets: list[int],
        shared: Sequence[Frame],
        parts: Sequence[Sequence[Frame]] = (),
        convert: Callable[[messages.Reply, Any], Any] | None = None,
        gathers: bool = False,
    ) -> Call:
        """Send a request to engines.

        Parameters
        ----------
        operation : str
            The operation of the engines, a name in `engine/tasks.py`.
        method : str
            The name of the called method or function, for errors.
        targets : list of int
            Engine ids.
        shared : sequence of frames
            The frames that all targets get.
        parts : sequence of sequences of frames
            The frames of each target alone, in the order of `targets`.
        convert : callable, optional
            Called with a reply and the returned object; returns the user's value.
        gathers : bool
            Whether the bulk data of all engines is read into one buffer.
        """
        if not targets:
            raise errors.NoEnginesRegistered("This view has no engines, so there is nobody to call.")
        call = Call(self.new_id(), method, targets, self.engines.live, convert, gathers, self.release_result)
        sizes = list(map(len, shared))
        part_sizes = [list(map(len, part)) for part in parts]
        frames = [*shared, *itertools.chain.from_iterable(parts)] if parts else shared
        label = operation if operation in OPERATIONS_OF_USERS else method
        if not self.post(call, frames, messages.Request, targets, operation, label, sizes, part_sizes):
            call.resubmit = partial(self.submit, operation, method, targets, shared, parts, convert, gathers)
        return call

    def post(
        self, call: Call, frames: Sequence[Frame], kind: Callable[..., messages.Numbered], *fields: Any
    ) -> bool:
        """Send the request of a call, and return whether the request has bulk frames.

        Parameters
        ----------
        call : Call
            The call, with the id of the request.
        frames : sequence of frames
            All frames of the request.
        kind : type of message
            The class of the request's header.
        *fields
            The fields of the header, without its first field (the id) and its last one (the addresses of bulk
            data).
        """
        bulk = [frame for frame in frames if len(frame) >= messages.BULK]
        inline = [frame for frame in frames if len(frame) < messages.BULK] if bulk else frames
        addresses = [process_memory.address(frame) for frame in bulk] if self.connection.direct else []
        call.mismatch = self.python_mismatch
        call.buffers = bulk or None
        call.sent = sum(map(len, frames))
        self.calls.add(call)
        try:
            last = self.connection.post(kind, call.id, *fields, addresses, inline=inline, bulk=bulk)
        except BaseException:
            self.calls.drop(call.id)
            raise
        self.calls.history.append(call.id)
        if bulk:
            call.last_message = last
        return bool(bulk)

    def withdraw(self, call: Call) -> None:
        """Send no more of the data of a call, which is to be aborted."""
        if call.buffers and not self.connection.direct:
            self.connection.withdraw(call.buffers, call.last_message)
            try:
                self.query("queue_status", [], timeout=WITHDRAWAL_TIMEOUT)
            except errors.TimeoutError:  # a slow connection still has much to send
                self.connection.renew()

    def query(self, subject: str, targets: list[int], value: Any = None, timeout: float = 10.0) -> Any:
        """Ask the controller, and return its answer.

        Raises
        ------
        TimeoutError
            When no answer comes within `timeout` seconds.
        MPIDirectError
            When the controller answers with an error.
        """
        id = f"q{next(self._numbers)}"
        self._answers[id] = None
        try:
            self.connection.post(messages.Query, id, subject, targets, value)
            if not self.wait_silently(lambda: self._answers[id] is not None, timeout):
                raise errors.TimeoutError(f"The controller did not answer {subject!r} within {timeout} s.")
        finally:
            answer = self._answers.pop(id)
        assert answer is not None
        if answer.error:
            raise errors.MPIDirectError(answer.error)
        return answer.value

    def release_result(self, id: str, engine: int) -> None:
        """Tell an engine that its result has been read."""
        self.connection.post(messages.Release, id, engine)

    # -- waiting -----------------------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `done` holds; return False after `timeout` seconds.

        In the main thread, a debugger that waits for a command gets the prompt meanwhile; that time does not
        count.

        Raises
        ------
        ControllerLost, ClientClosed
            If the connection has ended, so `done` can never hold.
        """
        while not self.connection.wait(done, timeout):
            self.connection.check()
            if not self.connection.needs_user or timeout == 0:
                return False
            self.debuggers.source.serve(done)
        return True

    def wait_silently(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait as `wait` does, but give no debugger the prompt."""
        with self.keeping_prompt():
            return self.wait(done, timeout)

    @contextlib.contextmanager
    def keeping_prompt(self) -> Iterator[None]:
        """Give no debugger the prompt inside this context."""
        self._silent_waits += 1
        self._update_need()
        try:
            yield
        finally:
            self._silent_waits -= 1
            self._update_need()

    def poll(self) -> None:
        """Read the messages that have arrived."""
        self.connection.wait(_never, 0)

    def wait_for_fresh_calls(self, seconds: float) -> None:
        """Wait for the calls of the last `seconds` to end, at most `seconds`."""
        now = time.time()
        fresh = [call for call in list(self.calls.under_way.values()) if now - call.submitted < seconds]
        if fresh:
            self.wait_silently(lambda: all(call.ready for call in fresh), seconds)

    def check(self) -> None:
        """Raise the error that ended the connection, if it has ended."""
        self.connection.check()

    # -- the end -----------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the client was closed, or the controller is gone."""
        return self.connection.closed or self.connection.error is not None

    def time_left(self) -> float | None:
        """Return the seconds until the walltime ends the cluster's job; None without a walltime."""
        return None if self._walltime is None else self._walltime.left()

    def close(self, linger: float) -> None:
        """Close the connection; calls under way end with `ClientClosed`."""
        self._stop_walltime()
        self.connection.close(linger)
        if self._tunnel is not None:
            self._tunnel.close()
        self.calls.abandon("ClientClosed", "the client was closed before the call ended")

    def _stop_walltime(self) -> None:
        if self._walltime is not None:
            self._walltime.close()

    # -- received messages: the methods of `Receiver` ----------------------------------------------------

    def engines_changed(self, news: messages.EnginesChanged | messages.Welcome) -> None:
        """Update the engines, and the facts about their world."""
        if isinstance(news, messages.EnginesChanged) and news.world:
            self.facts["world"] = news.world
            if news.notice:
                print(f"mpidirect: {news.notice}", file=sys.stderr)
        self.engines.change(news)
        self.debuggers.keep(self.engines.live)

    def replied(self, answers: list[Answer]) -> None:
        """Hand replies of engines to their calls."""
        if self.debuggers.prompts:
            self.debuggers.end((reply.id, reply.engine) for reply, _ in answers)
            self._update_need()
        for id, group in itertools.groupby(answers, _request_id):
            call = self.calls.under_way.get(id)
            if call is not None:
                call.replied(list(group))
                if call.failed and not call.ready and self.interrupt_on_error:
                    self._interrupt_remaining(call)
                self.calls.finish(call)

    def _interrupt_remaining(self, call: Call) -> None:
        """Interrupt the engines that still run a call which failed on another one."""
        if call.interrupting:
            return
        call.interrupting = True
        remaining = [engine for engine in call.targets if engine not in call.replies]
        value = [[call.id], INTERRUPT_TIMEOUT, INTERRUPT_DELAY, True]
        self.connection.post(messages.Query, f"q{next(self._numbers)}", "interrupt", remaining, value)

    def printed(self, message: messages.RelayedOutput) -> None:
        """Hand output to its call. The call may have ended: threads of a task can print later."""
        call = self.calls.find(message.id)
        if call is not None:
            call.printed(message.engine, message.pieces)

    def debugger_changed(self, prompt: messages.DebuggerPrompt) -> None:
        """Serve, or refuse, the debugger of an engine."""
        self.debuggers.changed(prompt)
        self._update_need()

    def _update_need(self) -> None:
        self.connection.needs_user = bool(self.debuggers.prompts) and not self._silent_waits

    def _send_to_debuggers(self, engines: list[int], commands: list[Command]) -> None:
        self._update_need()
        id = f"q{next(self._numbers)}"
        self.connection.post(messages.Query, id, "debugger", engines, commands)

    def received(self, id: str, size: int) -> None:
        """Count the bytes of results that have arrived."""
        call = self.calls.under_way.get(id)
        if call is not None:
            call.bulk.receive(size)

    def result_announced(self, message: messages.ResultSize) -> None:
        """Note the size of all results of a call together."""
        call = self.calls.under_way.get(message.id)
        if call is not None:
            call.bulk.expected = message.size

    def data_moving(self, message: messages.DataMoving) -> None:
        """Note how much of the data of a call has arrived."""
        call = self.calls.under_way.get(message.id)
        if call is not None:
            call.bulk.moved, call.bulk.size = message.moved, message.size

    def data_read(self, id: str) -> None:
        """Release the buffers of a request: the cluster has read them."""
        call = self.calls.under_way.get(id)
        if call is not None:
            call.buffers = None

    def result_moved(self, id: str, engine: int, addresses: list[int]) -> None:
        """Read a result at its new addresses in the engine's memory."""
        call = self.calls.under_way.get(id)
        if call is not None:
            call.result_moved(engine, addresses)
            self.calls.finish(call)

    def answered(self, answer: messages.Answer) -> None:
        """Store the answer to a query that waits for it."""
        if answer.id in self._answers:
            self._answers[answer.id] = answer

    def controller_changed(self, info: ConnectionInfo) -> None:
        """Watch the walltime of the controller's present job."""
        self._stop_walltime()
        self.info = info
        self._walltime = Deadline(info, self.facts.get("time_left"))

    def session_forgotten(self) -> None:
        """End all calls under way: the controller has dropped the replies that it kept for this client."""
        self.calls.abandon("ResultExpired", "the controller kept nothing of this client while it was away")

    def controller_lost(self, error: Exception) -> None:
        """End all calls under way: the controller is gone."""
        from ...launchers.scheduled_jobs import failure_reason

        self._stop_walltime()
        if isinstance(error, errors.ControllerLost):
            reason = failure_reason(self.info.profile, self.info.cluster, FAILURE_REASON_TIMEOUT)
            cluster = f"{self.info.cluster} on {self.info.host}"
            if note := logs.end_note(Path(self.facts["logs"])):
                error.args = (f"The cluster {cluster} is gone: {note}",)
            elif reason:
                error.args = (f"The cluster {cluster} is gone, by the end {reason}",)
        self.engines.clear()
        self.debuggers.keep(())
        for call in self.calls.abandon(type(error).__name__, str(error)):
            call.report_failure()


def _never() -> bool:
    return False


def _request_id(answer: Answer) -> str:
    return answer[0].id


def _python_mismatch(theirs: str) -> str:
    """Return a sentence on the engines' Python version, if the engines may not understand our functions."""
    ours = platform.python_version()
    if ours.split(".")[:2] == theirs.split(".")[:2]:
        return ""
    return (
        f"this client runs Python {ours}, the engines {theirs}: functions and classes that are typed here "
        "travel as byte code, which other minor versions may not run; use the same one"
    )
