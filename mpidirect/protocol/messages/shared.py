"""The base classes of all messages, and the parts that several kinds of messages use."""

from __future__ import annotations

import msgspec

PROTOCOL = 7  # version of the protocol between client and controller
STDOUT, STDERR, DISPLAY = range(3)  # kinds of output
OUTPUT_LIMIT = 4 * 1024 * 1024  # maximum bytes of a task's output on each stream that are kept
AFTER_TASK = -1  # the position of output that was written after the end of its task


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The base of all headers."""


class Numbered(Message):
    """A message that its sender keeps until the other side acknowledges it.

    Both directions between client and controller have a sequence number ``seq`` and an acknowledgement
    ``ack``, so that either side can send messages again that a broken connection lost.
    """

    seq: int
    ack: int


class EngineInfo(Message):
    """An engine, as the controller describes it to clients."""

    id: int
    host: str
    pid: int
    node: int = 0  # equal for engines that share memory
    local_rank: int = 0  # among the engines of its host
    device: str = ""  # the GPUs that the engine sees


class Usage(Message):
    """The activity and the resources of an engine at one time.

    ``task`` is the running method, empty if the engine is idle, ``place`` its present call and line, and
    ``age`` the seconds since its start. ``cpu`` is the processor time of the process in seconds. ``memory``
    is the resident memory of the process and ``gpu_memory`` its GPU memory, in bytes. ``line`` is the last
    line of output, ``id`` the id of the task. ``items`` counts what its map has done, if it is a map.
    """

    task: str
    place: str
    age: float
    cpu: float
    memory: int
    gpu_memory: int
    line: str
    id: str = ""
    items: int = 0


class Failure(Message):
    """An exception of an engine, as text: the encoded form of `errors.EngineFailure`.

    ``hint`` is what the controller knows about a remedy.
    """

    ename: str
    evalue: str
    traceback: str
    method: str = "apply"
    hint: str = ""


class OutputPiece(Message):
    """Output of one kind.

    ``text`` was printed; or ``display`` is a pickle of a displayed object and its id. ``at`` is the
    position of the piece: the number of characters, or of displays, before it.
    """

    kind: int
    at: int
    text: str = ""
    display: bytes = b""
