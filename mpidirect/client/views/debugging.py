"""A debugger at the prompt, at a breakpoint or on the last error of an engine: `DirectView.debug`."""

from __future__ import annotations

from ..display.debugger import in_colors
from ..results import waiting
from .requests import RequestView


def debug(view: RequestView, engine: int | None) -> None:
    """Read commands at the prompt, and run each on the engine, until the user leaves."""
    session = view._session
    session.poll()
    engines = session.engines.resolve(view.targets if engine is None else engine)
    if session.debuggers.source.serve_until_they_run(engines):
        return
    first = next((k for k in engines if _starts(view, k)), None)
    if first is None:
        print("No engine has an error to debug: an error is kept until other code runs on its engine.")
        return
    print("Commands are those of pdb: w, u, d, l, p x. Ctrl-D or q leaves the debugger.")
    goes_on = True
    while goes_on:
        try:
            command = input(f"(Pdb {first}) ")
        except (EOFError, KeyboardInterrupt):
            print()
            command = "q"
        goes_on = _run(view, first, command)


def _starts(view: RequestView, engine: int) -> bool:
    """Begin with an engine; return whether the engine has an error, which is printed."""
    return _run(view, engine, None, f"Engine {engine}: ")


def _run(view: RequestView, engine: int, command: str | None, title: str = "") -> bool:
    """Run a command on an engine, print its output, and return whether the debugger goes on."""
    result = view._request("debug", "debug", command, targets=engine, block=False, single=True)
    waiting.wait(result)  # Ctrl-C interrupts a command
    answer = result.get()
    if answer is None:
        return False
    output, goes_on = answer
    print(title + in_colors(output), end="")
    return bool(goes_on)
