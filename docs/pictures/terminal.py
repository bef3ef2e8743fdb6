"""A program in a terminal of its own, and the screen of this terminal as HTML."""

from __future__ import annotations

import contextlib
import re
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pexpect
import pyte
from matplotlib import get_data_path
from pyte.screens import Char

LIMIT = 180.0  # seconds until an expected text must be on the screen
QUIET = 0.2  # seconds without output after which a screen is complete
_UNKNOWN_TO_PYTE = re.compile(r"\x1b\[[<>=][\d;]*\w|\x1b\[\?[\d;]*\$p|\x1b[P_^].*?\x1b\\", re.DOTALL)

_FONTS = Path(get_data_path(), "fonts", "ttf")
_COLOURS = {
    "black": "#1d2027",
    "red": "#ef6b73",
    "green": "#8ccf7e",
    "brown": "#e5c76b",  # pyte's name of yellow
    "blue": "#67b0e8",
    "magenta": "#c47fd5",
    "cyan": "#6cbfbf",
    "white": "#dadada",
    "brightblack": "#7b8496",
    "brightred": "#f48189",
    "brightgreen": "#a3dd97",
    "brightbrown": "#f0d68a",
    "brightblue": "#83c3f0",
    "brightmagenta": "#d398e2",
    "brightcyan": "#87d3d3",
    "brightwhite": "#ffffff",
}
_FOREGROUND, _BACKGROUND = _COLOURS["white"], _COLOURS["black"]
_STYLE = f"""
@font-face {{ font-family: Terminal; src: url("file://{_FONTS}/DejaVuSansMono.ttf") }}
@font-face {{ font-family: Terminal; font-weight: bold; src: url("file://{_FONTS}/DejaVuSansMono-Bold.ttf") }}
body {{ margin: 0; background: {_BACKGROUND} }}
#screen {{ display: inline-block; padding: 14px 18px; background: {_BACKGROUND}; color: {_FOREGROUND} }}
#screen {{ font: 14px/19px Terminal, monospace; white-space: pre }}
#screen div {{ height: 19px }}
#screen span {{ display: inline-block; height: 19px }}
"""


class _Style(NamedTuple):
    """The look of a character."""

    foreground: str
    background: str
    bold: bool
    italics: bool
    underlined: bool

    @classmethod
    def of(cls, char: Char) -> _Style:
        colours = _colour(char.fg, _FOREGROUND), _colour(char.bg, _BACKGROUND)
        return cls(
            *(reversed(colours) if char.reverse else colours), char.bold, char.italics, char.underscore
        )

    def css(self) -> str:
        rules = [f"color:{self.foreground}"]
        if self.background != _BACKGROUND:
            rules.append(f"background:{self.background}")
        if self.bold:
            rules.append("font-weight:bold")
        if self.italics:
            rules.append("font-style:italic")
        if self.underlined:
            rules.append("text-decoration:underline")
        return ";".join(rules)


def _colour(name: str, default: str) -> str:
    return default if name == "default" else _COLOURS.get(name, f"#{name}")


class Terminal:
    """A program in a pseudo-terminal.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    environment : dict
        Its environment variables.
    columns, lines : int
        The size of the terminal.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], columns: int = 100, lines: int = 60
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        kind = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._program = pexpect.spawn(
            command[0],
            command[1:],
            env={**environment, **kind},
            dimensions=(lines, columns),
            encoding="utf-8",
        )

    def type(self, text: str, then: str) -> None:
        """Type a text and Enter; wait until `then` is on the screen."""
        self._program.send(f"{text}\r")
        self.wait_for(then)

    def press(self, key: str) -> None:
        """Press a key."""
        self._program.send(key)

    def wait_for(self, text: str) -> None:
        """Wait until a text, a regular expression, is on the screen."""
        while not re.search(text, self.text(), re.MULTILINE):
            self._feed()

    def settle(self) -> None:
        """Wait until the program writes nothing for a moment: its screen is complete."""
        with contextlib.suppress(pexpect.TIMEOUT):
            while True:
                self._take(self._program.read_nonblocking(65536, QUIET))

    def text(self) -> str:
        """Return the screen as text."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip() + "\n"

    def _feed(self) -> None:
        try:
            new = self._program.read_nonblocking(65536, LIMIT)
        except pexpect.TIMEOUT:
            raise AssertionError(f"this is on the screen:\n{self.text()}") from None
        self._take(new)

    def _take(self, output: str) -> None:
        self._stream.feed(_UNKNOWN_TO_PYTE.sub("", output))

    def html(self) -> str:
        """Return the screen as a page, without the empty lines at its end."""
        buffer = self._screen.buffer
        rows = [[buffer[y][x] for x in range(self._screen.columns)] for y in range(self._screen.lines)]
        while rows and not any(char.data.strip() or char.bg != "default" for char in rows[-1]):
            rows.pop()
        lines = "".join(f"<div>{_line(row)}</div>" for row in rows)
        return f'<meta charset="utf-8"><style>{_STYLE}</style><div id="screen">{lines}</div>'

    def close(self) -> None:
        """End the program."""
        self._program.close(force=True)


def _line(row: list[Char]) -> str:
    parts = []
    for style, chars in groupby(row, _Style.of):
        parts.append(f'<span style="{style.css()}">{escape("".join(char.data for char in chars))}</span>')
    return "".join(parts)
