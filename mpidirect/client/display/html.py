"""Clients, views and results as HTML, for notebooks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ... import errors
from ..calls.call import Call
from ..session import queries
from ..session.session import Session
from .units import duration_in_words

_MAX_ROWS = 40
_OPTIONAL_COLUMN = 4  # this column and the later ones are left out if no row has a value
_COLOURS = {
    "queued": "#c5ccd3",
    "pending": "#c5ccd3",
    "running": "#6b9ac4",
    "done": "#4c9f70",
    "failed": "#c8553d",
    "aborted": "#999999",
}


def engines(session: Session, ids: Sequence[int], title: str) -> str:
    """Return a table of engines: the host, process, state, memory and device of each.

    Parameters
    ----------
    session : Session
        The session with the controller.
    ids : sequence of int
        The engines.
    title : str
        The caption.
    """
    try:
        status = queries.queue_lengths(session, list(ids)) if ids else {}
    except errors.MPIDirectError as e:  # the cluster has ended
        return f"<p>{escape(title)}: {escape(str(e))}</p>"
    rows = []
    for id in ids[:_MAX_ROWS]:
        info, queue = session.engines.live.get(id), status.get(id)
        if info is None or queue is None:
            continue
        waiting = queue["queue"] + queue["tasks"]
        state = f"busy, {waiting - 1} waiting" if waiting > 1 else "busy" if waiting else "idle"
        rows.append([id, info.host, info.pid, state, _memory(info.host, info.pid), info.device])
    heads = ["engine", "host", "process", "state", "memory", "device"]
    for column in range(len(heads) - 1, _OPTIONAL_COLUMN - 1, -1):
        if not any(row[column] for row in rows):
            del heads[column]
            for row in rows:
                del row[column]
    return _table(title, heads, rows, len(ids) - _MAX_ROWS)


def _memory(host: str, pid: int) -> str:
    """Return the resident memory of a process; empty for a process of another host."""
    if host != socket.gethostname():
        return ""
    import psutil

    try:
        return f"{psutil.Process(pid).memory_info().rss / 2**20:,.0f} MiB"
    except psutil.Error:
        return ""


def timeline(title: str, slots: Sequence[tuple[Call, int]], under_way: Iterable[Call] = ()) -> str:
    """Return a table of the parts of a call: the state of each, and a bar for its time.

    Parameters
    ----------
    title : str
        The caption.
    slots : sequence of (Call, int)
        The parts: of each engine, or of each task.
    under_way : iterable of Call
        All incomplete calls of the client: a part waits for earlier calls on its engine.
    """
    others = list(under_way)
    now = time.time()
    begin = min((call.submitted for call, _ in slots), default=now)
    end = max((call.replies[e].completed if e in call.replies else now for call, e in slots), default=now)
    total = max(end - begin, 1e-9)
    rows = []
    for call, engine in slots[:_MAX_ROWS]:
        reply = call.replies.get(engine)
        if reply is None:
            state, start, stop = _open_state(call, engine, others), begin, now
        else:
            state = {"ok": "done", "error": "failed"}.get(reply.status, "aborted")
            start, stop = reply.started, reply.completed
        left, width = (100 * (start - begin) / total, 100 * max(stop - start, 0.0) / total)
        style = f"margin-left:{max(0.0, left):.1f}%;width:{min(100.0, max(width, 0.5)):.1f}%"
        bar = f'<div style="{style};height:0.8em;background:{_COLOURS[state]}"></div>'
        failure = reply.failure if reply is not None else None
        label = f"{state}: {failure.ename}" if failure is not None and state == "failed" else state
        ran_on = call.engine_of(engine)  # None for a load-balanced task that no engine has run
        rows.append(
            [
                "" if ran_on is None else ran_on,
                label,
                duration_in_words(stop - start),
                _Html(f'<div style="width:20em">{bar}</div>'),
            ]
        )
    return _table(title, ["engine", "state", "time", ""], rows, len(slots) - _MAX_ROWS)


def _open_state(call: Call, part: int, under_way: Sequence[Call]) -> str:
    """Return the state of a part without a reply, as far as the client knows."""
    engine = call.engine_of(part)
    if engine is None:  # a load-balanced task
        return "pending"
    waits = any(
        other.submitted < call.submitted and engine in other.expected and engine not in other.replies
        for other in under_way
        if other.engine_of(engine) is not None
    )
    return "queued" if waits else "running"


class _Html(str):
    """Text that is HTML already."""


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], hidden: int) -> str:
    cells = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = [f"<tr>{cells}</tr>"]
    for row in rows:
        cells = "".join(f"<td>{v if isinstance(v, _Html) else escape(str(v))}</td>" for v in row)
        lines.append(f"<tr>{cells}</tr>")
    more = f"<p>… and {hidden} more</p>" if hidden > 0 else ""
    return f"<div><p>{escape(title)}</p><table>{''.join(lines)}</table>{more}</div>"
