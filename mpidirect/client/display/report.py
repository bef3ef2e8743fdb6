"""The report of a session as one HTML file: its calls over the engines, times, bytes, load imbalance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from ..calls.unseen_failures import cell_source
from ..session.call_log import CallLog, CallRecord, PartRecord, imbalance
from .units import duration_in_words, size_in_words

MAX_BARS = 5_000  # bars of the picture
MAX_ROWS = 500  # rows of the table of calls
WIDTH, ROW = 1000, 16  # of the picture, and of an engine's row in the picture (pixels)
LABEL = 60  # width of the labels of the engines (pixels)

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #1f2328 }
table { border-collapse: collapse; margin: 1em 0 2em } th, td { padding: 3px 10px; text-align: right }
th { border-bottom: 1px solid #8c959f } td.text, th.text { text-align: left }
td.text { font-family: monospace }
tr.failed td { color: #c8553d } svg { background: #f6f8fa } .ok { fill: #4c9f70 } .failed { fill: #c8553d }
text { font-size: 11px } rect:hover { fill: #0969da }
"""


def report(log: CallLog, title: str) -> str:
    """Return the report of a session as HTML.

    Parameters
    ----------
    log : CallLog
        The calls of the session.
    title : str
        The title of the report.
    """
    records = log.records
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(_summary(records, log.dropped))}</p>"]
    if records:
        body += [
            "<h2>Engines over time</h2>",
            _picture(records),
            "<h2>Engines</h2>",
            _engines(records),
            "<h2>Calls</h2>",
            _calls(records),
        ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n" + "\n".join(body) + "\n</body></html>\n"


def _summary(records: Sequence[CallRecord], dropped: int) -> str:
    if not records:
        return "No call has ended yet."
    begin, end = _span(records)
    sent, received = (sum(getattr(record, name) for record in records) for name in ("sent", "received"))
    failed = sum(not record.ok for record in records)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begin))
    more = f" {dropped} earlier calls are left out." if dropped else ""
    return (
        f"{len(records)} calls, of which {failed} failed, in {duration_in_words(end - begin)} "
        f"from {when} on. "
        f"Sent: {size_in_words(sent)}. Received: {size_in_words(received)}.{more}"
    )


def _span(records: Sequence[CallRecord]) -> tuple[float, float]:
    return min(record.submitted for record in records), max(record.ended for record in records)


def _picture(records: Sequence[CallRecord]) -> str:
    """Return the bars of all parts, a row for each engine."""
    begin, end = _span(records)
    scale = (WIDTH - LABEL) / max(end - begin, 1e-9)
    bars = [(record, part) for record in records for part in record.parts][-MAX_BARS:]
    rows = {engine: k for k, engine in enumerate(sorted({part.engine for _, part in bars}))}
    shapes = [f'<text x="4" y="{ROW * k + 12}">engine {engine}</text>' for engine, k in rows.items()]
    for record, part in bars:
        x = LABEL + scale * max(0.0, part.started - begin)
        width = max(1.0, scale * (part.completed - part.started))
        shapes.append(
            f'<rect class="{"ok" if part.ok else "failed"}" x="{x:.1f}" y="{ROW * rows[part.engine] + 2}" '
            f'width="{width:.1f}" height="{ROW - 4}"><title>{escape(_hint(record, part))}</title></rect>'
        )
    height = ROW * len(rows)
    shapes.append(f'<text x="{LABEL}" y="{height + 14}">0 s</text>')
    shapes.append(
        f'<text x="{WIDTH}" y="{height + 14}" text-anchor="end">{duration_in_words(end - begin)}</text>'
    )
    return f'<svg width="{WIDTH}" height="{height + 20}">{"".join(shapes)}</svg>'


def _hint(record: CallRecord, part: PartRecord) -> str:
    failed = "" if part.ok else ", failed"
    return f"{_name(record)}: {duration_in_words(part.busy)} on engine {part.engine}{failed}"


def _name(record: CallRecord) -> str:
    source, method = cell_source(record.cell), record.method.lstrip("_")
    return f"{method} (In [{record.cell}] {source})" if source else method


def _engines(records: Sequence[CallRecord]) -> str:
    begin, end = _span(records)
    busy: dict[int, float] = {}
    parts: dict[int, int] = {}
    failed: dict[int, int] = {}
    for part in (part for record in records for part in record.parts):
        busy[part.engine] = busy.get(part.engine, 0.0) + part.busy
        parts[part.engine] = parts.get(part.engine, 0) + 1
        failed[part.engine] = failed.get(part.engine, 0) + (not part.ok)
    rows = [
        [
            str(k),
            str(parts[k]),
            str(failed[k]),
            duration_in_words(busy[k]),
            f"{100 * busy[k] / (end - begin):.0f} %",
        ]
        for k in sorted(busy)
    ]
    note = (
        f"<p>Load imbalance: {_percent(imbalance(busy.values()))} (the busiest engine beyond the mean).</p>"
    )
    return note + _table(
        ["engine", "tasks", "failed", "busy", "share of the time"], [("", row) for row in rows]
    )


def _calls(records: Sequence[CallRecord]) -> str:
    longest = sorted(records, key=lambda record: -record.wall_time)[:MAX_ROWS]
    begin, _ = _span(records)
    rows = []
    for record in sorted(longest, key=lambda record: record.submitted):
        times = record.busy_times()
        fastest, slowest = (duration_in_words(f(times.values())) if times else "" for f in (min, max))
        row = [
            duration_in_words(record.submitted - begin),
            _name(record),
            str(len(times)),
            duration_in_words(record.wall_time),
            *(fastest, slowest),
            _percent(imbalance(times.values())) if len(times) > 1 else "",
            *(size_in_words(record.sent), size_in_words(record.received)),
        ]
        rows.append(("" if record.ok else "failed", row))
    heads = ["at", "call", "engines", "time", "fastest", "slowest", "imbalance", "sent", "received"]
    hidden = len(records) - len(rows)
    return _table(heads, rows) + (f"<p>… and {hidden} shorter calls.</p>" if hidden else "")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        classes = [' class="text"' if head == "call" else "" for head in heads]
        return "".join(f"<{tag}{c}>{escape(t)}</{tag}>" for c, t in zip(classes, texts, strict=True))

    lines = [f"<tr>{cells('th', heads)}</tr>"]
    lines += [f'<tr class="{kind}">{cells("td", row)}</tr>' for kind, row in rows]
    return f"<table>{''.join(lines)}</table>"
