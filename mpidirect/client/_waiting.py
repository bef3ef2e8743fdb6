"""What a blocking call does while it waits: it tells of failures early, and makes Ctrl-C an interrupt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .. import errors
from ..errors import compact

if TYPE_CHECKING:
    from .asyncresult import AsyncResult
    from .client import Client

PATIENCE = 0.5  # seconds between the first failure of a call and the report that others still run
DELAY = 0.25  # the same before the others are interrupted, where that is wanted
ANSWERING = 3.0  # seconds beyond the time for the engines that the controller has to answer


def wait(result: AsyncResult) -> None:
    """Wait for a blocking call.

    The first Ctrl-C interrupts the engines that run it, the second gives the prompt back.
    """
    try:
        wait_and_tell(result)
    except KeyboardInterrupt:
        running = named(pending(result))
        print(f"Interrupting {running} … (Ctrl-C again leaves them running)", file=sys.stderr)
        try:
            result.interrupt()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"left running: {running}; rc.get_result({result._calls[0].id!r}) has what comes of it, "
                "rc.interrupt() ends it"
            ) from None
        except errors.TimeoutError as e:
            raise KeyboardInterrupt(str(e)) from None
        raise KeyboardInterrupt(outcome(result)) from None


def wait_and_tell(result: AsyncResult) -> None:
    """Wait; if some engines have failed while others run on, say so."""
    client, calls = result._client, result._calls
    client._wait(lambda: result._ready or any(call.failed for call in calls), None)
    if not result.wait(PATIENCE):
        where = client.where(pending(result))
        print(f"{state(result, where)}. Ctrl-C interrupts them.", file=sys.stderr)
        result.wait()


def pending(result: AsyncResult) -> list[int]:
    """The engines that have not answered."""
    return sorted({engine for call, engine in result._slots if engine not in call.replies})


def state(result: AsyncResult, where: dict[int, str] | None = None) -> str:
    """What has failed, and who still runs, in words."""
    parts = [f"engine {engine} failed: {e.ename}: {e.evalue}" for engine, e in result.failures.items()]
    running = pending(result)
    if running:
        parts.append(f"still running: {named(running)}{_places(where or {})}")
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


def interrupt(client: Client, targets: list[int], ids: list[str] | None, timeout: float) -> None:
    """Interrupt engines and wait until they are back.

    Raises
    ------
    TimeoutError
        When some are not; it says where they are, and what can be done.
    """
    if not targets:
        return
    value = [ids, timeout, 0.0, ids is not None]
    stuck: dict[int, str] = client._query("interrupt", targets, value, timeout + ANSWERING)
    if stuck:
        holds = client.facts.get("fault_tolerance", {})
        if holds.get("restarts"):
            remedy = "rc.restart() ends all engines and starts new ones, with empty namespaces"
        elif holds.get("replaces") and len(stuck) < len(client.ids):
            remedy = f"rc.restart({sorted(stuck)}) puts new engines in their place, and the others go on"
        elif holds.get("deaths"):
            remedy = f"rc.send_signal('SIGKILL', {sorted(stuck)}) ends them, and the others go on"
        else:
            remedy = "stop the cluster and start it again"
        raise errors.TimeoutError(
            f"{named(sorted(stuck))} did not come back within {timeout:g} s{_places(stuck)}. "
            f"An interrupt is seen when such a call ends. If it never does: {remedy}."
        )


def named(ids: list[int]) -> str:
    """Engines, in words."""
    return f"engine {ids[0]}" if len(ids) == 1 else f"engines {compact(ids)}"


def _places(where: dict[int, Any]) -> str:
    groups: dict[str, list[int]] = {}
    for engine, place in where.items():
        if place:
            groups.setdefault(place, []).append(engine)
    if not groups:
        return ""
    return f" ({'; '.join(f'{named(engines)}: {place}' for place, engines in groups.items())})"
