"""The picture of the states of recovery, and the tables of ``docs/recovery.md``, made from the code.

``python -m tests.recovery_picture`` writes both.
"""

from __future__ import annotations

import re
from enum import Enum
from xml.sax.saxutils import escape

from mpidirect.controller.engines import states
from tests.layers import ROOT

PICTURE = ROOT / "docs" / "recovery.svg"
PAGE = ROOT / "docs" / "recovery.md"

# The title of each machine, and its transitions.
MACHINES = {
    "Repair of comm": states.REPAIR,
    "Replacement of engines": states.REPLACEMENT,
    "Generation": states.GENERATION,
}
# The place of each state in its machine: column and row.
PLACES = {
    states.RepairState: {"USABLE": (0, 0), "BROKEN": (1, 0), "REPAIRING": (1, 1), "ABANDONED": (0, 1)},
    states.ReplacementState: {
        "IDLE": (0, 0),
        "WAITING": (1, 0),
        "SPAWNING": (1, 1),
        "PREPARING": (1, 2),
        "MAKING": (0, 2),
    },
    states.GenerationState: {
        "RUNNING": (0, 0),
        "ENDING": (1, 0),
        "HANDING_OVER": (1, 1),
        "TAKING_OVER": (0, 1),
    },
}

WIDTH, HEIGHT, COLUMN, ROW = 128, 40, 224, 124  # of a box, and from one box to the next
LEFT, TOP, MACHINE = 24, 60, 420  # the margins, and the width of a machine
STYLE = """
    .state { fill: #ddf4ff; stroke: #0969da; stroke-width: 1.3 }
    .first { fill: #dafbe1; stroke: #1a7f37; stroke-width: 1.6 }
    .arrow { fill: none; stroke: #57606a; stroke-width: 1.3 }
    .name  { font-weight: bold; font-size: 13px }
    .small { font-size: 11px; fill: #57606a }
    .title { font-weight: bold; font-size: 15px }
    text   { fill: #1f2328 }
"""


def numbered(transitions: states.Transitions[Enum]) -> list[tuple[Enum, Enum, str]]:
    """Return the transitions of a machine in their order: from, to, cause."""
    return [(old, new, cause) for old, targets in transitions.items() for new, cause in targets.items()]


def page(text: str) -> str:
    """Return the page with its tables as the code has them."""
    for title, transitions in MACHINES.items():
        pattern = rf"(## {title}\n.*?\n\n)\| state .*?(?=\n\n(?!\|)|\n*\Z)"
        text = re.sub(pattern, lambda match, t=transitions: match[1] + _tables(t), text, flags=re.DOTALL)
    return text


def _tables(transitions: states.Transitions[Enum]) -> str:
    rows = ["| state | meaning |", "|---|---|"]
    rows += [f"| `{state.name}` | {state.value} |" for state in type(next(iter(transitions)))]
    rows += ["", "| | from | to | cause |", "|---|---|---|---|"]
    for number, (old, new, cause) in enumerate(numbered(transitions), 1):
        rows.append(f"| {number} | `{old.name}` | `{new.name}` | {cause} |")
    return "\n".join(rows)


def picture() -> str:
    """Return the SVG."""
    height = TOP + 2 * ROW + HEIGHT + 24
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(MACHINES) * MACHINE} {height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        "  <title>mpidirect: the states of the controller's recovery</title>",
        f"  <style>{STYLE}  </style>",
        '  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
        f'  <rect width="{len(MACHINES) * MACHINE}" height="{height}" fill="#ffffff"/>',
    ]
    for place, (title, transitions) in enumerate(MACHINES.items()):
        lines += _machine(LEFT + place * MACHINE, title, transitions)
    return "\n".join([*lines, "</svg>", ""])


def _machine(left: int, title: str, transitions: states.Transitions[Enum]) -> list[str]:
    kind = type(next(iter(transitions)))
    centers = {
        state: (left + column * COLUMN + WIDTH / 2, TOP + row * ROW + HEIGHT / 2)
        for state in kind
        for column, row in [PLACES[kind][state.name]]
    }
    lines = [f'  <text class="title" x="{left}" y="32">{escape(title)}</text>']
    for number, (old, new, cause) in enumerate(numbered(transitions), 1):
        lines.append(_arrow(centers[old], centers[new], number, cause))
    return lines + [
        _box(state.name, *center, first=state is next(iter(kind))) for state, center in centers.items()
    ]


def _box(name: str, x: float, y: float, first: bool) -> str:
    style = "first" if first else "state"
    return (
        f'  <g><rect class="{style}" x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x:g}" y="{y + 4:g}" text-anchor="middle">{name}</text></g>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], number: int, cause: str) -> str:
    """Draw a transition, beside the one in the other direction, with its number and the cause as a hint."""
    (x1, y1), (x2, y2) = start, end
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    aside = -9 * dy, 9 * dx
    x1, y1, x2, y2 = x1 + aside[0], y1 + aside[1], x2 + aside[0], y2 + aside[1]
    leave, arrive = _to_edge(*aside, dx, dy), _to_edge(*aside, -dx, -dy)
    x1, y1, x2, y2 = x1 + leave * dx, y1 + leave * dy, x2 - arrive * dx, y2 - arrive * dy
    x, y = (x1 + x2) / 2 - 10 * dy, (y1 + y2) / 2 + 10 * dx
    return (
        f'  <g><title>{escape(cause)}</title><path class="arrow" marker-end="url(#head)" '
        f'd="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"/>'
        f'<text class="small" x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{number}</text></g>'
    )


def _to_edge(x: float, y: float, dx: float, dy: float) -> float:
    """Return how far it is from a point beside the centre of a box to the box's edge in a direction."""
    distances = [
        (half * (1 if step > 0 else -1) - place) / step
        for place, step, half in ((x, dx, WIDTH / 2), (y, dy, HEIGHT / 2))
        if abs(step) > 1e-9
    ]
    return min(distances)


if __name__ == "__main__":
    PICTURE.write_text(picture())
    PAGE.write_text(page(PAGE.read_text()))
    print(f"written: {PICTURE} and the tables in {PAGE}")
