"""The metadata of a call: times, engines, output, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from ...errors import RemoteError, TimeoutError
from ...protocol.names import PUBLISHED
from ...serialize import pickles
from ..calls.call import Call
from ..calls.engine_output import output_of, outputs_of
from ..display.live import LiveDisplay
from ..session.session import Session
from .outputs import ExecuteReply
from .state import Slot

METADATA = (
    "msg_id",
    "submitted",
    "started",
    "completed",
    "received",
    "engine_id",
    "engine_uuid",
    "status",
    "execute_input",
    "execute_result",
    "error",
    "stdout",
    "stderr",
    "outputs",
    "label",
)


class Metadata(dict[str, Any]):
    """The metadata of one engine's part of a call; its keys are attributes, too."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


class CallMetadata:
    """The calls of an `AsyncResult`, and the metadata of each engine's part, as attributes.

    Parameters
    ----------
    session : Session
        The session that sent the calls.
    calls : sequence of Call
        The calls.
    slots : list of (Call, int), optional
        The parts of the calls that the result has; by default all.
    single : bool
        Whether the value of a single part is not put into a list.
    label : str, optional
        The user's name for the call.
    """

    def __init__(
        self,
        session: Session,
        calls: Sequence[Call],
        slots: list[Slot] | None,
        single: bool,
        label: str | None,
    ) -> None:
        all_slots = [(call, key) for call in calls for key in call.targets]
        self._session = session
        self._calls = list(calls)
        self._has_all_slots = slots is None or slots == all_slots
        self._slots = all_slots if slots is None else slots
        self._single = single and len(self._slots) == 1
        if label is not None:
            for call in self._calls:
                call.label = label
        self._ready = False

    def ready(self) -> bool:
        """Return whether all engines have answered."""
        return self._ready

    def __getattr__(self, name: str) -> Any:
        if name in METADATA:
            return self._metadata_values(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _metadata_values(self, name: str) -> Any:
        """Return one entry of the metadata, for each part."""
        values = [entry[name] for entry in self._metadata()]
        return values[0] if self._single else values

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *METADATA})

    def _metadata(self) -> list[Metadata]:
        return [metadata_of(call, engine) for call, engine in self._slots]

    @property
    def metadata(self) -> Any:
        """The metadata of each engine's part (a dict, or a list of dicts)."""
        entries = self._metadata()
        return entries[0] if self._single else entries

    @property
    def data(self) -> Any:
        """The data that each engine's task has published by `publish_data` (a dict, or a list of dicts)."""
        found = [published(call, engine) for call, engine in self._slots]
        return found[0] if self._single else found

    @property
    def progress(self) -> int:
        """The number of engines that have replied; of a map, the number of completed items."""
        self._session.poll()
        return self._done()

    def _done(self) -> int:
        return sum(engine in call.replies for call, engine in self._slots)

    def stream_output(self) -> LiveDisplay:
        """Inside of a ``with`` block, show printed text and displays when they arrive.

        Lines that several engines print are shown once, with the ids of these engines.

        Examples
        --------
        >>> ar = dview.apply_async(simulate)
        >>> with ar.stream_output():
        ...     ar.wait()
        [stdout:0-3] step 1
        [stdout:0-3] step 2
        """
        return LiveDisplay(self._slots)

    @property
    def elapsed(self) -> float:
        """Seconds since the submission; of a completed call, seconds that the whole call took."""
        if self.ready():
            return self.wall_time
        return time.time() - min(call.submitted for call, _ in self._slots)

    @property
    def serial_time(self) -> float:
        """Seconds of computation, summed over the engines."""
        self._check_ready()
        return sum(c.replies[e].completed - c.replies[e].started for c, e in self._slots)

    @property
    def wall_time(self) -> float:
        """Seconds between the submission and the last answer."""
        self._check_ready()
        return max(c.received[e] for c, e in self._slots) - min(c.submitted for c, _ in self._slots)

    def timedelta(
        self, start: Any, end: Any, start_key: Callable[..., Any] = min, end_key: Callable[..., Any] = max
    ) -> float:
        """Seconds between two sets of time stamps: the earliest `start` and the latest `end`."""
        first = start if isinstance(start, datetime) else start_key(start)
        last = end if isinstance(end, datetime) else end_key(end)
        return (last - first).total_seconds()

    def _check_ready(self) -> None:
        if not self.ready():
            raise TimeoutError("Result not ready.")


def published(call: Call, engine: int) -> dict[str, Any]:
    """Return the data that a task has published."""
    data: dict[str, Any] = {}
    for output in map(output_of, call.output(engine)[2]):
        if PUBLISHED in output["data"]:
            data.update(pickles.loads_without_mpi(output["data"][PUBLISHED]))
    return data


def _stamp(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def metadata_of(call: Call, engine: int) -> Metadata:
    """Return the metadata of one part of a call."""
    reply = call.replies.get(engine)
    out, err, shown = call.output(engine)
    entry = Metadata(
        dict.fromkeys(METADATA),
        msg_id=f"{call.id}:{engine}",
        engine_id=call.engine_of(engine),
        label=call.label,
    )
    entry.update(
        engine_uuid=f"engine-{entry['engine_id']}",
        submitted=_stamp(call.submitted),
        stdout=out,
        stderr=err,
        execute_input=call.source,
        outputs=outputs_of(shown),
    )
    if reply is None:
        return entry
    entry.update(
        started=_stamp(reply.started),
        completed=_stamp(reply.completed),
        received=_stamp(call.received[engine]),
        status=reply.status,
    )
    value = call.value(engine)
    if isinstance(value, RemoteError) and value.engine_info:
        entry["error"] = value
    elif isinstance(value, ExecuteReply):
        entry["execute_result"] = value.execute_result
    return entry
