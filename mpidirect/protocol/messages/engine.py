"""The messages between controller and engines.

Tasks and orders to make communicators use the task connection, and the engine's main thread handles them. All
other orders use the control connection, for the engine's control thread.
"""

from __future__ import annotations

from typing import Union

from .shared import Failure, Message, OutputPiece, Usage

# Controller to engine: tasks


class ItemRange(Message):
    """A range of the items of `BalancedTasks`: from ``start`` to ``stop`` in the block that follows.

    ``work`` is the id of the `BalancedTasks`, ``first`` the number of the item at ``start``. With ``keep``
    the engine keeps the function, and later ranges of the same ``work`` are sent without it.
    """

    work: str
    first: int
    start: int
    stop: int
    chunk: int
    keep: bool


class Task(Message, tag="task"):
    """A request as an engine gets it; the same bytes are sent to all targets.

    ``frames`` are the sizes of the shared frames. The small frames follow the header. The bulk frames arrive
    over MPI, or, if ``client`` is a process number, are read from that process's memory at ``addresses``.
    With ``own`` a packed `EngineFrames` comes next, and then this engine's own frames in the same way. With
    ``retain`` bulk results stay in this engine's memory until the client has read them there. With
    ``broadcast`` the shared bulk frames come by a collective. With ``sealed`` one byte follows the bulk
    frames: 0 if the client vanished before they were complete. ``directory`` is the directory of the client's
    script.
    """

    id: str
    op: str
    method: str
    frames: list[int]
    own: bool
    client: int = 0
    addresses: list[int] = []
    retain: bool = False
    broadcast: bool = False
    sealed: bool = False
    directory: str = ""
    batch: Union[ItemRange, None] = None


class EngineFrames(Message):
    """The sizes of an engine's own frames, and the addresses of the bulk ones in the client's memory."""

    frames: list[int]
    addresses: list[int] = []


class AbortTasks(Message, tag="abort"):
    """Do not start these tasks."""

    ids: list[str]


class Signal(Message, tag="signal"):
    """Send a signal to the engine's main thread; with ``id`` only while that task runs."""

    signum: int
    id: str = ""


class DropResults(Message, tag="forget"):
    """Drop these retained results."""

    ids: list[str]


class Inspect(Message, tag="locate"):
    """Report where user code is: with ``deep`` all its frames, with ``names`` the values of these names.

    With ``usage``, report the activity and the resources of the engine.
    """

    number: int
    deep: bool = False
    names: list[str] = []
    usage: bool = False


class DebuggerCommand(Message, tag="command"):
    """The answer to the `DebuggerWaits` with this ``number``.

    ``line`` is a command; None is the end of input. ``refusal`` says why no client gives commands.
    """

    number: int
    line: Union[str, None] = None
    refusal: str = ""


class Stop(Message, tag="stop"):
    """Leave now."""


# Controller to engine: communicators


class CollectiveBroken(Message, tag="broken"):
    """A rank has died: a collective that is under way will not end."""


class LeaveCommunicator(Message, tag="leave"):
    """The communicator of all engines that repair ``epoch`` made can't be used any more.

    ``why`` is the reason, ``dead`` the engine that died, if any.
    """

    epoch: int
    why: str
    dead: int = -1


class ProgressMPI(Message, tag="nudge"):
    """Let MPI progress for a moment: other engines wait until this engine notices a revocation."""


class RevokeWorld(Message, tag="giveup"):
    """Revoke MPI's ``MPI_COMM_WORLD``, so that calls on it end in engines that are stuck in C code."""


class RepairCommunicator(Message, tag="repair"):
    """Make a new communicator of all ``engines``. Sent when no engine has a task."""

    epoch: int
    engines: list[int]


class SpawnEngines(Message, tag="spawn"):
    """Start new processes for the dead ``engines`` of ``size``, in ``directory``.

    This is sent to an anchor or an engine. ``number`` distinguishes the spawns of a job.
    """

    engines: list[int]
    directory: str
    size: int
    number: int = 0


class SignalProcess(Message, tag="kill"):
    """Send a signal to process ``pid`` of this host; sent to an anchor or an engine of the host."""

    pid: int
    signum: int


class ExamineProcesses(Message, tag="examine"):
    """Read the stacks of processes of this host, with C frames; ``pids`` are their numbers by engine.

    This is sent to an anchor or an engine of the host.
    """

    number: int
    pids: dict[int, int]


class EndSpawn(Message, tag="endspawn"):
    """End the processes of this host that came from spawn ``number``; sent to the anchor of the host."""

    number: int


class WatchJoin(Message, tag="watchjoin"):
    """To the first anchor: ``new`` engines join at the MPI port ``port``; if that is empty, no longer.

    If that takes too long, the anchor connects in place of new engines that do not: the others wait in MPI.
    """

    port: str = ""
    new: int = 0


class PrepareCommunicators(Message, tag="join"):
    """Prepare to make all communicators anew with ``arriving`` engines, which wait at the MPI port ``port``.

    This is sent to all engines when no engine has a task.
    """

    epoch: int
    living: list[int]
    arriving: list[int]
    port: str

    @property
    def engines(self) -> list[int]:
        """The ids of all engines of the new communicators, in order."""
        return sorted([*self.living, *self.arriving])


class MakeCommunicators(Message, tag="grow"):
    """All engines have prepared ``epoch``: make the communicators and reply with `CommunicatorsMade`."""

    epoch: int


class UseCommunicators(Message, tag="commit"):
    """All engines have made the communicators of ``epoch``: use them from now on.

    This is sent to engines that had older communicators.
    """

    epoch: int


# Engine to controller


class EngineHello(Message, tag="joined"):
    """The first message of an engine on each of its connections."""

    engine: int
    host: str
    pid: int
    place: str = ""
    node: str = ""


class EnginePlaced(Message, tag="placed"):
    """The engine's rank and GPUs on its host; sent when they are known, and when they change."""

    local_rank: int
    device: str


class Moved(Message, tag="moved"):
    """A retained result has new ``addresses``: the engine may change the original by its next tasks."""

    id: str
    addresses: list[int]


class Resend(Message, tag="again"):
    """The collective that brought the data of a task broke: send the data point to point."""

    id: str


class DataFetched(Message, tag="fetched"):
    """The engine has read the data of a task from the client's memory."""

    id: str


class DataArriving(Message, tag="arriving"):
    """So many bytes of the data of a task have arrived; sent in intervals while that takes long."""

    id: str
    moved: int


class TaskDone(Message, tag="done"):
    """The end of a task.

    ``frames`` are the sizes of the frames of the result. ``left`` says why the communicator of all engines
    can't be used any more; empty if it can. ``outputs`` is a list of pickles of the objects that the task
    displayed. ``ends`` are the positions in the engine's two output files up to which this message reports
    output: all later output belongs to a later task.
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
    """Output of a running task; `TaskDone` reports all of it again."""

    id: str
    pieces: list[OutputPiece]


class ProcessesExamined(Message, tag="examined"):
    """The stack of an ``engine``, for `ExamineProcesses`; ``problem`` says why there is none."""

    number: int
    engine: int
    stack: str = ""
    problem: str = ""


class DebuggerWaits(Message, tag="debugger"):
    """A debugger in the task ``id`` waits for a command at ``place``, a file and a line.

    ``text`` is the debugger's output since its last command; ``prompt`` is its prompt. Without a
    ``place`` the debugger no longer waits.
    """

    id: str
    number: int
    place: str = ""
    text: str = ""
    prompt: str = ""


class ItemsDone(Message):
    """The end of tasks of an `ItemRange`: ``count`` items from ``first`` on."""

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
    """The end of the tasks of a batch; missing items have not begun.

    The small frames of all results follow. The bulk frames arrive over MPI, in the same order.
    """

    id: str
    ends: list[ItemsDone]
    left: str = ""


class TasksAborted(Message, tag="aborted"):
    """These tasks will not begin."""

    ids: list[str]


class CommunicatorRevoked(Message, tag="revoked"):
    """The engine has revoked a communicator; repeated until the engine's main thread has left the call."""


class EnginesSpawned(Message, tag="spawned"):
    """The result of a `SpawnEngines`; ``problem`` is empty if it succeeded."""

    problem: str = ""


class ReadyToJoin(Message, tag="ready"):
    """An engine is ready for a `PrepareCommunicators`."""

    epoch: int


class CommunicatorsMade(Message, tag="repaired"):
    """The end of a `RepairCommunicator`, `PrepareCommunicators` or `MakeCommunicators`.

    ``problem`` is empty if it succeeded. It follows `PrepareCommunicators` only after a failure.
    """

    epoch: int
    problem: str = ""


class Inspection(Message, tag="located"):
    """Where user code is; empty if none runs.

    If `Inspect` asked for names, ``value`` is a pickle of their values, or ``problem`` says
    why there is none.
    """

    number: int
    where: str
    value: bytes = b""
    problem: str = ""
    usage: Union[Usage, None] = None
