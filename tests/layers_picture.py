"""The picture of the layers, made from the imports of the code, and the map in ``docs/architecture.md``.

``python -m tests.layers_picture`` writes both.
"""

from __future__ import annotations

import re
import textwrap
from xml.sax.saxutils import escape

from tests.layers import MAY_IMPORT, ROOT, imports, layer_of

PICTURE = ROOT / "docs" / "layers.svg"
PAGE = ROOT / "docs" / "architecture.md"

# The place of each layer from left to right, in widths of a box, its group, and what it is for.
DRAWN = {
    "cli": (0.5, "client", "the command line"),
    "kernel": (1.5, "client", "the Jupyter kernel that is the job"),
    "monitor": (2.5, "client", "the live view of the engines"),
    "cluster": (0.5, "client", "start, state and end of a cluster"),
    "client": (1.5, "client", "views, results, connection, magics"),
    "job.__main__": (3.8, "job", "python -m mpidirect.job"),
    "job.roles": (3.8, "job", "controller, anchor or engine"),
    "launchers": (0.0, "client", "mpiexec, Slurm, PBS, Grid Engine"),
    "controller": (3.2, "job", "rank 0: routes, opens nothing"),
    "engine": (4.4, "job", "ranks 1 to n: run what users send"),
    "mpi": (5.0, "job", "communicators, bulk transfers"),
    "config": (0.0, "shared", "settings and their origin"),
    "job": (1.0, "shared", "processes and time of a job"),
    "files": (0.5, "shared", "profiles, connection files, owners"),
    "serialize": (2.0, "shared", "objects and functions as bytes"),
    "transport": (3.0, "shared", "ZeroMQ and Unix sockets"),
    "memory": (4.2, "shared", "buffer pool, reads of memory"),
    "errors": (0.5, "shared", "what users see fail"),
    "protocol": (2.0, "shared", "messages and numbered streams"),
    "arrays": (3.6, "shared", "kinds of arrays, partitions"),
}
LEGEND = {"client": "where the user is, no MPI", "job": "in the MPI job", "shared": "on both sides"}

WIDTH, HEIGHT, COLUMN, ROW = 146, 58, 164, 104  # of a box, and from one to the next
LEFT, TOP = 20, 64
STYLE = """
    .client { fill: #ddf4ff; stroke: #0969da; stroke-width: 1.3 }
    .job    { fill: #fff1e5; stroke: #bc4c00; stroke-width: 1.3 }
    .shared { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.3 }
    .import { fill: none; stroke: #8c959f; stroke-width: 1.4 }
    .name   { font-weight: bold; font-size: 14px }
    .small  { font-size: 11px; fill: #57606a }
    text    { fill: #1f2328 }
"""


def page(text: str) -> str:
    """Return the architecture page with the last column of its map as the contract has it."""
    return re.sub(r"^\| `([\w.]+)` \| (.*) \| [^|]* \|$", _row, text, flags=re.MULTILINE)


def _row(match: re.Match[str]) -> str:
    layer, purpose = match.groups()
    if layer not in MAY_IMPORT:
        return match[0]
    packages = [f"`{name}`" for name in MAY_IMPORT if name in MAY_IMPORT[layer] & DRAWN.keys() - {"errors"}]
    return f"| `{layer}` | {purpose} | {', '.join(packages) or '–'} |"


def layer_imports() -> dict[str, set[str]]:
    """Return which drawn layers each drawn layer imports."""
    found: dict[str, set[str]] = {layer: set() for layer in DRAWN}
    for importer, imported in imports().items():
        ours = layer_of(importer)
        allowed = {layer_of(module) for module in imported} & MAY_IMPORT[ours]  # so that there is no circle
        if ours in found:
            found[ours] |= allowed & DRAWN.keys() - {ours}
    return found


def reachable(layer: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all layers that a layer imports, also by way of others."""
    return graph[layer].union(*(reachable(below, graph) for below in graph[layer]))


def rows(graph: dict[str, set[str]]) -> dict[str, int]:
    """Return the row of each layer: one above the highest layer that the layer imports."""
    found: dict[str, int] = {}
    for layer in sorted(graph, key=lambda layer: len(reachable(layer, graph))):
        found[layer] = 1 + max((found[below] for below in graph[layer]), default=-1)
    return found


def picture() -> str:
    """Return the SVG."""
    graph = layer_imports()
    row = rows(graph)
    highest = max(row.values())
    corner = {
        layer: (LEFT + column * COLUMN, TOP + (highest - row[layer]) * ROW)
        for layer, (column, _, _) in DRAWN.items()
    }
    arrows = [
        _arrow(corner[layer], corner[below])
        for layer in DRAWN
        for below in sorted(graph[layer])
        if not any(below in reachable(other, graph) for other in graph[layer])
    ]
    boxes = [_box(layer, *corner[layer]) for layer in DRAWN]
    width = round(2 * LEFT + WIDTH + COLUMN * max(column for column, _, _ in DRAWN.values()))
    height = TOP + highest * ROW + HEIGHT + LEFT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="Helvetica, Arial, sans-serif">',
            "  <title>mpidirect: the packages, and which imports which</title>",
            f"  <style>{STYLE}  </style>",
            '  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#8c959f"/></marker></defs>',
            f'  <rect width="{width}" height="{height}" fill="#ffffff"/>',
            *_legend(),
            *arrows,
            *boxes,
            "</svg>",
            "",
        ]
    )


def _legend() -> list[str]:
    lines = []
    for place, (group, meaning) in enumerate(LEGEND.items()):
        x = LEFT + place * 180
        lines.append(f'  <rect class="{group}" x="{x}" y="20" width="16" height="16" rx="3"/>')
        lines.append(f'  <text class="small" x="{x + 24}" y="32">{escape(meaning)}</text>')
    text = "Arrows are imports; those that follow from others are left out."
    lines.append(f'  <text class="small" x="{LEFT + 3 * 180 - 40}" y="32">{text}</text>')
    return lines


def _box(layer: str, x: float, y: float) -> str:
    _, group, purpose = DRAWN[layer]
    middle = x + WIDTH / 2
    lines = textwrap.wrap(purpose, 22)
    top = y + (24 if len(lines) > 1 else 27)
    texts = [f'<text class="name" x="{middle:g}" y="{top - 3:g}" text-anchor="middle">{layer}</text>']
    for number, line in enumerate(lines):
        at = top + 13 + 13 * number
        texts.append(
            f'<text class="small" x="{middle:g}" y="{at:g}" text-anchor="middle">{escape(line)}</text>'
        )
    box = f'<rect class="{group}" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    return f"  <g>{box}{''.join(texts)}</g>"


def _arrow(above: tuple[float, float], below: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = above, below
    shift = max(-50, min(50, (x2 - x1) / 8))  # arrows to several boxes leave at several points
    x1, y1 = x1 + WIDTH / 2 + shift, y1 + HEIGHT
    x2 = x2 + WIDTH / 2 - shift
    bend = (y2 - y1) / 2
    path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
    return f'  <path class="import" marker-end="url(#head)" d="{path}"/>'


if __name__ == "__main__":
    PICTURE.write_text(picture())
    PAGE.write_text(page(PAGE.read_text()))
    print(f"written: {PICTURE} and the map in {PAGE}")
