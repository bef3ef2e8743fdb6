"""Lines that engines write again and again, as progress bars do: the last state of each, below all else."""

from __future__ import annotations

import sys
from typing import Any

from .. import _prompt


class Bars:
    """The bars of several engines.

    On a terminal they are drawn over each other; in a notebook they are one display that changes; elsewhere
    only their last state is printed.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[int, ...], str] = {}
        self._drawn = 0  # lines
        self._changed = False
        self._display: Any = None

    def put(self, engines: tuple[int, ...], text: str) -> None:
        """The bar of these engines is this now."""
        self.remove(engines)
        self._texts[engines] = text

    def remove(self, engines: tuple[int, ...]) -> None:
        """These engines have gone on to another line."""
        for others in [others for others in self._texts if not set(others).isdisjoint(engines)]:
            del self._texts[others]
            self._changed = True

    def draw(self) -> None:
        """Show how they are now."""
        texts = [self._texts[engines] for engines in sorted(self._texts)]
        if (not texts and not self._drawn) or (not self._changed and self._drawn == len(texts)):
            return
        self._changed = False
        if _in_kernel():
            self._update("\n".join(texts))
            self._drawn = len(texts)
        elif sys.stderr.isatty():
            self.erase()
            sys.stderr.write("\n".join(texts))
            self._drawn = len(texts)

    def _update(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)

    def erase(self) -> None:
        """Other text comes: take them away from below it, until they are drawn again."""
        if self._drawn and not _in_kernel():
            up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
            sys.stderr.write(f"\r{up}\x1b[J")
            self._drawn = 0

    def close(self) -> None:
        """They will not change any more."""
        if self._texts and not _in_kernel():
            self.erase()
            for engines in sorted(self._texts):
                print(self._texts[engines], file=sys.stderr)
        self._texts.clear()


def _in_kernel() -> bool:
    return getattr(_prompt.shell(), "kernel", None) is not None
