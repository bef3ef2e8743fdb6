"""Histories of deaths and restarts with a real cluster."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable

from mpidirect import errors
from tests.waiting import until

from .histories import REPLACE, RESTART, Event
from .testbed import Testbed

Step = tuple[str, list[int]]  # The kind of an event, and the engines.


class HistoryRun:
    """Lets a cluster live through events, and checks its state after each.

    Parameters
    ----------
    bed : Testbed
        The cluster, all of whose engines have been started together.
    seed : int
        The seed of the choice among engines that are alike.
    """

    def __init__(self, bed: Testbed, seed: int = 0) -> None:
        self.bed = bed
        self.steps: list[Step] = []
        self._groups = [list(range(bed.n))]  # The living engines by age.
        self._source = random.Random(seed)
        self._mark_engines()

    def live(self, events: Iterable[Event]) -> bool:
        """Live through the events; return False at the first problem."""
        return all(self.do(*self._step(event)) for event in events)

    def do(self, kind: str, engines: list[int]) -> bool:
        """Let something happen to engines; return whether the cluster is well then."""
        bed = self.bed
        self.steps.append((kind, engines))
        before = len(bed.lost) + len(bed.hangs)
        try:
            if kind == "deaths":
                self._kill(engines)
            else:
                bed.dead.update(engines)
                came = bed.near.restart() if kind == "restart" else bed.near.restart(engines)
                bed.reborn(came, engines, kind)
                self._mark_engines()
            self._check()
        except (errors.MPIDirectError, AssertionError) as e:
            bed.lost.append(f"{kind} {engines}: {type(e).__name__}: {e}")
        return len(bed.lost) + len(bed.hangs) == before

    def script(self) -> str:
        """Return a program that does the same again."""
        steps = "".join(f"    {step!r},\n" for step in self.steps)
        return (
            f"from tests.soak.__main__ import replay_history\n\nreplay_history({self.bed.n}, [\n{steps}])\n"
        )

    def _step(self, event: Event) -> Step:
        """Choose the engines of an event."""
        everyone = list(range(self.bed.n))
        if event == RESTART:
            self._groups = [everyone]
            return event.kind, everyone
        if event == REPLACE:
            living = {engine for group in self._groups for engine in group}
            engines = [engine for engine in everyone if engine not in living]
            self._groups.append(engines)
            return event.kind, engines
        counted = zip(self._groups, event.counts, strict=True)
        engines = sorted(engine for group, count in counted for engine in self._source.sample(group, count))
        left = [[engine for engine in group if engine not in engines] for group in self._groups]
        self._groups = [group for group in left if group] + ([engines] if event.kind == "replace" else [])
        return event.kind, engines

    def _kill(self, engines: list[int]) -> None:
        bed = self.bed
        left = [engine for engine in bed.near.ids if engine not in engines]
        bed.dead.update(engines)
        for pid in [bed.near.engines_info[engine]["pid"] for engine in engines]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: bed.near.ids == left)

    def _mark_engines(self) -> None:
        """Give each engine a name that it must keep until its end."""
        marks = {engine: {"mark": f"engine {engine}, step {len(self.steps)}"} for engine in self.bed.near.ids}
        for engine, mark in marks.items():
            self.bed.expect("push", self.bed.near[engine].push(mark, block=False), None)
        self.bed.names = marks

    def _check(self) -> None:
        """Check that the living engines have a common communicator and their names."""
        if self.bed.near.ids:
            self.bed.near_call()
            self.bed.together()
            self.bed.unchanged()
