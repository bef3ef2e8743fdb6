"""Progress bars of engines and a status line, below all other output."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from ... import _prompt


class Bars:
    """The progress bars of several engines, each in its latest state, and a status line.

    On a terminal the bars are drawn over their former state. In a notebook they are one display that is
    updated. Elsewhere only the last state of each bar is printed, and the first status.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[int, ...], str] = {}
        self._status = ""
        self._requested: list[str] = []  # the lines that the last `draw` should show
        self._drawn: list[str] = []  # the lines that are on the terminal now
        self._display: Any = None

    def put(self, engines: tuple[int, ...], text: str) -> None:
        """Set the state of the bar of these engines."""
        self.remove(engines)
        self._texts[engines] = text

    def put_status(self, text: str) -> None:
        """Set the status line."""
        if not self._status and not can_update():
            print(text, file=sys.stderr)
        self._status = text

    def remove(self, engines: tuple[int, ...]) -> None:
        """Remove the bars of these engines, which have printed another line."""
        for others in [others for others in self._texts if not set(others).isdisjoint(engines)]:
            del self._texts[others]

    def draw(self) -> None:
        """Show the present state."""
        texts = [self._texts[engines] for engines in sorted(self._texts)]
        if self._status:
            texts.append(self._status)
        if texts == self._requested or not can_update():
            return
        self._requested = texts
        if in_kernel():
            self._update("\n".join(texts))
        else:
            self.erase()
            columns, lines = shutil.get_terminal_size()
            room = max(1, lines // 2)  # a line that has scrolled away can't be drawn over
            if len(texts) > room:
                texts = [*texts[: room - 1], f"… {len(texts) - room} more", texts[-1]]
            sys.stderr.write("\n".join(text[: columns - 1] for text in texts))
        self._drawn = texts

    def erase(self) -> None:
        """Remove the lines from the terminal, so that other text can be printed."""
        if self._drawn and not in_kernel():
            up = f"\x1b[{len(self._drawn) - 1}A" if len(self._drawn) > 1 else ""
            sys.stderr.write(f"\r{up}\x1b[J")
            self._drawn = self._requested = []

    def restart(self) -> None:
        """Draw all bars and the status again, because a notebook has cleared its cell."""
        self._requested, self._display = [], None

    def vanish(self) -> bool:
        """Take the status away; return whether a notebook has a display then that shows nothing."""
        self._status = ""
        return self._display is not None and not self._texts

    def close(self) -> None:
        """Print the last state of the bars, without the status."""
        self._status = ""
        if in_kernel():
            self.draw()
        else:
            self.erase()
            for engines in sorted(self._texts):
                print(self._texts[engines], file=sys.stderr)
        self._texts.clear()

    def _update(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if not text:  # a notebook shows an empty text as an empty line, but does not show an empty page
            data["text/html"] = ""
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)


def can_update() -> bool:
    """Return whether a line that was shown can be replaced: on a terminal and in a notebook."""
    return in_kernel() or sys.stderr.isatty()


def in_kernel() -> bool:
    """Return whether this process is the kernel of a notebook."""
    return getattr(_prompt.ipython_shell(), "kernel", None) is not None
