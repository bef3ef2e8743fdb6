"""The typed headers of every message, and their encoding.

A message is a sequence of frames.  The first is a header of this module (msgpack, checked
against its type on arrival); the others are opaque: pickles and raw buffers that only the
client and the engines open.

Between client and controller the messages of both directions carry a sequence number and an
acknowledgement (`Numbered`), so that either side can send again what a broken connection lost.
"""

from __future__ import annotations

from typing import Any, Union

import msgspec

PROTOCOL = 4
BULK = 64 * 1024  # bytes from which a frame is bulk: it travels in chunks, by MPI inside the job
CHUNK = 4 * 1024 * 1024  # bytes of bulk in one message
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, range})  # what all pickle alike
INLINE = 256 * 1024 * 1024  # bytes of the small frames of a client's message together


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The base of all headers."""


class Numbered(Message):
    """A message that is kept by its sender until it is acknowledged."""

    seq: int
    ack: int


# -- what everyone reads ------------------------------------------------------------------


class EngineInfo(Message):
    """An engine as the controller presents it."""

    id: int
    host: str
    pid: int
    node: int = 0  # the same for those that share memory
    local_rank: int = 0  # among the engines of its host
    device: str = ""  # what it sees of GPUs


class Failure(Message):
    """An exception of an engine, as text: `errors.EngineFailure` on the wire."""

    ename: str
    evalue: str
    traceback: str
    method: str = "apply"


STDOUT, STDERR, DISPLAY = range(3)  # kinds of output
OUTPUT = 4 * 1024 * 1024  # bytes that are kept of what a task prints on each stream
AFTERWARDS = -1  # where output comes that was written when its task had ended


class OutputPiece(Message):
    """Output of one kind: ``text`` that was printed, or a pickle of what was displayed, and its id.

    ``at`` is the number of characters, or of displays, that come before it.
    """

    kind: int
    at: int
    text: str = ""
    display: bytes = b""


# -- client to controller ------------------------------------------------------------------


class Hello(Message, tag="hello"):
    """The first message of a client.

    ``received`` is the last number that it has seen, ``directory`` the one of its script, where the modules
    lie that it imports.
    """

    protocol: int
    version: str
    python: str
    received: int = 0
    resumes: bool = False
    memory: Union["ReadableMemory", None] = None
    directory: str = ""


class ReadableMemory(Message):
    """How a client shows that its memory can be read: by a cookie in it."""

    place: str
    pid: int
    address: int
    cookie: bytes


class Request(Numbered, tag="request"):
    """A task for some engines.

    ``frames`` are the sizes of the frames that go to every target, ``parts``, if there are any, for each
    target the sizes of its own.  In this order the small ones follow the header, the bulk ones come as
    `Chunk`, or stay in the client's memory at ``addresses``.
    """

    id: str
    targets: list[int]
    op: str
    method: str
    frames: list[int]
    parts: list[list[int]] = []
    addresses: list[int] = []


class Prerequisites(Message):
    """Requests, or single tasks of them (``id:number``), that must have ended before a task begins.

    With ``all`` each of them, else one; ``success`` and ``failure`` say how they may have ended.
    """

    ids: list[str]
    all: bool = True
    success: bool = True
    failure: bool = False


class BalancedTasks(Numbered, tag="work"):
    """Tasks for whichever engines are free: a function, and the items that it is called with.

    ``frames`` are the sizes of the frames of the function. ``parts`` are those of each block of items, and
    ``counts`` says how many items a block has; without blocks there is one task.  ``targets`` are the engines
    that may run them; none: all.  ``chunk`` items are one task; with 0 an item is one, and as many go
    together as suits.  ``timeout`` are the seconds that what the tasks need may take; 0: without end.
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


class Chunk(Numbered, tag="chunk"):
    """The next bytes of the bulk frames of the request or the reply before it (both directions).

    Without a frame: the controller had no room for these bytes, and the result is lost.
    """


class Query(Numbered, tag="query"):
    """A question to the controller itself: answered at once, whatever the engines do."""

    id: str
    what: str
    targets: list[int]
    value: Any = None


class Release(Numbered, tag="release"):
    """The client has read a result out of an engine's memory."""

    id: str
    engine: int


class Ack(Message, tag="ack"):
    """Everything up to ``ack`` has arrived."""

    ack: int


class Goodbye(Message, tag="goodbye"):
    """The client leaves and does not come back; everything up to ``ack`` has arrived."""

    ack: int


# -- controller to client --------------------------------------------------------------------


class Welcome(Message, tag="welcome"):
    """The answer to `Hello`."""

    protocol: int
    version: str
    python: str
    cluster: str
    size: int
    engines: list[EngineInfo]
    received: int
    resumes: bool
    facts: dict[str, Any] = {}
    direct: bool = False  # whether the client's memory can be read
    node: str = ""  # a text that only processes of the controller's node know
    lost: dict[int, str] = {}  # why an engine does not live any more


class Farewell(Message, tag="farewell"):
    """The controller leaves, and does not come back."""

    reason: str


class Refused(Message, tag="refused"):
    """The other answer to `Hello`: why not."""

    reason: str


class Reply(Message):
    """How a task ended on one engine; ``frames`` are the sizes of its result's frames.

    The bulk ones follow as `Chunk`, or wait at ``addresses`` in the memory of process ``pid``, where the
    first address is that of a word that is zero as long as they are unchanged.  ``outputs`` is a list
    of pickles of what the task displayed.  A reply for tasks of a `BalancedTasks` has the ``index`` of the
    first and their ``count``; the result is the list of theirs.
    """

    id: str
    engine: int
    status: str  # ok, error, aborted
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
    """Replies that arrived together; their frames follow in order."""

    replies: list[Reply]


class RelayedOutput(Numbered, tag="printed"):
    """What a task has printed and displayed while it runs: `Output`, passed on."""

    id: str
    engine: int
    pieces: list[OutputPiece]


class Answer(Numbered, tag="answer"):
    """The answer to a `Query`; ``error`` is empty when it could be answered."""

    id: str
    value: Any = None
    error: str = ""


class DataRead(Numbered, tag="taken"):
    """The data of a request has been read: the client may change or free it."""

    id: str


class ResultMoved(Numbered, tag="elsewhere"):
    """A result that waits in an engine's memory has moved: `Moved`, passed on."""

    id: str
    engine: int
    addresses: list[int]


class EnginesChanged(Numbered, tag="engines"):
    """The engines that live now, sent when they change; ``lost`` says why one is missing."""

    engines: list[EngineInfo]
    size: int  # how many there are when all live
    lost: dict[int, str] = {}


# -- controller to engine ---------------------------------------------------------------------


class Task(Message, tag="task"):
    """A request as an engine gets it, the same bytes for all of its targets.

    ``frames`` are the sizes of the shared frames.  The small ones follow the header, the bulk ones come over
    MPI, or, where ``client`` is a process, are read from its memory at ``addresses``.  With ``own`` a packed
    `EngineFrames` comes next, and then this engine's own frames in the same way.  With ``hold`` bulk results
    stay in this engine's memory until the client has read them there.  ``directory`` is the client's.
    """

    id: str
    op: str
    method: str
    frames: list[int]
    own: bool
    client: int = 0
    addresses: list[int] = []
    hold: bool = False
    spread: bool = False  # the shared bulk comes by a collective
    sealed: bool = False  # a byte follows the bulk: 0 where the client vanished before it was complete
    directory: str = ""
    batch: Union["ItemRange", None] = None


class ItemRange(Message):
    """Which of `BalancedTasks` these are: the items from ``start`` to ``stop`` of the block that follows.

    ``first`` is the number of the item ``start``.  Of a work that an engine has had tasks of, the function is
    there already, if it was told to ``keep`` it.
    """

    work: str
    first: int
    start: int
    stop: int
    chunk: int
    keep: bool


class EngineFrames(Message):
    """The sizes of an engine's own frames, and where its bulk ones are."""

    frames: list[int]
    addresses: list[int] = []


class AbortTasks(Message, tag="abort"):
    """Tasks that are not to be started."""

    ids: list[str]


class Signal(Message, tag="signal"):
    """A signal for the engine's main thread; with ``id`` only while that task runs."""

    signum: int
    id: str = ""


class CollectiveBroken(Message, tag="broken"):
    """A rank has died: a collective that is under way will not end."""


class LeaveCommunicator(Message, tag="leave"):
    """The communicator of all engines, that of repair ``epoch``, can't be used: why, and who is dead."""

    epoch: int
    why: str
    dead: int = -1


class ProgressMPI(Message, tag="nudge"):
    """Let MPI work for a moment: others wait for it to take notice that a communicator was revoked."""


class RevokeWorld(Message, tag="giveup"):
    """Engines are stuck in C: give up MPI's own world, so that calls on it end."""


class RepairCommunicator(Message, tag="repair"):
    """Make a new communicator of all ``engines``; goes to the main thread, when no engine has a task."""

    epoch: int
    engines: list[int]


class SpawnEngines(Message, tag="spawn"):
    """Start new processes for dead ``engines`` of ``size``, in ``directory``; for an anchor or an engine."""

    engines: list[int]
    directory: str
    size: int


class KillProcess(Message, tag="kill"):
    """End the process ``pid`` of this host; goes to the anchor there."""

    pid: int


class PrepareCommunicators(Message, tag="join"):
    """Get ready to make all communicators anew, with ``arriving`` engines, which the others meet at ``port``.

    Goes to the main threads of all, when no engine has a task.
    """

    epoch: int
    living: list[int]
    arriving: list[int]
    port: str

    @property
    def engines(self) -> list[int]:
        """All that there are afterwards, in order."""
        return sorted([*self.living, *self.arriving])


class MakeCommunicators(Message, tag="grow"):
    """All have prepared ``epoch``: make the communicators, and answer by `CommunicatorsMade`."""

    epoch: int


class UseCommunicators(Message, tag="commit"):
    """All have made them: use them from now on; for those that were there before."""

    epoch: int


class Inspect(Message, tag="locate"):
    """Tell where user code is; ``deep``: with all its frames; or, with ``names``, tell their values."""

    number: int
    deep: bool = False
    names: list[str] = []


class DropResults(Message, tag="forget"):
    """Results that need not be held any longer."""

    ids: list[str]


class Stop(Message, tag="stop"):
    """Leave, now."""


# -- engine to controller -----------------------------------------------------------------------


class EngineHello(Message, tag="joined"):
    """An engine's first message on each of its connections."""

    engine: int
    host: str
    pid: int
    place: str = ""
    node: str = ""


class EnginePlaced(Message, tag="placed"):
    """What this engine has on its host; sent when it is known, and again when it changes."""

    local_rank: int
    device: str


class Moved(Message, tag="moved"):
    """A held result is elsewhere now: the engine goes on, and its tasks may change the original."""

    id: str
    addresses: list[int]


class Resend(Message, tag="again"):
    """The collective that brought a task's data broke: send it point to point."""

    id: str


class DataFetched(Message, tag="fetched"):
    """The data of a task has been read from the client's memory."""

    id: str


class TaskDone(Message, tag="done"):
    """How a task ended; ``frames`` are the sizes of the result's frames.

    ``left`` says why the communicator of all engines can't be used any more; it is empty if it can.
    ``outputs`` is a list of pickles of what the task displayed.  ``ends`` says how much of each of the
    engine's output files has been told: what follows is a later task's.
    """

    id: str
    status: str
    frames: list[int]
    started: float
    completed: float
    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    addresses: list[int] = []
    left: str = ""
    outputs: bytes = b""
    ends: tuple[int, int] = (0, 0)


class Output(Message, tag="output"):
    """What a task has printed and displayed while it runs; `TaskDone` has it all again."""

    id: str
    pieces: list[OutputPiece]


class ItemsDone(Message):
    """How tasks of a `ItemRange` ended: ``count`` items from ``first`` on."""

    first: int
    count: int
    status: str
    frames: list[int]
    started: float
    completed: float
    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    outputs: bytes = b""


class BatchDone(Message, tag="ended"):
    """How the tasks of a batch ended; what is missing has not begun.

    The small frames of all follow; the bulk comes over MPI, in the same order.
    """

    id: str
    ends: list[ItemsDone]
    left: str = ""


class TasksAborted(Message, tag="aborted"):
    """These tasks will not begin."""

    ids: list[str]


class CommunicatorRevoked(Message, tag="revoked"):
    """A communicator was revoked; goes on until the engine comes back."""


class EnginesSpawned(Message, tag="spawned"):
    """How a `SpawnEngines` went; ``problem`` is empty if it went well."""

    problem: str = ""


class ReadyToJoin(Message, tag="ready"):
    """This engine is ready for a `PrepareCommunicators`."""

    epoch: int


class CommunicatorsMade(Message, tag="repaired"):
    """How a `RepairCommunicator` or a `PrepareCommunicators` went; ``problem`` is empty if it went well."""

    epoch: int
    problem: str = ""


class Inspection(Message, tag="located"):
    """Where user code is; empty if none runs.

    If names were asked for, ``value`` is a pickle of their values, or ``problem`` says why there is none.
    """

    number: int
    where: str
    value: bytes = b""
    problem: str = ""


ToController = Union[Hello, Request, BalancedTasks, Chunk, Query, Release, Ack, Goodbye]
ToClient = Union[
    Welcome,
    Refused,
    Farewell,
    Results,
    RelayedOutput,
    Chunk,
    DataRead,
    ResultMoved,
    Answer,
    EnginesChanged,
    Ack,
]
ToEngine = Union[
    Task,
    AbortTasks,
    Signal,
    CollectiveBroken,
    DropResults,
    Stop,
    LeaveCommunicator,
    RepairCommunicator,
    SpawnEngines,
    PrepareCommunicators,
    MakeCommunicators,
    UseCommunicators,
    Inspect,
    ProgressMPI,
    RevokeWorld,
    KillProcess,
]
FromEngine = Union[
    EngineHello,
    EnginePlaced,
    Resend,
    DataFetched,
    Moved,
    Output,
    TaskDone,
    BatchDone,
    CommunicatorsMade,
    EnginesSpawned,
    ReadyToJoin,
    Inspection,
    TasksAborted,
    CommunicatorRevoked,
]

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
from_client = msgspec.msgpack.Decoder(ToController).decode
from_controller = msgspec.msgpack.Decoder(ToClient).decode
for_engine = msgspec.msgpack.Decoder(ToEngine).decode
from_engine = msgspec.msgpack.Decoder(FromEngine).decode

MalformedMessage = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

own_part = msgspec.msgpack.Decoder(EngineFrames).decode


def chunks(size: int) -> list[tuple[int, int]]:
    """Where a bulk frame of `size` bytes is cut: the same on every side."""
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
