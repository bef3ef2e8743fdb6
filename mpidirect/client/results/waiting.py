"""The wait for a blocking call: failures are reported early, and Ctrl-C interrupts the engines."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable

from ... import errors
from ..calls.balanced_call import BalancedCall
from ..display.bars import can_update, in_kernel
from ..display.stacks import Stacks
from ..display.units import duration_in_words
from ..session import queries
from ..session.queries import engines_in_words
from .asyncresult import AsyncResult
from .outputs import at_prompt
from .state import (
    QUEUE_REPORT_DELAY,
    outcome_in_words,
    queue_in_words,
    state_in_words,
    unanswered_among,
    unanswered_engines,
    wait_in_queue,
)
from .transfer_progress import TransferProgress

FAILURE_REPORT_DELAY = 0.5  # seconds between the first failure and the report that other engines still run
STATE_REPORT_INTERVAL = 3.0  # seconds between two reports on a long call
TRANSFER_INTERVAL = 0.2  # seconds between two checks of moving data
SHORT_WAIT = 0.5  # seconds that a call on idle engines may take
MAX_SEARCHED = 16  # maximum number of calls under way that are searched for one that keeps the engines busy


def wait(
    result: AsyncResult,
    progress: bool = False,
    report: Callable[[str], None] | None = None,
    transfer: TransferProgress | None = None,
) -> None:
    """Wait for a blocking call.

    The first Ctrl-C interrupts the engines that run the call. The second one leaves the engines running, and
    returns to the prompt.

    Parameters
    ----------
    result : AsyncResult
        The call.
    progress : bool
        Whether to show a progress bar.
    report : callable, optional
        Called with a line about the state of a long call.
    transfer : TransferProgress, optional
        Reports the progress of the data that the call moves.
    """
    try:
        if progress:
            result.wait_interactive(return_when="FIRST_EXCEPTION")
        if report is not None:
            wait_and_report_state(result, None, QUEUE_REPORT_DELAY, report, transfer)
        wait_and_report_failures(result)
    except KeyboardInterrupt:
        interrupt_after_ctrl_c(result)
        raise errors.Interrupted(outcome_in_words(result._slots)) from None


def interrupt_after_ctrl_c(result: AsyncResult, running: str = "", left: str = "") -> None:
    """Interrupt the engines of a call, and wait until the call has ended.

    Parameters
    ----------
    result : AsyncResult
        The call.
    running : str
        What is interrupted, as text; by default the engines.
    left : str
        What is told when a second Ctrl-C leaves the call running.
    """
    running = running or engines_in_words(unanswered_engines(result._slots))
    left = left or f"left running: {running}"
    print(f"Interrupting {running} … ({_interrupt_key()} again leaves them running)", file=sys.stderr)
    try:
        result.interrupt()
    except KeyboardInterrupt:
        raise errors.Interrupted(
            f"{left}; rc.get_result({result._calls[0].id!r}) has what comes of it, rc.interrupt() ends it"
        ) from None
    except errors.TimeoutError as e:
        raise errors.Interrupted(str(e)) from None


def _interrupt_key() -> str:
    """Return the name of the key that interrupts a call."""
    return "Stop" if in_kernel() else "Ctrl-C"


def wait_and_report_failures(result: AsyncResult, flush: Callable[[], None] | None = None) -> None:
    """Wait for a call. If engines have failed while others still run, call `flush`, and print that."""
    session, calls, slots = result._session, result._calls, result._slots
    wait_in_queue(session, calls, slots, lambda: result._ready or any(call.failed for call in calls))
    if not result.wait(FAILURE_REPORT_DELAY):
        places = queries.places(session, unanswered_engines(slots))
        if flush is not None:
            flush()
        print(f"{state_in_words(slots, places)}. {_interrupt_key()} interrupts them.", file=sys.stderr)
        result.wait()


def wait_and_report_state(
    result: AsyncResult,
    timeout: float | None,
    delay: float,
    report: Callable[[str], None],
    transfer: TransferProgress | None = None,
) -> bool:
    """Wait until a call has ended or an engine has failed; return False after `timeout` seconds.

    Parameters
    ----------
    result : AsyncResult
        The call.
    timeout : float, optional
        Seconds to wait; None without limit.
    delay : float
        Seconds after which reports begin; negative for no reports.
    report : callable
        Called with a line about the state of the call, every few seconds.
    transfer : TransferProgress, optional
        Reports the progress of the call's data; while data moves, nothing else is reported.
    """
    session, calls = result._session, result._calls
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    next_report = math.inf if delay < 0 else time.monotonic() + delay
    next_look = math.inf if transfer is None else time.monotonic() + TRANSFER_INTERVAL

    def done() -> bool:
        return result._ready or any(call.failed for call in calls)

    def remaining() -> float | None:
        first = min(deadline, next_report, next_look)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    while not session.wait(done, remaining()):
        now = time.monotonic()
        if now >= deadline:
            return False
        if transfer is not None and now >= next_look:
            next_look = now + TRANSFER_INTERVAL
            if transfer.look():
                next_report = now + STATE_REPORT_INTERVAL
        if now >= next_report:
            next_report = now + STATE_REPORT_INTERVAL
            with contextlib.suppress(errors.MPIDirectError):  # the connection may be down for a moment
                report(queue_in_words(session, calls, result._slots) or progress_in_words(result))
    return True


def progress_in_words(result: AsyncResult) -> str:
    """Return the number of completed engines, and the places of the others in their code, as text."""
    running = unanswered_engines(result._slots)
    places = Stacks(queries.stacks(result._session, running)).summary if running else ""
    total = len({engine for _, engine in result._slots})
    elapsed = duration_in_words(round(result.elapsed))
    return f"{total - len(running)} of {total} engines done after {elapsed}; {places}"


def wait_if_idle(result: AsyncResult) -> AsyncResult:
    """Wait shortly for a quick call if its engines are idle; raise its error, or return the result."""
    session, calls = result._session, result._calls
    under_way = list(session.calls.under_way.values())
    if len(under_way) <= MAX_SEARCHED and not any(
        call not in calls and (isinstance(call, BalancedCall) or unanswered_among(call, calls[0].targets))
        for call in under_way
    ):
        session.wait_silently(result.ready, SHORT_WAIT)
        if at_prompt() and can_update():
            _wait_for_sending(result)
        if calls[0].failed and result.ready():
            result.get()
    return result


def _wait_for_sending(result: AsyncResult) -> None:
    """Wait until the data of a call has been sent, and show the progress of large data."""
    if result.sent:
        return
    try:
        with result.stream_output() as live:
            transfer = TransferProgress(
                result._session.connection, result._calls[0], result._method, live.status
            )
            while not result._session.wait(lambda: result.sent, TRANSFER_INTERVAL):
                transfer.look()
    except KeyboardInterrupt:
        interrupt_after_ctrl_c(result)
        raise errors.Interrupted(outcome_in_words(result._slots)) from None
