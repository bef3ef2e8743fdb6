"""Progress bars: on a terminal by rich, in a notebook as one display that is updated, silent elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from ..session.session import Session
from .bars import in_kernel
from .units import duration_in_words

if TYPE_CHECKING:
    from typing_extensions import Self

BAR_WIDTH = 30  # characters
NOTEBOOK_INTERVAL = 0.2  # seconds between two updates in a notebook


def bar_text(done: float, total: float) -> str:
    """Return a bar of characters.

    Examples
    --------
    >>> bar_text(1, 2)
    '━━━━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌'
    """
    full = min(BAR_WIDTH, int(BAR_WIDTH * done / total)) if total else 0
    return "━" * full + "╌" * (BAR_WIDTH - full)


class ProgressBar:
    """Context manager: a bar that shows how much of a total is done.

    Parameters
    ----------
    text : str
        The label.
    total : int
        The length of the bar.
    delay : float
        Seconds before the bar appears.
    stream : file, optional
        Where the bar is drawn; by default stdout.
    transient : bool
        Whether the bar disappears at the end.
    """

    def __init__(
        self,
        text: str,
        total: int,
        *,
        delay: float = 0.0,
        stream: TextIO | None = None,
        transient: bool = False,
    ) -> None:
        self._state = text, 0, total
        self._stream = stream
        self._transient = transient
        self._began = time.monotonic()
        self._due = self._began + delay
        self._bar: _TerminalBar | _NotebookBar | None = None

    def __enter__(self) -> Self:
        self._draw()
        return self

    def update(self, text: str, done: int, total: int) -> None:
        """Set the label, how much is done, and the total."""
        self._state = text, done, total
        self._draw()

    def _draw(self) -> None:
        if time.monotonic() < self._due:
            return
        if self._bar is None:
            self._bar = _NotebookBar() if in_kernel() else _TerminalBar(self._stream, self._transient)
        self._bar.draw(*self._state, time.monotonic() - self._began)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


class _TerminalBar:
    """A bar of rich; nothing if the stream is no terminal, where changes would not be visible."""

    def __init__(self, stream: TextIO | None, transient: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
        from rich.progress import TaskProgressColumn as Percentage
        from rich.progress import TimeElapsedColumn as Elapsed

        console = Console(file=stream)
        columns = (
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            Percentage(),
            MofNCompleteColumn(),
            Elapsed(),
        )
        self._progress = Progress(
            *columns, console=console, transient=transient, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def draw(self, text: str, done: int, total: int, elapsed: float) -> None:
        self._progress.update(self._task, description=text, completed=done, total=total)

    def close(self) -> None:
        self._progress.stop()


class _NotebookBar:
    """A display that is updated: it needs no widgets in the notebook."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._next = 0.0
        self._last: tuple[str, int, int, float] = ("", 0, 0, 0.0)

    def draw(self, text: str, done: int, total: int, elapsed: float) -> None:
        self._last = text, done, total, elapsed
        if time.monotonic() >= self._next:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        self._next = time.monotonic() + NOTEBOOK_INTERVAL
        text, done, total, elapsed = self._last
        words = f"{text} {done}/{total}, {duration_in_words(round(elapsed))}"
        element = f'<progress value="{done}" max="{max(1, total)}"></progress> {html.escape(words)}'
        data = {"text/plain": f"{bar_text(done, total)} {words}", "text/html": element}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        self._show()


def start_bar(total: int, delay: float) -> ProgressBar:
    """Return the bar of a wait for engines, on stderr."""
    return ProgressBar("starting", total, delay=delay, stream=sys.stderr, transient=True)


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
    deadline = None if timeout is None else time.monotonic() + timeout
    with ProgressBar(text, total) as bar:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            is_settled = session.wait(settled, interval if left is None else min(interval, left))
            bar.update(text, done(), total)
            if is_settled or left == 0.0:
                return is_settled
