"""The state of calls under way, as text: what has failed, what still runs, and what runs before it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from ... import errors
from ..calls.balanced_call import BalancedCall
from ..calls.call import Call
from ..display.units import duration_in_words
from ..session import queries
from ..session.queries import engines_in_words, places_in_words
from ..session.session import Session

Slot = tuple[Call, int]  # a call, and the key of one of its parts: an engine, or the number of a task

_ENDINGS = {"KeyboardInterrupt": "interrupted", "Incomplete": "ended before its data had arrived"}

QUEUE_REPORT_DELAY = 2.0  # seconds after which a call that waits for other calls says so


def unanswered_engines(slots: Sequence[Slot]) -> list[int]:
    """Return the engines that have not replied, in order."""
    return sorted({engine for call, engine in slots if engine not in call.replies})


def failures_of(slots: Sequence[Slot]) -> dict[int, errors.RemoteError]:
    """Return the errors that have arrived, by engine."""
    failed = [(c, key) for c, key in slots if key in c.replies and c.replies[key].status == "error"]
    return {key: call.value(key) for call, key in failed}


def state_in_words(slots: Sequence[Slot], places: dict[int, str] | None = None) -> str:
    """Return the failed and the running engines as text; `places` are positions in the engines' code."""
    equal: dict[str, list[int]] = {}
    for engine, e in failures_of(slots).items():
        equal.setdefault(f"{e.ename}: {e.evalue}", []).append(engine)
    parts = [f"{engines_in_words(sorted(ids))} failed: {text}" for text, ids in equal.items()]
    if running := unanswered_engines(slots):
        parts.append(f"still running: {engines_in_words(running)}{places_in_words(places or {})}")
    return "; ".join(parts)


def outcome_in_words(slots: Sequence[Slot]) -> str:
    """Return how the parts of an interrupted call ended."""
    groups: dict[str, list[int]] = {}
    for call, engine in slots:
        groups.setdefault(_ending_of(call, engine), []).append(engine)
    return "; ".join(f"{engines_in_words(engines)}: {ending}" for ending, engines in groups.items())


def _ending_of(call: Call, engine: int) -> str:
    reply = call.replies.get(engine)
    if reply is None:
        return "still runs"
    if reply.status == "aborted":
        return "aborted before it began"
    if reply.failure is None:
        return "done"
    return _ENDINGS.get(reply.failure.ename, reply.failure.ename)


# -- the queue -------------------------------------------------------------------------------------------


def wait_in_queue(
    session: Session, calls: Sequence[Call], slots: Sequence[Slot], done: Callable[[], bool]
) -> None:
    """Wait until `done` holds; during a long wait, print once which earlier calls cause it."""
    report_time = time.monotonic() + QUEUE_REPORT_DELAY
    session.wait(lambda: done() or time.monotonic() > report_time, None)
    if not done():
        if text := queue_in_words(session, calls, slots):
            print(text, file=sys.stderr)
        session.wait(done, None)


def queue_in_words(session: Session, calls: Sequence[Call], slots: Sequence[Slot]) -> str:
    """Return which earlier calls keep the engines of these calls busy; empty if there are none."""
    engines = unanswered_engines(slots)
    first = min(call.submitted for call in calls)
    earlier = [
        (call, busy)
        for call in list(session.calls.under_way.values())
        if call not in calls and call.submitted <= first and (busy := unanswered_among(call, engines))
    ]
    if not earlier:
        return _others_in_words(session, engines)
    call, busy = earlier[0]
    since = duration_in_words(round(time.time() - call.submitted))
    more = f" and {len(earlier) - 1} other calls" if len(earlier) > 1 else ""
    interrupted = call.id in session.uninterrupted
    remedy = "an interrupt did not end it, rc.restart() does" if interrupted else "rc.interrupt() ends it"
    return (
        f"waiting for {engines_in_words(busy)}, which run{'s' if len(busy) == 1 else ''} {call.title}{more} "
        f"since {since} ({remedy})"
    )


def _others_in_words(session: Session, engines: list[int]) -> str:
    """Return which engines have balanced tasks, or calls of other clients; empty if there are none."""
    under_way = list(session.calls.under_way.values())
    try:
        lengths = queries.queue_lengths(session, engines)
        shared = []
        for engine in engines:
            ours = sum(bool(unanswered_among(call, [engine])) for call in under_way)
            if engine in lengths and lengths[engine]["queue"] + lengths[engine]["tasks"] > ours:
                shared.append(engine)
        places = places_in_words(queries.places(session, shared)) if shared else ""
    except errors.MPIDirectError:
        return ""
    if not shared:
        return ""
    tasks = next((call.title for call in under_way if isinstance(call, BalancedCall)), "")
    others = f"tasks of {tasks} run" if tasks else "other clients have calls as well"
    return f"waiting for {engines_in_words(shared)}, where {others}{places}"


def unanswered_among(call: Call, engines: Sequence[int]) -> list[int]:
    """Return those of `engines` that have not answered the call."""
    if isinstance(call, BalancedCall):  # the engines of waiting tasks are unknown
        return []
    return [engine for engine in engines if engine in call.expected and engine not in call.replies]
