"""A debugger at the prompt, in a breakpoint or after an error of an engine: `DirectView.debug`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from ..display.debugger import in_colors
from ..results import waiting
from ..session import queries
from ..session.queries import engines_in_words, places_in_words
from ..session.session import Session
from .requests import RequestView

STOP_TIMEOUT = 3.0  # seconds that busy engines have to stop in breakpoint()
NOTICE_DELAY = 0.5  # seconds of `STOP_TIMEOUT` without a message to the user
INTERVAL = 0.2  # seconds between two checks whether engines are still busy


def debug(view: RequestView, engine: int | None) -> None:
    """Debug engines that wait in breakpoint(), or soon will; else debug the last error of one engine."""
    session = view._session
    session.poll()
    engines = session.engines.resolve(view.targets if engine is None else engine)
    try:
        busy = _await_breakpoint(session, engines)
    except KeyboardInterrupt:
        print("The engines run on: rc.stacks() shows where they are, rc.interrupt() ends their code.")
        return
    if session.debuggers.source.serve_until_they_run(engines):
        return
    first = next((k for k in engines if k not in busy and _starts(view, k)), None)
    if first is not None:
        _debug_error(view, first)
    elif len(busy) < len(engines):
        print("No engine has an error to debug: an error is kept until other code runs on its engine.")


def _await_breakpoint(session: Session, engines: Sequence[int]) -> list[int]:
    """Give busy engines a moment to stop in breakpoint(); return those that are still busy after it."""

    def stopped() -> bool:
        return any(engine in session.debuggers.prompts for engine in engines)

    began, announced = time.monotonic(), False
    while not stopped() and (busy := _busy_among(session, engines)):
        waited = time.monotonic() - began
        if waited >= STOP_TIMEOUT:
            places = places_in_words(queries.places(session, busy))
            print(f"No breakpoint() of yours has stopped {engines_in_words(busy)}, still busy{places}.")
            return busy
        if waited >= NOTICE_DELAY and not announced:
            announced = True
            where = engines_in_words(busy)
            print(f"Waiting {STOP_TIMEOUT:g} s for breakpoint() on {where} … (Ctrl-C ends the wait)")
        session.wait_silently(stopped, INTERVAL)
    return []


def _busy_among(session: Session, engines: Sequence[int]) -> list[int]:
    """Return the engines that have tasks."""
    lengths = queries.queue_lengths(session, list(engines))
    return [k for k in engines if k in lengths and lengths[k]["queue"] + lengths[k]["tasks"]]


def _debug_error(view: RequestView, engine: int) -> None:
    """Read commands at the prompt, and run each on the engine, until the user leaves."""
    print("Commands are those of pdb: w, u, d, l, p x. Ctrl-D or q leaves the debugger.")
    goes_on = True
    while goes_on:
        try:
            command = input(f"(Pdb {engine}) ")
        except (EOFError, KeyboardInterrupt):
            print()
            command = "q"
        goes_on = _run(view, engine, command)


def _starts(view: RequestView, engine: int) -> bool:
    """Start the debugger on an engine. Return whether the engine has an error, which this prints."""
    return _run(view, engine, None, f"Engine {engine}: ")


def _run(view: RequestView, engine: int, command: str | None, title: str = "") -> bool:
    """Run a command on an engine, print its output, and return whether the debugger continues."""
    result = view._request("debug", "debug", command, targets=engine, block=False, single=True)
    # The first command also serves a breakpoint that the engine has just reached, which would wait for ever.
    # Later commands serve no other debugger: its prompt would appear inside of this one.
    with nullcontext() if command is None else view._session.keeping_prompt():
        waiting.wait(result)  # Ctrl-C interrupts a command
    answer = result.get()
    if answer is None:
        return False
    output, goes_on = answer
    print(title + in_colors(output), end="")
    return bool(goes_on)
