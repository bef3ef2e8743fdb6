"""The activity and the resources of engines, sample by sample."""

from __future__ import annotations

import re
import time
from pathlib import PurePath
from typing import NamedTuple

from ..client import Client
from ..client.session import queries

_CELL = re.compile(r"^<ipython-input-[^>]*>")  # the file of a cell, by the engine's IPython
NO_ANSWER = "no answer"  # the state of an engine whose C code holds Python's lock


class EngineSample(NamedTuple):
    """One engine at one time.

    Attributes
    ----------
    engine : int
        The engine's id.
    host : str
        The host; empty for an engine that has ended.
    state : str
        ``running``, ``idle``, ``no answer`` or ``lost``.
    task : str
        The method that runs; for a lost engine the reason of its end.
    place : str
        The call that the task is in, and its line.
    age : float
        Seconds since the start of the task.
    queue : int
        The number of tasks that wait.
    cpu : float or None
        Processors in use since the last sample; None in the first sample.
    memory, gpu_memory : int
        Bytes.
    device : str
        The GPUs that the engine sees.
    line : str
        The last line of output.
    """

    engine: int
    host: str
    state: str
    task: str = ""
    place: str = ""
    age: float = 0.0
    queue: int = 0
    cpu: float | None = None
    memory: int = 0
    gpu_memory: int = 0
    device: str = ""
    line: str = ""


class Sampler:
    """Asks the controller for the activity and the resources of engines; busy engines answer, too.

    Parameters
    ----------
    client : Client
        The connection to the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._session = client._session
        self._last: dict[int, tuple[float, float, int]] = {}  # time, processor time, process

    def sample(self) -> list[EngineSample]:
        """Return the present state of all engines, in the order of their ids.

        Raises
        ------
        MPIDirectError
            When the controller does not answer.
        """
        directory = self._session.engines
        lost = [EngineSample(k, "", "lost", reason) for k, reason in directory.lost.items()]
        ids = directory.ids
        lengths = queries.queue_lengths(self._session, ids) if ids else {}
        found = queries.usage(self._session, ids) if ids else {}
        now = time.monotonic()
        live = []
        for engine in ids:
            info, usage = directory.live.get(engine), found.get(engine)
            if info is None:
                continue
            length = lengths.get(engine, {})
            sample = EngineSample(engine, info.host, NO_ANSWER, device=info.device)
            if usage is not None:
                sample = sample._replace(
                    state="running" if usage.task else "idle",
                    task=usage.task.lstrip("_"),
                    place=_short(usage.place),
                    age=usage.age,
                    cpu=self._cpu(engine, now, usage.cpu, info.pid),
                    memory=usage.memory,
                    gpu_memory=usage.gpu_memory,
                    line=usage.line,
                )
            under_way = length.get("queue", 0) + length.get("tasks", 0)
            live.append(sample._replace(queue=max(0, under_way - (sample.state != "idle"))))
        return sorted([*live, *lost])

    def _cpu(self, engine: int, now: float, spent: float, pid: int) -> float | None:
        """Return the processors that the engine has used since its last sample."""
        before = self._last.get(engine)
        self._last[engine] = now, spent, pid
        if before is None or before[2] != pid or now <= before[0]:
            return None
        return max(0.0, (spent - before[1]) / (now - before[0]))


def _short(place: str) -> str:
    """Return a call and its line with the name of the file alone; ``cell`` for executed code.

    Examples
    --------
    >>> _short("time.sleep at /home/me/solve.py:7"), _short("f at <ipython-input-1-b87a7baf1e6c>:10")
    ('time.sleep at solve.py:7', 'f at cell:10')
    """
    call, separator, line = place.partition(" at ")
    return f"{call}{separator}{_CELL.sub('cell', PurePath(line).name)}" if separator else place
