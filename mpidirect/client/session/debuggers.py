"""Debuggers of engines that wait for commands of this client."""

from __future__ import annotations

import builtins
import sys
import threading
import types
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Protocol

from ... import _prompt
from ...errors import format_ids
from ...protocol import messages
from ..calls.source_lines import place_in_words

NOTICE_DELAY = 0.5  # seconds until the user is told of a debugger that gets no commands

Command = tuple[int, "str | None", str]  # the number of a prompt, a line, and a refusal


class CommandSource(Protocol):
    """Asks the user for commands."""

    is_active: bool

    def serve(self, done: Callable[[], bool]) -> None:
        """Ask for one command of one engine, and send it."""

    def serve_until_they_run(self, engines: Collection[int]) -> bool:
        """Serve these engines while one of them waits; return whether one has waited."""


class WaitingDebuggers:
    """The waiting debuggers, by engine; a debugger that this client can't serve is refused at once.

    Parameters
    ----------
    send : callable
        Sends commands. Its arguments are engines, and a command for each engine.

    Attributes
    ----------
    prompts : dict of int to DebuggerPrompt
        The prompts that wait for a command, by engine. A change replaces this dict; it never modifies it.
    source : CommandSource
        Asks the user for commands.
    """

    def __init__(self, send: Callable[[list[int], list[Command]], None]) -> None:
        self.prompts: Mapping[int, messages.DebuggerPrompt] = {}
        self.source: CommandSource
        self._send = send
        self._announced: set[tuple[int, int]] = set()  # engines, and the numbers of their prompts
        self._announcing = threading.Lock()

    def changed(self, prompt: messages.DebuggerPrompt) -> None:
        """Take a prompt, or the end of a prompt; the caller holds the connection's lock."""
        others = {engine: other for engine, other in self.prompts.items() if engine != prompt.engine}
        if not prompt.place:
            self.prompts = others
        elif reason := unable_to_ask():
            self._send([prompt.engine], [(prompt.number, None, reason)])
        else:
            self.prompts = {**others, prompt.engine: prompt}
            timer = threading.Timer(NOTICE_DELAY, self._announce, [prompt])
            timer.daemon = True
            timer.start()

    def _announce(self, prompt: messages.DebuggerPrompt) -> None:
        """Tell the user of debuggers that get no prompt, because the main thread does not wait."""
        with self._announcing:
            if self.prompts.get(prompt.engine) is not prompt or self.source.is_active:
                return
            alike = {
                other.engine: other.number
                for other in self.prompts.values()
                if (other.id, other.place) == (prompt.id, prompt.place)
            }
            new = alike.items() - self._announced
            self._announced |= new
        if new:
            engines = format_ids(sorted(engine for engine, _ in new))
            subject = f"engine {engines} waits" if len(new) == 1 else f"engines {engines} wait"
            print(
                f"{subject} in breakpoint() at {place_in_words(prompt.place)}: "
                f"rc.debug(), or get() of the result, gives a prompt",
                file=sys.stderr,
            )

    def end(self, tasks: Iterable[tuple[str, int]]) -> None:
        """Forget the prompts of tasks that have ended, each given by its id and engine."""
        ended = set(tasks)
        self.prompts = {
            engine: prompt for engine, prompt in self.prompts.items() if (prompt.id, engine) not in ended
        }

    def keep(self, engines: Container[int]) -> None:
        """Forget the prompts of all other engines: those engines have ended."""
        self.prompts = {engine: prompt for engine, prompt in self.prompts.items() if engine in engines}

    def command(self, engines: list[int], line: str | None, refusal: str = "") -> None:
        """Give a command to the debuggers of engines; None ends their input."""
        waiting = [(engine, self.prompts[engine]) for engine in engines if engine in self.prompts]
        self.prompts = {engine: prompt for engine, prompt in self.prompts.items() if engine not in engines}
        self._send(
            [engine for engine, _ in waiting], [(prompt.number, line, refusal) for _, prompt in waiting]
        )


def unable_to_ask() -> str:
    """Return why this process can't ask its user for a command; empty if it can."""
    is_replaced = not isinstance(builtins.input, types.BuiltinFunctionType)  # As by a notebook.
    if is_replaced or getattr(_prompt.ipython_shell(), "kernel", None) is not None:
        return ""
    try:
        if sys.stdin.isatty():
            return ""
    except (AttributeError, ValueError):  # There is no standard input, or it is closed.
        pass
    return "the client has no terminal to type at; run the code from a terminal, IPython or a notebook"
