"""Watch over the process that started a rank: a rank without its parent is an orphan, and ends."""

from __future__ import annotations

import os
from pathlib import Path

from .variables import WRAPPER_PID


class Parent:
    """The process that started this one.

    If there is a rank wrapper (`launchers/rank_wrapper.py`) between the launcher and this rank, the wrapper
    and its parent are both watched.
    """

    def __init__(self) -> None:
        self._wrapped = os.environ.get(WRAPPER_PID) == str(os.getppid())
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
            words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            return []
        return [os.fsdecode(word) for word in words]

    def gone(self) -> bool:
        """Return whether the wrapper or the launcher has ended."""
        return self._ancestors() != self._at_start

    def _ancestors(self) -> tuple[int, int]:
        parent = os.getppid()
        return parent, self._parent_of(parent) if self._wrapped else 0

    def _parent_of(self, pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0  # Without /proc, only the wrapper itself is watched.
        except (OSError, ValueError, IndexError):
            return self._at_start[1]  # No file can be opened now, which says nothing about the launcher.
