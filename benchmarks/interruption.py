"""The end of a benchmark by a signal: first everything ends that the benchmark has started."""

from __future__ import annotations

import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_by_signals() -> None:
    """Raise `KeyboardInterrupt` at the first end signal to this process; ignore later ones.

    ``timeout`` sends its signal twice, and a terminal sends it to all processes of a benchmark: the code that
    ends the systems must not be interrupted. Call this in the main thread.
    """
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
