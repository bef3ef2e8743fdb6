"""The parts of a call over time, as a picture of matplotlib."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence

from matplotlib.figure import Figure

from ..calls.balanced_call import BalancedCall
from ..calls.call import Call

_COLOURS = {"waiting": "#d0d7de", "done": "#4c9f70", "failed": "#c8553d", "running": "#6b9ac4"}
_STATES = {"ok": "done", "error": "failed"}


class TimelineFigure(Figure):
    """A figure that a notebook shows with any backend."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def timeline(title: str, slots: Sequence[tuple[Call, int]]) -> TimelineFigure:
    """Return a figure with a row for each engine, and a bar for each part of a call.

    Parameters
    ----------
    title : str
        The title of the figure.
    slots : sequence of (Call, int)
        The parts: of each engine, or of each task.
    """
    bars = list(_bars(slots))
    engines = sorted({engine for engine, *_ in bars})
    rows = {engine: k for k, engine in enumerate(engines)}
    figure = TimelineFigure(figsize=(8, 1.4 + 0.25 * min(len(engines), 40)), layout="constrained")
    axes = figure.subplots()
    for state, colour in _COLOURS.items():
        chosen = [(rows[engine], start, stop) for engine, what, start, stop in bars if what == state]
        if chosen:
            y, starts, stops = zip(*chosen, strict=True)
            widths = [stop - start for start, stop in zip(starts, stops, strict=True)]
            axes.barh(y, widths, left=starts, height=0.7, color=colour, label=state)
    axes.set(title=title, xlabel="seconds since the submission", ylabel="engine")
    axes.set_yticks(range(len(engines)), [str(engine) for engine in engines])
    axes.set_xlim(left=0.0)
    axes.invert_yaxis()
    if bars:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _bars(slots: Sequence[tuple[Call, int]]) -> Sequence[tuple[int, str, float, float]]:
    """Return engine, state, begin and end of each bar; times count from the submission."""
    now = time.time()
    origin = min((call.submitted for call, _ in slots), default=now)
    bars: dict[tuple[int, str, float, float], None] = {}  # tasks that share a reply have one bar
    for call, key in slots:
        engine, reply = call.engine_of(key), call.replies.get(key)
        if engine is None:  # a load-balanced task that no engine has run
            continue
        waited = call.submitted - origin
        if reply is None:
            bars[engine, "running", waited, now - origin] = None
            continue
        start, stop = max(waited, reply.started - origin), max(waited, reply.completed - origin)
        if not isinstance(call, BalancedCall):  # a load-balanced task waits for any engine, not for this one
            bars[engine, "waiting", waited, start] = None
        if reply.status in _STATES:
            bars[engine, _STATES[reply.status], start, stop] = None
    return list(bars)
