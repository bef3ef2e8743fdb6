"""The table of the results, for the terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from . import targets
from .results import Row

COLUMNS = {
    "mpidirect": "mpidirect",
    "direct": "DirectView",
    "broadcast": "BroadcastView",
    "floor": "floor",
}
POOLS = {"futures": "mpi4py.futures", "dask": "dask.distributed"}
RATIOS = {"direct": "× faster than Direct", "broadcast": "× faster than Broadcast", "floor": "× floor"}
MET, MISSED = "✓", "✗"


def show(rows: Iterable[Row], console: Console) -> None:
    """Print the table, and the reasons of missing figures."""
    rows = list(rows)
    table = Table(title="medians", caption="targets in brackets", header_style="bold")
    for name in ("case", "n"):
        table.add_column(name)
    for name in (*COLUMNS.values(), *RATIOS.values()):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [_coloured(cell) for cell in _cells(row)]
        table.add_row(row.title, str(row.engines), *cells)
    console.print(table)
    beside = Table(title="beside pools of tasks", header_style="bold")
    for name in _pools_head():
        beside.add_column(name)
    for cells in _pools(rows):
        beside.add_row(*(_coloured(cell) for cell in cells))
    if beside.row_count:
        console.print(beside)
    for note in missing(rows):
        console.print(note, style="dim", markup=False, highlight=False)


def missing(rows: Iterable[Row]) -> list[str]:
    """Return the missing figures, by reason."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for column, note in row.notes.items():
            found.setdefault(f"{({**COLUMNS, **POOLS})[column]}: {note}", {})[row.title] = None
    return [f"{reason} ({'; '.join(titles)})" for reason, titles in found.items()]


def markdown(rows: Iterable[Row]) -> str:
    """Return the table for a page."""
    head = ["case", "n", *COLUMNS.values(), *RATIOS.values()]
    lines = [head, ["---", "--:", *["--:"] * (len(head) - 2)]]
    lines += [[row.title, str(row.engines), *_cells(row)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pools_markdown(rows: Iterable[Row]) -> str:
    """Return the table with mpi4py.futures and dask for a page; empty if neither was measured."""
    cells = _pools(rows)
    head = _pools_head()
    lines = [head, ["---", "--:", *["--:"] * (len(head) - 2)], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if cells else ""


def _pools_head() -> list[str]:
    return ["case", "n", "mpidirect", *POOLS.values(), *(f"× faster than {name}" for name in POOLS.values())]


def _pools(rows: Iterable[Row]) -> list[list[str]]:
    """Return the rows of the table with pools."""
    found = []
    for row in rows:
        if any(row.value(column) is not None for column in POOLS):
            values = [row.value(column) for column in ("mpidirect", *POOLS)]
            times = ["–" if value is None else written(value, row.unit) for value in values]
            found.append([row.title, str(row.engines), *times, *(_ratio(row, column) for column in POOLS)])
    return found


def summary(rows: Iterable[Row]) -> tuple[int, int]:
    """Return how many targets are met, and how many there are."""
    rows = list(rows)
    cells = [cell for row in [*map(_cells, rows), *_pools(rows)] for cell in row]
    marks = [cell[-1] for cell in cells if cell[-1] in (MET, MISSED)]
    return marks.count(MET), len(marks)


def _cells(row: Row) -> list[str]:
    values = []
    for column in COLUMNS:
        value = row.value(column)
        values.append("–" if value is None else written(value, row.unit))
        most = targets.wanted(row.case, "most", row.engines)
        if column == "mpidirect" and value is not None and most is not None:
            mark = MET if targets.met("most", value, most) else MISSED
            values[-1] += f" (≤ {written(most, row.unit)}) {mark}"
    return values + [_ratio(row, column) for column in RATIOS]


def _ratio(row: Row, column: str) -> str:
    ratio = row.ratio(column)
    if ratio is None:
        return "–"
    text = f"{ratio:.2f}" if column == "floor" else f"{ratio:.1f}"
    target = targets.wanted(row.case, column, row.engines)
    if target is None:
        return text
    mark = MET if targets.met(column, ratio, target) else MISSED
    return f"{text} ({targets.sign(column)} {target:g}) {mark}"


def written(value: float, unit: str) -> str:
    """Return a value with its unit, with three digits."""
    if unit == "s":
        scale, unit = next(
            (s, u) for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if value * s >= 1 or s > 1e3
        )
        value *= scale
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def _coloured(cell: str) -> str:
    colour = {MET: "green", MISSED: "red"}.get(cell[-1])
    return f"[{colour}]{cell}[/]" if colour else cell
