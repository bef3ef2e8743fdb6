"""Watches the process that started a rank: a rank without its parent is an orphan, and ends."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from .variables import FORKED_PID, WRAPPER_PID

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


class Parent:
    """The process that started this one.

    If there is a rank wrapper (`launchers/rank_wrapper.py`) between the launcher and this rank, the wrapper
    and its parent are both watched. A forked engine (`fork_server`) has a wrapper that is not its parent.
    """

    def __init__(self) -> None:
        wrapper = os.environ.get(WRAPPER_PID, "")
        forked = os.environ.get(FORKED_PID) == str(os.getpid())
        self._wrapped = forked or wrapper == str(os.getppid())
        self._wrapper_of_forked = int(wrapper) if forked else 0
        self._at_start = 0, 0
        self._at_start = self._ancestors()

    @property
    def wrapped(self) -> bool:
        """Whether this rank has a rank wrapper."""
        return self._wrapped

    def command(self) -> list[str]:
        """Return the command that started this rank, with its wrapper: the same command starts another rank.

        Returns
        -------
        list of str
            Empty without a wrapper.
        """
        if not self._wrapped:
            return []
        try:
            words = Path(f"/proc/{self._parent()}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            return []
        return [os.fsdecode(word) for word in words]

    def gone(self) -> bool:
        """Return whether the wrapper or the launcher has ended."""
        return self._ancestors() != self._at_start

    def _ancestors(self) -> tuple[int, int]:
        parent = self._parent()
        return parent, self._parent_of(parent) if self._wrapped else 0

    def _parent(self) -> int:
        return self._wrapper_of_forked or os.getppid()

    def _parent_of(self, pid: int) -> int:
        try:
            state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return 0 if state in "ZX" else int(parent)
        except (FileNotFoundError, ProcessLookupError):
            return 0  # Without /proc, only the wrapper itself is watched.
        except (OSError, ValueError, IndexError):
            # No file can be opened now, which does not mean that the launcher has ended.
            return self._at_start[1]
