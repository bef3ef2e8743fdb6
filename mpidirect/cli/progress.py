"""The display of what is waited for: on a terminal alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..cluster.readiness import Watcher


@contextmanager
def progress(total: int) -> Iterator[Watcher]:
    """A watcher for `Cluster.wait` that shows a bar on a terminal; elsewhere it tells why a job waits."""
    if not sys.stderr.isatty():
        said = ""

        def say(what: str, ready: int, n: int) -> None:
            nonlocal said
            if "pending" in what and what != said:
                said = what
                click.echo(what, err=True)

        yield say
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
        yield lambda what, ready, n: bar.update(task, description=what, completed=ready, total=n)
