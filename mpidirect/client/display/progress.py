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
    """Wait until `settled()` is true, and show a progress bar.

    Parameters
    ----------
    session : Session
        Waits for messages of the controller.
    settled : callable
        Returns whether to stop waiting.
    timeout : float, optional
        Seconds to wait at most.
    interval : float
        Seconds between two updates of the bar.
    text : str
        The label of the bar.
    done : callable
        Returns how much of the `total` is done.
    total : int
        The length of the bar.

    Returns
    -------
    bool
        False when the time was over first.
    """
    from rich.progress import Progress

    deadline = None if timeout is None else time.monotonic() + timeout
    bar = Progress(transient=False)
    bar.disable = not (bar.console.is_terminal or bar.console.is_jupyter)  # a file shows no changes
    with bar:
        task = bar.add_task(text, total=total)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            is_settled = session.wait(settled, interval if left is None else min(interval, left))
            bar.update(task, completed=done())
            if is_settled or left == 0.0:
                return is_settled
