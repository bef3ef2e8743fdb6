"""Lines that change: engines' progress bars, each in its last state, and a status; below all else."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from ... import _prompt


class Bars:
    """The bars of several engines, and a status.

    On a terminal they are drawn over each other; in a notebook they are one display that changes; elsewhere
    only the last state of each bar is printed, and the first status.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[int, ...], str] = {}
        self._status = ""
        self._wanted: list[str] = []
        self._drawn: list[str] = []
        self._display: Any = None

    def put(self, engines: tuple[int, ...], text: str) -> None:
        """The bar of these engines is this now."""
        self.remove(engines)
        self._texts[engines] = text

    def put_status(self, text: str) -> None:
        """The status is this now."""
        if not self._status and not self._can_change():
            print(text, file=sys.stderr)
        self._status = text

    def remove(self, engines: tuple[int, ...]) -> None:
        """These engines have gone on to another line."""
        for others in [others for others in self._texts if not set(others).isdisjoint(engines)]:
            del self._texts[others]

    def draw(self) -> None:
        """Show how they are now."""
        texts = [self._texts[engines] for engines in sorted(self._texts)]
        if self._status:
            texts.append(self._status)
        if texts == self._wanted or not self._can_change():
            return
        self._wanted = texts
        if in_kernel():
            self._update("\n".join(texts))
        else:
            self.erase()
            columns, lines = shutil.get_terminal_size()
            room = max(1, lines // 2)  # what has scrolled away can't be drawn over
            if len(texts) > room:
                texts = [*texts[: room - 1], f"… {len(texts) - room} more", texts[-1]]
            sys.stderr.write("\n".join(text[: columns - 1] for text in texts))
        self._drawn = texts

    def erase(self) -> None:
        """Other text comes: take them away from below it, until they are drawn again."""
        if self._drawn and not in_kernel():
            up = f"\x1b[{len(self._drawn) - 1}A" if len(self._drawn) > 1 else ""
            sys.stderr.write(f"\r{up}\x1b[J")
            self._drawn = self._wanted = []

    def close(self) -> None:
        """They will not change any more; a status is of no interest then."""
        self._status = ""
        if in_kernel():
            self.draw()
        else:
            self.erase()
            for engines in sorted(self._texts):
                print(self._texts[engines], file=sys.stderr)
        self._texts.clear()

    def _can_change(self) -> bool:
        return in_kernel() or sys.stderr.isatty()

    def _update(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)


def in_kernel() -> bool:
    """Whether this is a notebook's process."""
    return getattr(_prompt.ipython_shell(), "kernel", None) is not None
