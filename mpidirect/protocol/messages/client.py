"""The messages between client and controller."""

from __future__ import annotations

from typing import Any, Union

from .shared import EngineInfo, Failure, Message, Numbered, OutputPiece

# Both directions


class Chunk(Numbered, tag="chunk"):
    """The next bytes of the bulk frames of the previous request or reply.

    A chunk without a frame says that the controller had no memory for these bytes: the result is lost.
    """


class Ack(Message, tag="ack"):
    """All messages up to the number ``ack`` have arrived."""

    ack: int


# Client to controller


class ReadableMemory(Message):
    """The address of a cookie: a controller that can read the cookie can read the client's memory."""

    place: str
    pid: int
    address: int
    cookie: bytes


class Hello(Message, tag="hello"):
    """The first message of a client.

    ``received`` is the number of the last message that the client has received. ``directory`` is the
    directory of the client's script, from which the script imports modules. ``process`` names the client's
    process for users.
    """

    protocol: int
    version: str
    python: str
    received: int = 0
    resumes: bool = False
    memory: Union[ReadableMemory, None] = None
    directory: str = ""
    process: str = ""


class Request(Numbered, tag="request"):
    """A task for chosen engines.

    ``frames`` are the sizes of the frames that all targets get. ``parts`` are, for each target, the sizes of
    the frames that this target alone gets, if there are any. The small frames follow the header in this
    order. The bulk frames come as `Chunk`, or stay in the client's memory at ``addresses``.
    """

    id: str
    targets: list[int]
    op: str
    method: str
    frames: list[int]
    parts: list[list[int]] = []
    addresses: list[int] = []


class Prerequisites(Message):
    """Requests, or single tasks of a request (``id:number``), that must end before a task begins.

    With ``all`` each of them must have ended, otherwise one of them. ``success`` and ``failure`` say which
    ends count.
    """

    ids: list[str]
    all: bool = True
    success: bool = True
    failure: bool = False


class BalancedTasks(Numbered, tag="work"):
    """Tasks for any free engines: a function, and the items to call it with.

    ``frames`` are the sizes of the frames of the function. ``parts`` are the sizes of the frames of each
    block of items, and ``counts`` the number of items in each block. Without blocks there is one task.
    ``targets`` are the engines that may run the tasks; an empty list means all engines. ``chunk`` items are
    one task; with 0 each item is a task, and the controller decides how to group items. ``timeout`` is the
    time in seconds that the prerequisites may take; 0 means no limit.
    """

    id: str
    targets: list[int]
    op: str
    method: str
    frames: list[int]
    parts: list[list[int]]
    counts: list[int]
    chunk: int = 0
    retries: int = 0
    after: Prerequisites | None = None
    follow: Prerequisites | None = None
    timeout: float = 0.0
    addresses: list[int] = []


class Query(Numbered, tag="query"):
    """A query to the controller itself, which answers at once, also while the engines are busy."""

    id: str
    what: str
    targets: list[int]
    value: Any = None


class Release(Numbered, tag="release"):
    """The client has read a result in an engine's memory: the engine may drop it."""

    id: str
    engine: int


class Goodbye(Message, tag="goodbye"):
    """The client leaves for good. All messages up to the number ``ack`` have arrived."""

    ack: int


# Controller to client


class Welcome(Message, tag="welcome"):
    """The answer to `Hello` when the controller accepts the client.

    ``received`` is the number of the last message that the controller has received from this client.
    ``direct`` says whether the controller can read the client's memory. ``node`` is a text that only
    processes of the controller's node know. ``lost`` says why engines have ended. ``starting`` is as in
    `EnginesChanged`.
    """

    protocol: int
    version: str
    python: str
    cluster: str
    size: int
    engines: list[EngineInfo]
    received: int
    resumes: bool
    facts: dict[str, Any] = {}
    direct: bool = False
    node: str = ""
    lost: dict[int, str] = {}
    starting: float = 0.0


class Refused(Message, tag="refused"):
    """The answer to `Hello` when the controller refuses the client, with the reason."""

    reason: str


class Farewell(Message, tag="farewell"):
    """The controller ends for good."""

    reason: str


class ControllerRestarts(Message, tag="restarts"):
    """The controller ends, and another process continues the cluster within so many seconds.

    ``next_job`` says that the other process belongs to another job, and perhaps runs on another host.
    """

    within: float
    next_job: bool = False


class Reply(Message):
    """The end of a task on one engine.

    ``status`` is ``ok``, ``error`` or ``aborted``. ``frames`` are the sizes of the frames of the result. The
    bulk frames follow as `Chunk`, or wait at ``addresses`` in the memory of process ``pid``. The first
    address is the address of a word that is zero while the frames are unchanged. ``outputs`` is a list
    of pickles of the objects that the task displayed. A reply for tasks of `BalancedTasks` has the ``index``
    of the first task and the ``count`` of tasks; the result is then a list of their results.
    """

    id: str
    engine: int
    status: str
    frames: list[int]
    started: float
    completed: float
    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    addresses: list[int] = []
    pid: int = 0
    outputs: bytes = b""
    index: int = -1
    count: int = 1


class Results(Numbered, tag="results"):
    """Replies that the controller sends together; their frames follow in order."""

    replies: list[Reply]


class RelayedOutput(Numbered, tag="printed"):
    """Output of a running task, relayed from an engine (`engine.Output`)."""

    id: str
    engine: int
    pieces: list[OutputPiece]


class DebuggerPrompt(Numbered, tag="debugger"):
    """The debugger of an engine waits for a command of this client, or no longer waits.

    The fields are those of `engine.DebuggerWaits`.
    """

    id: str
    engine: int
    number: int
    place: str = ""
    text: str = ""
    prompt: str = ""


class Answer(Numbered, tag="answer"):
    """The answer to a `Query`. ``error`` is empty if the controller could answer."""

    id: str
    value: Any = None
    error: str = ""


class DataRead(Numbered, tag="taken"):
    """The data of a request has been read: the client may change or free it."""

    id: str


class DataMoving(Numbered, tag="moving"):
    """So many of the ``size`` bytes of a request have arrived, at the controller or at its engines.

    This is sent a few times a second while large data is under way.
    """

    id: str
    moved: int
    size: int


class ResultSize(Numbered, tag="size"):
    """The bytes of the bulk frames of all results of a request, which will arrive next."""

    id: str
    size: int


class ResultMoved(Numbered, tag="elsewhere"):
    """A result in an engine's memory has new addresses; relayed from the engine (`engine.Moved`)."""

    id: str
    engine: int
    addresses: list[int]


class EnginesChanged(Numbered, tag="engines"):
    """The engines that live now.

    ``size`` is the number of engines when all live; ``lost`` says why engines have ended. ``starting`` is the
    number of seconds within which all engines are started anew; 0 if no restart is under way. ``world`` says
    what ``MPI_COMM_WORLD`` is now; an empty text if that has not changed. ``notice`` is a text for the user
    on a change that no user has asked for and no call shows.
    """

    engines: list[EngineInfo]
    size: int
    lost: dict[int, str] = {}
    starting: float = 0.0
    world: str = ""
    notice: str = ""
