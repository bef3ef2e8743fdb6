"""Stacks of engines that do not answer, because their C code holds Python's lock.

A signal makes such an engine write its stack to a file: Python's handler (`faulthandler`) needs no lock.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ...job.code_files import LIBRARIES, PACKAGE
from ...protocol import messages
from ...protocol.names import STACK_SIGNAL, stack_file
from ..engine_registry import EngineRegistry
from .anchors import Anchors
from .links import EngineMessenger

MAX_DUMP = 64 * 1024  # maximum bytes of a stack

_FRAME = re.compile(r'  File "(.+)", line (\d+) in (.+)')
_CALL = re.compile(r"([\w.]+)\(")
_METHOD = re.compile(r"\)\.(\w+)\(")  # a method of an object that another call has returned
_CALLER = os.path.join("mpidirect", "engine", "user_code.py")  # noqa: PTH118  # the end of a path


class Frame(NamedTuple):
    """A frame of a stack."""

    file: str
    line: int
    function: str


class StackDumps:
    """Has engines write their stacks, and reads them.

    Parameters
    ----------
    directory : Path
        The log directory, which all hosts see.
    registry : EngineRegistry
        The engines.
    anchors : Anchors
        Sends signals to processes of the anchors' hosts.
    link : EngineMessenger
        Reaches engines that can send signals to other processes of hosts without an anchor.
    is_idle : callable
        Returns whether engines have no tasks.
    """

    def __init__(
        self,
        directory: Path,
        registry: EngineRegistry,
        anchors: Anchors,
        link: EngineMessenger,
        is_idle: Callable[[Iterable[int]], bool],
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._anchors = anchors
        self._link = link
        self._is_idle = is_idle

    def request(self, engine: int) -> None:
        """Have an engine write its stack."""
        info = self._registry.alive[engine]
        with contextlib.suppress(OSError):
            os.truncate(stack_file(self._directory, engine), 0)
        if not self._anchors.signal(info, STACK_SIGNAL):
            order = messages.SignalProcess(info.pid, STACK_SIGNAL)
            for other in self._registry.alive.values():
                if other.host == info.host and other.id != engine:
                    self._link.send_control(other.id, order)

    def examine(self, number: int, engines: Iterable[int]) -> None:
        """Have each engine examined by a process of its host: the anchor, an idle engine, or any other."""
        hosts: dict[str, list[messages.EngineInfo]] = {}
        for engine in engines:
            info = self._registry.alive[engine]
            hosts.setdefault(info.host, []).append(info)
        for host, wanted in hosts.items():
            order = messages.ExamineProcesses(number, {info.id: info.pid for info in wanted})
            if self._anchors.examine(host, order):
                continue
            there = [info.id for info in self._registry.in_order() if info.host == host]
            idle = next((engine for engine in there if self._is_idle([engine])), None)
            if idle is not None:
                self._link.send_control(idle, order)
                continue
            for info in wanted:  # The next engine may be stuck, too.
                neighbour = there[(there.index(info.id) + 1) % len(there)]
                self._link.send_control(neighbour, messages.ExamineProcesses(number, {info.id: info.pid}))

    def read(self, engine: int) -> list[Frame]:
        """Return the frames of user code that an engine has written, the innermost first."""
        try:
            with stack_file(self._directory, engine).open(errors="replace") as file:
                lines = file.read(MAX_DUMP).splitlines()
        except OSError:
            return []
        frames = []
        for found in filter(None, map(_FRAME.fullmatch, lines)):
            frame = Frame(found[1], int(found[2]), found[3])
            if frame.file.endswith(_CALLER):
                break
            if not frame.file.startswith(PACKAGE):
                frames.append(frame)
        return frames


def stack(frames: list[Frame]) -> str:
    """Return the call and its line, followed by the stack, the innermost frame last."""
    innermost = _innermost(frames)
    lines = [f'  File "{file}", line {line}, in {name}\n' for file, line, name in reversed(frames)]
    return f"{_called(frames[0])} at {innermost.file}:{innermost.line}\n{''.join(lines)}"


def _innermost(frames: list[Frame]) -> Frame:
    """Return the innermost frame outside of libraries, if there is one."""
    return next((frame for frame in frames if not frame.file.startswith(LIBRARIES)), frames[0])


def _called(frame: Frame) -> str:
    """Return the function that a frame has called, if the line shows it."""
    line = linecache.getline(frame.file, frame.line)
    found = _METHOD.search(line) or _CALL.search(line)
    return f"{found[1] if found else frame.function} (which holds Python's lock)"
