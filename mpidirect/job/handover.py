"""The handover file: the state that a controller hands to its successor when all processes start anew.

The file holds keys, so it has mode 0600 and lies beside the job file, in the profile's private directory.
Its end marks the handover as complete: the file gets its name when all of it is written.

The contents are msgpack, each part with its length in front: a `Handover`, then for each client a
`SessionState` and its messages.  So neither side needs memory for all of it at once.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from ..files.regular import open_regular

STARTING = 100.0  # seconds that the processes of a new generation may take to start
QUEUED = 7 * 86400.0  # seconds that the next job of a cluster may wait in a queue

_LENGTH = struct.Struct("<Q")


class Handover(msgspec.Struct, kw_only=True):
    """The state of the controller itself.

    Attributes
    ----------
    generation : int
        The number of the generation to start; the launcher starts generation 1.
    engines : int
        The number of engines to start.
    former : int
        The number of engines before the restart.
    server, clients : tuple of bytes
        The key pairs of the port for clients: public, secret.
    port : int
        The TCP port for clients.
    place : str
        Where the memory of clients can be read: see `process_memory.domain`.
    asker : bytes
        The name of the client that asked for the restart; empty if none waits for the answer.
    query : str
        The id of that client's query.
    lost : dict of int to str
        Why each engine of the former generation has ended.
    step : str
        Slurm's id of the step that started the controller; empty outside of a step.
    """

    generation: int
    engines: int
    former: int
    server: tuple[bytes, bytes]
    clients: tuple[bytes, bytes]
    port: int
    place: str
    asker: bytes
    query: str
    lost: dict[int, str]
    step: str = ""


class SessionState(msgspec.Struct, kw_only=True):
    """The state of one client.

    Attributes
    ----------
    name : bytes
        The client's name.
    directory : str
        The directory of the client's script.
    process : int
        The client's process, if its memory can be read; else 0.
    left : bool
        Whether the client said that it will not return.
    away : float
        For how many seconds the client has been away.
    received : int
        The number of the last message from the client.
    last : int
        The number of the last message to the client.
    useless : int
        The number of chunks that will still arrive for requests that have ended.
    fetched : list of str
        The requests whose results another client has got.
    kept : int
        The number of messages that the client may not have; the messages follow.
    """

    name: bytes
    directory: str
    process: int
    left: bool
    away: float
    received: int
    last: int
    useless: int
    fetched: list[str]
    kept: int


class KeptSession(NamedTuple):
    """A client's state, and the frames of each message that the client may not have."""

    state: SessionState
    messages: Iterable[list[Any]]


def write(file: Path, handover: Handover, sessions: Iterable[KeptSession]) -> None:
    """Write a handover file atomically, readable only by its owner.

    Raises
    ------
    OSError
        When there is no room, for example.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as output:
            _put(output, handover)
            for state, messages in sessions:
                _put(output, state)
                for frames in messages:
                    _put(output, [memoryview(frame).cast("B") for frame in frames])
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def head(file: Path) -> Handover | None:
    """Return the first part of a handover file; None if there is no such file."""
    try:
        with open_regular(file) as source:
            found: Handover = _get(source, Handover)
            return found
    except FileNotFoundError:
        return None


def take(file: Path) -> tuple[Handover, list[KeptSession]] | None:
    """Read a handover file and remove it; None if there is no such file."""
    try:
        source = open_regular(file)
    except FileNotFoundError:
        return None
    with source:
        handover = _get(source, Handover)
        sessions = list(_sessions(source))
    file.unlink()
    return handover, sessions


def _sessions(source: BinaryIO) -> Iterator[KeptSession]:
    while source.peek(1):  # type: ignore[attr-defined]
        state = _get(source, SessionState)
        yield KeptSession(state, [_get(source, list[bytes]) for _ in range(state.kept)])


def _put(output: BinaryIO, part: Any) -> None:
    data = msgspec.msgpack.encode(part)
    output.write(_LENGTH.pack(len(data)))
    output.write(data)


def _get(source: BinaryIO, kind: Any) -> Any:
    (length,) = _LENGTH.unpack(source.read(_LENGTH.size))
    return msgspec.msgpack.decode(source.read(length), type=kind)
