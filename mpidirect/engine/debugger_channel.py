"""Carries a debugger's commands: from the control thread, which gets them from a client, to the main thread.

The main thread waits on a queue; an interrupt ends this wait. The control thread continues meanwhile, so
heartbeats, interrupts and inspections work as with other user code.
"""

from __future__ import annotations

import itertools
from collections import deque
from queue import SimpleQueue

from ..protocol import messages
from .main_thread import MainThread
from .output.task_output import TaskOutput

TEXT_LIMIT = 1_000_000  # Maximum characters of a debugger's text in one message.

place = ""  # The file and the line where a debugger waits for a command; empty if none waits.


class Refused(Exception):
    """No client gives commands; the text says why."""


class DebuggerChannel:
    """Asks the client of the running task for commands.

    Parameters
    ----------
    main_thread : MainThread
        Knows the running task.
    output : TaskOutput
        The output of the task, which reaches the client before a prompt.
    """

    def __init__(self, main_thread: MainThread, output: TaskOutput) -> None:
        self.due: deque[messages.DebuggerWaits] = deque()  # Messages that the control thread sends.
        self._main_thread = main_thread
        self._output = output
        self._numbers = itertools.count(1)
        self._commands: SimpleQueue[messages.DebuggerCommand] = SimpleQueue()

    def read(self, text: str, prompt: str, where: str) -> str:
        """Wait for a command (main thread).

        Parameters
        ----------
        text : str
            What the debugger has printed since its last command.
        prompt : str
            The prompt.
        where : str
            The file and the line where user code is.

        Raises
        ------
        EOFError
            When the input has ended.
        Refused
            When no client gives commands.
        """
        global place
        task, number = self._main_thread.task, next(self._numbers)
        self._output.flush()
        place = where
        command: messages.DebuggerCommand | None = None
        try:
            self._announce(messages.DebuggerWaits(task, number, where, text[-TEXT_LIMIT:], prompt))
            while command is None or command.number != number:
                command = self._commands.get()
        except BaseException:  # An interrupt.
            self._announce(messages.DebuggerWaits(task, number))
            raise
        finally:
            place = ""
        if command.refusal:
            raise Refused(command.refusal)
        if command.line is None:
            raise EOFError
        return command.line

    def _announce(self, message: messages.DebuggerWaits) -> None:
        self.due.append(message)
        self._output.notify()

    def put(self, command: messages.DebuggerCommand) -> None:
        """Hand a command to the main thread (control thread)."""
        self._commands.put(command)
