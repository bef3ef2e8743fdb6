"""The display of a wait for engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..client.display.progress import start_bar
from ..cluster.readiness import Watcher


@contextmanager
def progress(total: int) -> Iterator[Watcher]:
    """Yield a watcher for `Cluster.wait`: a bar on a terminal, elsewhere the reason of a pending job."""
    if sys.stderr.isatty():
        with start_bar(total, 0.0) as bar:
            yield bar.update
        return
    printed = ""

    def report(step: str, ready: int, n: int) -> None:
        nonlocal printed
        if "pending" in step and step != printed:
            printed = step
            click.echo(step, err=True)

    yield report
