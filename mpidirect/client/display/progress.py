"""Waiting with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..session.session import Session


def wait_with_bar(
    session: Session,
    settled: Callable[[], bool],
    timeout: float | None,
    interval: float,
    text: str,
    done: Callable[[], int],
    total: int,
) -> bool:
    """Wait until `settled`; False after `timeout` seconds.

    Parameters
    ----------
    interval : float
        Seconds between two looks at how much of the `total` is `done`.
    """
    from rich.progress import Progress

    deadline = None if timeout is None else time.monotonic() + timeout
    bar = Progress(transient=False)
    bar.disable = not (bar.console.is_terminal or bar.console.is_jupyter)  # nobody sees it change
    with bar:
        task = bar.add_task(text, total=total)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            came = session.wait(settled, interval if left is None else min(interval, left))
            bar.update(task, completed=done())
            if came or left == 0.0:
                return came
