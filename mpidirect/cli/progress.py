"""The display of a wait for engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..cluster.readiness import Watcher


@contextmanager
def progress(total: int) -> Iterator[Watcher]:
    """Yield a watcher for `Cluster.wait`: a bar on a terminal, elsewhere the reason of a pending job."""
    if not sys.stderr.isatty():
        printed = ""

        def report(step: str, ready: int, n: int) -> None:
            nonlocal printed
            if "pending" in step and step != printed:
                printed = step
                click.echo(step, err=True)

        yield report
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    console = Console(stderr=True)
    columns = (
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda step, ready, n: bar.update(task, description=step, completed=ready, total=n)
