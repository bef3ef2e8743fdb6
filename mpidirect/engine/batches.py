"""Tasks that any engine may do: many short ones come together, and are answered together."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import SerializationError
from ..protocol import messages
from ..serialize import pickles
from ..serialize.failures import describe
from . import bulk_data
from .interrupts import EngineExit
from .mpi.communicators import here
from .output import displays

if TYPE_CHECKING:
    from .engine import Engine

LONGEST = 0.01  # seconds after which tasks that have not begun are given back: others may be free
MOST = 64  # functions that are kept

Frames = Sequence[Any]


class BatchRunner:
    """Runs them on an engine.

    Parameters
    ----------
    engine : Engine
        Whose main thread does it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, Frames] = OrderedDict()  # functions as they came, by their work
        self._loaded: tuple[str, Any] = "", None  # the latest function, while nothing else has run
        self._cut: set[str] = set()  # tasks of which no more is to begin
        self._now = ""

    def cut(self, ids: Sequence[str]) -> None:
        """Of these, begin no more (the control thread asks)."""
        if self._now in ids:
            self._cut.add(self._now)

    def forget(self, ids: Sequence[str]) -> None:
        """These works are over (the control thread asks)."""
        for id in ids:
            self._kept.pop(id, None)
            if self._loaded[0] == id:
                self._loaded = "", None

    def others_ran(self) -> None:
        """What the latest function refers to may have changed."""
        self._loaded = "", None

    def serve(self, task: messages.Task, frames: list[bytes]) -> None:
        """Receive the data of tasks, run them, answer."""
        engine, batch = self._engine, task.batch
        assert batch is not None
        answer = BatchResult(engine, task, batch)
        try:
            shared, own = engine._receive(task, frames)
        except (OSError, MemoryError) as e:
            if engine._begins(task.id):
                answer.fail(e)
                answer.send()
            engine.reserve.look()
            return
        if shared and batch.keep:
            self._kept[batch.work] = shared
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        shared = shared or list(self._kept.get(batch.work, ()))
        if not engine._begins(task.id):
            return
        if not shared:  # it was too much: it comes again
            answer.send()
            return
        self._now = task.id
        engine.output.begin(task.id)
        answer.shared = shared
        try:
            engine._run(task, [answer], own)
        except EngineExit:
            raise
        except BaseException as e:
            if isinstance(e, MemoryError):
                engine.reserve.release()
            if isinstance(e, KeyboardInterrupt):  # of the one that ran, or was about to
                answer.fail(e, 0 if answer.interrupted else batch.chunk or 1)
            else:
                answer.fail(e)
            BaseException.with_traceback(e, None)
            engine.end_child(e)
        engine.end_child()
        self._now = ""
        self._cut.discard(task.id)
        engine.output.end()
        engine._mend()
        engine._wanted.discard(task.id)
        answer.send()

    def run(self, task: messages.Task, answer: BatchResult, own: Sequence[Any] | None) -> None:
        """Call user code: the function with each item."""
        batch = task.batch
        assert batch is not None
        f, args, kwargs = self._function(batch, answer.shared)
        if own is None:
            answer.begin()
            answer.value(f(*args, **kwargs))
            return
        sequences = pickles.loads(own)
        items = list(zip(*(part[batch.start : batch.stop] for part in sequences), strict=True))
        answer.begin()
        if batch.chunk:
            self._by_chunks(task, batch, f, items, answer)
        else:
            self._one_by_one(task, f, items, answer)

    def _function(self, batch: messages.ItemRange, shared: Frames) -> Any:
        id, loaded = self._loaded
        if id != batch.work:
            loaded = pickles.loads(shared)
            self._loaded = (batch.work, loaded) if batch.keep else ("", None)
        return loaded

    def _one_by_one(
        self, task: messages.Task, f: Callable[..., Any], items: list[Any], answer: BatchResult
    ) -> None:
        """Each item is a task; those that end well are answered together."""
        values: list[Any] = []
        until = time.perf_counter() + LONGEST
        at = 0
        while at < len(items):
            try:
                for item in items[at:]:
                    values.append(f(*item))
                    if self._engine.output.printed() or time.perf_counter() > until or task.id in self._cut:
                        break
            except BaseException as e:
                at += len(values)
                answer.values(values, quiet=True)
                values = []
                answer.fail(e, 1)
                at += 1
                if _ends_all(e):
                    return
                continue
            at += len(values)
            if self._engine.output.printed():  # what the last one has printed is its own
                answer.values(values[:-1], quiet=True)
                values = values[-1:]
            answer.values(values)
            values = []
            if answer.bulk or time.perf_counter() > until or task.id in self._cut:
                return

    def _by_chunks(
        self,
        task: messages.Task,
        batch: messages.ItemRange,
        f: Callable[..., Any],
        items: list[Any],
        answer: BatchResult,
    ) -> None:
        """So many items are a task."""
        until = time.perf_counter() + LONGEST
        for at in range(0, len(items), batch.chunk):
            chunk = items[at : at + batch.chunk]
            try:
                answer.values([f(*item) for item in chunk], whole=True)
            except BaseException as e:
                answer.fail(e, len(chunk))
                if _ends_all(e):
                    return
            if answer.bulk or time.perf_counter() > until or task.id in self._cut:
                return


def _ends_all(error: BaseException) -> bool:
    """Whether nothing more is to begin after it, in this batch."""
    return isinstance(error, KeyboardInterrupt)


class BatchResult:
    """What has become of a batch so far."""

    def __init__(self, engine: Engine, task: messages.Task, batch: messages.ItemRange) -> None:
        self.shared: Frames = ()
        self.bulk = False  # whether the latest result has bulk
        self.interrupted = False
        self._quiet = False  # whether what was printed is not that of the tasks that are noted
        self._engine = engine
        self._task = task
        self._at = batch.first
        self._stop = batch.first + batch.stop - batch.start
        self._ends: list[messages.ItemsDone] = []
        self._frames: list[Any] = []
        self._last: list[Any] = []
        self._started = time.time()

    def begin(self) -> None:
        """The first task begins."""
        self._started = time.time()

    def value(self, value: Any) -> None:
        """The single task has returned this."""
        self.values([value], whole=True)

    def values(self, values: list[Any], whole: bool = False, quiet: bool = False) -> None:
        """Tasks have returned these.

        `whole`: they are one task, and fail together.  `quiet`: they have printed nothing; what there is to
        be taken is of the next task.
        """
        if not values:
            return
        self._quiet = quiet
        try:
            self._values(values, whole)
        finally:
            self._quiet = False

    def _values(self, values: list[Any], whole: bool) -> None:
        displays.show_figures()
        try:
            frames = pickles.dumps(values)
        except SerializationError:
            if whole:
                raise
            for value in values:
                try:
                    self._add(1, pickles.dumps([value]))
                except SerializationError as e:
                    self.fail(e, 1)
            return
        except KeyboardInterrupt as e:  # they have run, and must not do so again
            self.fail(e, len(values))
            self.interrupted = True
            raise
        self._add(len(values), frames)

    def _add(self, count: int, frames: list[Any]) -> None:
        self.bulk = any(len(frame) >= messages.BULK for frame in frames)
        if self.bulk:
            self._last += frames
        self._note(count, "ok", frames)

    def fail(self, error: BaseException, count: int | None = None) -> None:
        """The next tasks have failed: so many, or all that are left."""
        if isinstance(error, EngineExit):
            raise error
        failure = describe(error, self._task.method)
        if count is not None:  # what made it may hold much
            BaseException.with_traceback(error, None)
        left = self._stop - self._at
        if left and count != 0:
            self._note(left if count is None else min(count, left), "error", [], failure)

    def _note(
        self, count: int, status: str, frames: list[Any], failure: messages.Failure | None = None
    ) -> None:
        engine = self._engine
        task, engine._task = engine._task, ""  # an interrupt waits: faster than to hold its signal back
        try:
            self._keep(count, status, frames, failure)
        finally:
            engine._task = task
        if engine._wanted and engine._take_interrupt():
            raise KeyboardInterrupt

    def _keep(self, count: int, status: str, frames: list[Any], failure: messages.Failure | None) -> None:
        now = time.time()
        output = self._engine.output
        out, err, outputs = ("", "", b"") if self._quiet else output.end()
        sizes = [len(frame) for frame in frames]
        end = messages.ItemsDone(
            self._at, count, status, sizes, self._started, now, out, err, failure, outputs
        )
        self._ends.append(end)
        self._at += count
        self._started = now
        self._frames += [frame for frame in frames if len(frame) < messages.BULK]
        if not self._quiet:
            output.begin(self._task.id)

    def send(self) -> None:
        """Tell the controller."""
        engine = self._engine
        ended = messages.BatchDone(self._task.id, self._ends, here.left)
        engine.tasks.put([_encode(ended), *self._frames], wait=True)
        if self._last:
            bulk_data.send(engine.pieces, self._last)


def _encode(ended: messages.BatchDone) -> bytes:
    try:
        return messages.encode(ended)
    except (UnicodeEncodeError, UnicodeDecodeError):  # lone surrogates in what was printed
        for end in ended.ends:
            clean(end)
        return messages.encode(ended)


def clean(end: messages.ItemsDone | messages.TaskDone) -> None:
    """Make texts that can be sent."""
    failure = end.failure
    if failure is not None:
        texts = failure.ename, failure.evalue, failure.traceback, failure.method
        end.failure = messages.Failure(*map(_clean, texts))
    end.stdout, end.stderr = _clean(end.stdout), _clean(end.stderr)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
