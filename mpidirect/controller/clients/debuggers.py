"""Debuggers on engines that wait for commands of clients."""

from __future__ import annotations

import time
from typing import NamedTuple

from ...protocol import messages
from ..engine_registry import EngineRegistry
from ..engines.links import EngineMessenger
from ..scheduling.scheduler import Scheduler
from ..sessions.session import Session

RETURN_TIMEOUT = 60.0  # seconds that a client has to return after its connection broke


class WaitingDebugger(NamedTuple):
    """A waiting debugger, and the client that gives its commands."""

    number: int
    place: str
    client: Session


class Debuggers:
    """Connects debuggers on engines with the clients whose code they debug.

    An engine whose client has gone does not wait for ever: the debugger ends with an error.
    """

    def __init__(self, scheduler: Scheduler, registry: EngineRegistry, link: EngineMessenger) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._link = link
        self._waiting: dict[int, WaitingDebugger] = {}  # by engine

    def changed(self, engine: int, message: messages.DebuggerWaits) -> None:
        """Note that the debugger of an engine waits, or no longer waits; tell the client."""
        ended = self._waiting.pop(engine, None)
        client = None if ended is None else ended.client
        if message.place and (request := self._scheduler.find(engine, message.id)) is not None:
            client = request.client
            self._waiting[engine] = WaitingDebugger(message.number, message.place, client)
        if client is not None and not client.left:
            fields = message.number, message.place, message.text, message.prompt
            client.notify(messages.DebuggerPrompt, message.id, engine, *fields)
        self.look()

    def command(self, engine: int, command: messages.DebuggerCommand) -> bool:
        """Hand a command to an engine; return False if its debugger waits for no command of this number."""
        waiting = self._waiting.get(engine)
        if waiting is None or waiting.number != command.number:
            return False
        del self._waiting[engine]
        self._link.send_control(engine, command)
        return True

    def look(self) -> None:
        """End the debuggers whose clients have left; forget those whose engines have died."""
        for engine, (number, _, client) in list(self._waiting.items()):
            if engine not in self._registry.alive:
                del self._waiting[engine]
            elif client.left or (client.listener is None and time.monotonic() - client.away > RETURN_TIMEOUT):
                reason = f"the client, {client.process_name}, has left"
                self.command(engine, messages.DebuggerCommand(number, refusal=reason))

    def complete(self, engine: int, inspection: messages.Inspection) -> None:
        """Add the name of the client to an engine's report on its debugger."""
        waiting = self._waiting.get(engine)
        if waiting is not None:
            named = f"breakpoint() for {waiting.client.process_name}"
            inspection.where = inspection.where.replace("breakpoint()", named, 1)

    def in_words(self) -> list[str]:
        """Return a sentence for each waiting debugger."""
        return [
            f"engine {engine} waits in breakpoint() at {place} for {client.process_name}"
            for engine, (_, place, client) in sorted(self._waiting.items())
        ]
