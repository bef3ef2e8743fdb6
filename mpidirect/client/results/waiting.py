"""What a blocking call does while it waits: it tells of failures early, and makes Ctrl-C an interrupt."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ... import errors
from ..calls.call import Call
from ..display.roll_call import Stacks
from ..session import queries
from ..session.queries import engines_in_words as named
from ..session.queries import places_in_words

if TYPE_CHECKING:
    from .asyncresult import AsyncResult

PATIENCE = 0.5  # seconds between the first failure of a call and the report that others still run
LONG = 2.0  # seconds after which a call that waits for others says so
SHORT = 0.5  # seconds that a push waits for engines that seem to be idle
AGAIN = 3.0  # seconds between two looks at what a call waits for
FEW = 16  # calls that are looked through for one that keeps them busy


def wait(result: AsyncResult, progress: bool = False, tell: Callable[[str], None] | None = None) -> None:
    """Wait for a blocking call, perhaps with a progress bar; `tell` is told what a long one waits for.

    The first Ctrl-C interrupts the engines that run it, the second gives the prompt back.
    """
    try:
        if progress:
            result.wait_interactive(return_when="FIRST_EXCEPTION")
        if tell is not None:
            wait_and_look(result, None, LONG, tell)
        wait_and_tell(result)
    except KeyboardInterrupt:
        end(result)
        raise errors.Interrupted(outcome(result)) from None


def end(result: AsyncResult, running: str = "", left: str = "") -> None:
    """After a Ctrl-C: interrupt what is `running`, and wait until it has ended; by default, what engines run.

    `left` says that it goes on.
    """
    running = running or named(pending(result))
    left = left or f"left running: {running}"
    print(f"Interrupting {running} … (Ctrl-C again leaves them running)", file=sys.stderr)
    try:
        result.interrupt()
    except KeyboardInterrupt:
        raise errors.Interrupted(
            f"{left}; rc.get_result({result._calls[0].id!r}) has what comes of it, rc.interrupt() ends it"
        ) from None
    except errors.TimeoutError as e:
        raise errors.Interrupted(str(e)) from None


def wait_and_tell(result: AsyncResult) -> None:
    """Wait; if some engines have failed while others run on, say so."""
    calls = result._calls
    wait_in_line(result, lambda: result._ready or any(call.failed for call in calls))
    if not result.wait(PATIENCE):
        session = result._session
        where = queries.places(session, pending(result))
        print(f"{state(result, where)}. Ctrl-C interrupts them.", file=sys.stderr)
        result.wait()


def given_up(result: AsyncResult, timeout: float | None) -> errors.TimeoutError:
    """The time of a call is over: interrupt it; the error that says where the engines were."""
    where = Stacks(queries.stacks(result._session, pending(result))).summary
    said = f"Result not ready after {timeout or 0.0:g} s: {where}."
    try:
        result.interrupt()
        result.wait(queries.ANSWER_TIMEOUT)
    except errors.TimeoutError as e:
        return errors.TimeoutError(f"{said} {e}")
    return errors.TimeoutError(f"{said} It was interrupted ({outcome(result)}).")


def wait_and_look(
    result: AsyncResult, timeout: float | None, after: float, tell: Callable[[str], None]
) -> bool:
    """Wait until it is done or an engine has failed; False if the time is over before.

    From `after` seconds on, unless that is negative, tell what it waits for.
    """
    session, calls = result._session, result._calls
    ends = math.inf if timeout is None else time.monotonic() + timeout
    looks = math.inf if after < 0 else time.monotonic() + after

    def done() -> bool:
        return result._ready or any(call.failed for call in calls)

    def left() -> float | None:
        first = min(ends, looks)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    while not session.wait(done, left()):
        now = time.monotonic()
        if now >= ends:
            return False
        if now >= looks:
            looks = now + AGAIN
            with contextlib.suppress(errors.MPIDirectError):  # the controller may be away for a moment
                tell(_line(result) or roll_call(result))
    return True


def roll_call(result: AsyncResult) -> str:
    """How much of it is done, since when it runs, and where the engines are that are not done."""
    waiting = pending(result)
    where = Stacks(queries.stacks(result._session, waiting)).summary if waiting else ""
    total = len({engine for _, engine in result._slots})
    return f"{total - len(waiting)} of {total} engines done after {result.elapsed:.0f} s; {where}"


def wait_in_line(result: AsyncResult, done: Callable[[], bool] | None = None) -> None:
    """Wait; if that takes long, and calls that were made before are why, say which."""
    session, done = result._session, done or result.ready
    until = time.monotonic() + LONG
    session.wait(lambda: done() or time.monotonic() > until, None)
    if not done():
        line = _line(result)
        if line:
            print(line, file=sys.stderr)
        session.wait(done, None)


def _line(result: AsyncResult) -> str:
    """What the result waits for, where that is other calls."""
    session, waiting = result._session, pending(result)
    first = min(call.submitted for call in result._calls)
    ahead = [
        (call, engines)
        for call in list(session.calls.under_way.values())
        if call not in result._calls and call.submitted <= first and (engines := _common(call, waiting))
    ]
    if ahead:
        call, engines = ahead[0]
        more = f" and {len(ahead) - 1} other calls" if len(ahead) > 1 else ""
        since = time.time() - call.submitted
        return (
            f"waiting for {named(engines)}, which run{'s' if len(engines) == 1 else ''} {call.title}{more} "
            f"since {since:.0f} s (rc.interrupt() ends it)"
        )
    try:
        status = queries.queue_lengths(session, waiting)
        mine = [
            sum(bool(_common(call, [e])) for call in list(session.calls.under_way.values())) for e in waiting
        ]
        theirs = {
            e: status[e]["queue"] + status[e]["tasks"] for e in waiting if e in status
        }  # others have died
        others = [e for e, n in zip(waiting, mine, strict=True) if theirs.get(e, 0) > n]
        where = places_in_words(queries.places(session, others)) if others else ""
    except errors.MPIDirectError:
        return ""
    return f"waiting for {named(others)}, where other clients have calls as well{where}" if others else ""


def _common(call: Call, engines: list[int]) -> list[int]:
    """Those of `engines` that have not answered the call."""
    return [e for e in engines if e in call.expected and e not in call.replies]


def at_once(result: AsyncResult) -> AsyncResult:
    """The result of a call that takes no time: if its engines are idle, it is waited for, and it raises."""
    session, calls = result._session, result._calls
    outstanding = list(session.calls.under_way.values())
    if len(outstanding) <= FEW and not any(
        call not in calls and _common(call, calls[0].targets) for call in outstanding
    ):
        session.wait(result.ready, SHORT)
        if calls[0].failed and result.ready():
            result.get()
    return result


def pending(result: AsyncResult) -> list[int]:
    """The engines that have not answered."""
    return sorted({engine for call, engine in result._slots if engine not in call.replies})


def state(result: AsyncResult, where: dict[int, str] | None = None) -> str:
    """What has failed, and who still runs, in words."""
    parts = [f"engine {engine} failed: {e.ename}: {e.evalue}" for engine, e in result.failures.items()]
    running = pending(result)
    if running:
        parts.append(f"still running: {named(running)}{places_in_words(where or {})}")
    return "; ".join(parts)


def outcome(result: AsyncResult) -> str:
    """How the parts of an interrupted call ended, in words."""
    groups: dict[str, list[int]] = {}
    for call, engine in result._slots:
        reply = call.replies.get(engine)
        failure = None if reply is None else reply.failure
        if reply is None:
            how = "still runs"
        elif reply.status == "aborted":
            how = "aborted before it began"
        elif failure is None:
            how = "done"
        else:
            how = "interrupted" if failure.ename == "KeyboardInterrupt" else failure.ename
        groups.setdefault(how, []).append(engine)
    return "; ".join(f"{named(engines)}: {how}" for how, engines in groups.items())
