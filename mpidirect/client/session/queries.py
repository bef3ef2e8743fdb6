"""Queries on engines, which the controller answers while the engines are busy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ... import errors
from ...errors import format_ids
from ...protocol import messages
from ..calls.source_lines import placed
from .session import Session

EXAMINATION_TIMEOUT = 35.0  # seconds that debugging tools on the hosts have to examine engines
ANSWER_TIMEOUT = 3.0  # seconds that the controller has to answer, beyond the time for the engines


def queue_lengths(session: Session, targets: list[int]) -> dict[Any, Any]:
    """Return the numbers of waiting, assigned and completed tasks, by engine."""
    lengths: dict[Any, Any] = session.query("queue_status", targets)
    return lengths


def places(session: Session, targets: list[int]) -> dict[int, str]:
    """Return the MPI call and the line of user code of each engine; empty for an idle engine."""
    found: dict[int, str] = session.query("where", targets)
    return {engine: placed(text) for engine, text in found.items()}


def usage(session: Session, targets: list[int]) -> dict[int, messages.Usage | None]:
    """Return the activity and the resources of each engine; None for an engine whose C code holds the GIL."""
    found: dict[int, Any] = session.query("usage", targets)
    return {engine: None if fields is None else messages.Usage(*fields) for engine, fields in found.items()}


def stacks(session: Session, targets: list[int], signals: bool = False) -> dict[int, str]:
    """Return the stack of each engine's user code, by engine, as the engine formats it.

    With `signals`, also of an engine whose C code holds Python's lock; the signal ends a sleep in C early.
    """
    found: dict[int, str] = session.query("where", targets, [True, signals])
    return found


def native_stacks(session: Session, targets: list[int]) -> dict[int, tuple[str, str]]:
    """Return the stack with C frames of each engine, or why there is none."""
    found: dict[int, Any] = session.query("native_stacks", targets, None, EXAMINATION_TIMEOUT)
    return {engine: (stack, problem) for engine, (stack, problem) in found.items()}


def send_signal(session: Session, number: int, targets: list[int], call_id: str = "") -> None:
    """Send a signal to engines; with a `call_id`, only to those that run that call."""
    session.query("signal", targets, [number, call_id])


def abort(session: Session, ids: Collection[str], targets: list[int]) -> None:
    """Take calls that have not begun out of the queues of engines."""
    under_way = session.calls.under_way
    calls = [call for id in ids if (call := under_way.get(id)) is not None]
    # A collective can't be completed without one of its engines: the others leave it too.
    together = {call.id: call.targets for call in calls if call.is_collective}
    if others := sorted(set(ids) - together.keys()):
        session.query("abort", targets, others)
    for id, members in together.items():
        session.query("interrupt", members, [[id], 0.0, 0.0, True])


def interrupt(session: Session, targets: list[int], ids: list[str] | None, timeout: float) -> None:
    """Interrupt engines, and wait until they have left the interrupted code.

    Parameters
    ----------
    session : Session
        The session.
    targets : list of int
        The engines.
    ids : list of str, optional
        Interrupt only these calls, and abort those of them that have not begun. None interrupts any call.
    timeout : float
        Seconds that the engines have to leave the code.

    Raises
    ------
    TimeoutError
        If an engine has not left the code in time; the error names the place and a remedy.
    """
    if not targets:
        return
    value = [ids, timeout, 0.0, ids is not None]
    found: dict[int, str] = session.query("interrupt", targets, value, timeout + ANSWER_TIMEOUT)
    stuck = {engine: placed(text) for engine, text in found.items()}
    if stuck:
        calls = session.calls.under_way.values()
        session.uninterrupted |= {call.id for call in list(calls) if stuck.keys() & {*call.targets}}
        raise errors.TimeoutError(
            f"{engines_in_words(sorted(stuck))} did not come back within {timeout:g} s"
            f"{places_in_words(stuck)}. An interrupt is seen when such a call ends. "
            f"If it never does: {_remedy(session, stuck)}."
        )


def _remedy(session: Session, places: dict[int, str]) -> str:
    """Return what a user can do about stuck engines at these places, which depends on the MPI."""
    tolerance = session.facts.get("fault_tolerance", {})
    stuck = sorted(places)
    all_stuck = len(stuck) == len(session.engines.live)
    if tolerance.get("restarts"):
        one = _remedy_by_one(places) if tolerance.get("revokes") and all_stuck else ""
        return f"{one}rc.restart() ends all engines and starts new ones, with empty namespaces"
    if tolerance.get("replaces") and not all_stuck:
        return f"rc.restart({stuck}) puts new engines in their place, and the others go on"
    if tolerance.get("deaths"):
        return f"rc.send_signal('SIGKILL', {stuck}) ends them, and the others go on"
    return "stop the cluster and start it again"


def _remedy_by_one(places: dict[int, str]) -> str:
    """Return how the end of one engine frees the others, if exactly one engine is at another place.

    Fault-tolerant MPI ends the calls that wait for a dead engine, also calls in C.
    """
    alone = [engine for engine, place in places.items() if [*places.values()].count(place) == 1]
    if len(alone) != 1 or len(places) == 1:
        return ""
    return (
        f"rc.restart({alone}) replaces engine {alone[0]}; engines that wait in MPI for engine {alone[0]} "
        "come back, with their namespaces. "
    )


def engines_in_words(ids: list[int]) -> str:
    """Return ``engine 3`` or ``engines 0-3``."""
    return f"engine {ids[0]}" if len(ids) == 1 else f"engines {format_ids(ids)}"


def places_in_words(places: dict[int, str]) -> str:
    """Return the places of engines in parentheses, equal places together; empty if there are none."""
    groups: dict[str, list[int]] = {}
    for engine, place in places.items():
        if place:
            groups.setdefault(place, []).append(engine)
    if not groups:
        return ""
    return f" ({'; '.join(f'{engines_in_words(ids)}: {place}' for place, ids in groups.items())})"
