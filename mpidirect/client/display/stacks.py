"""The stacks of engines, grouped where they are equal, the smallest groups first."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import format_ids
from ..calls.source_lines import completed, named

_PYTHON_FRAME = re.compile(r"\((.+\.py|<.+>):(\d+)\)$", re.MULTILINE)
_HEAD = re.compile(r"(.+) at (.+):(\d+)")


class Stacks(dict[int, str]):
    """The stack of each engine's user code, as text; empty for an idle engine.

    The first line of a stack names the called function and its place.  The text of this object groups equal
    stacks, those of the fewest engines first.

    Parameters
    ----------
    stacks : dict of str
        The stacks as engines send them, by engine.

    Examples
    --------
    >>> print(rc.stacks())
    engine 2 in time.sleep at solve.py:3
    …
    """

    def __init__(self, stacks: dict[int, str]) -> None:
        super().__init__({engine: _with_source(text) for engine, text in stacks.items()})

    def with_native(self, native: dict[int, tuple[str, str]]) -> Stacks:
        """Return the stacks with frames of C code, or with the reason why there are none."""
        whole = Stacks({})
        for engine, text in self.items():
            frames, problem = native.get(engine, ("", ""))
            head = text.partition("\n")[0]
            if _PYTHON_FRAME.search(frames):  # py-spy has returned all frames, also those of Python code
                text = f"{head}\n{_PYTHON_FRAME.sub(_with_title, frames)}"
            elif frames or problem:
                text = f"{text}\n{frames or f'  no C frames: {problem}'}"
            whole[engine] = text
        return whole

    def groups(self) -> list[tuple[list[int], str]]:
        """Return the engines of each stack, the fewest engines first.

        Returns
        -------
        list of (list of int, str)
            Engines, and their stack.
        """
        groups: dict[str, list[int]] = {}
        for engine, text in self.items():
            groups.setdefault(text, []).append(engine)
        return sorted(((engines, text) for text, engines in groups.items()), key=lambda group: len(group[0]))

    def __str__(self) -> str:
        parts = []
        for engines, text in self.groups():
            head, _, frames = text.partition("\n")
            parts.append(_sentence(engines, _activity(head)) + (f"\n{frames.rstrip()}" if frames else ""))
        return "\n\n".join(parts)

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """All stacks in a line: ``engine 17 in open at io.py:12, engines 0-16 in comm.allreduce at …``."""
        groups: dict[str, list[int]] = {}
        for engines, text in self.groups():
            groups.setdefault(_activity(text.partition("\n")[0]), []).extend(engines)
        by_size = sorted(groups.items(), key=lambda group: len(group[1]))
        return ", ".join(_sentence(engines, activity) for activity, engines in by_size)


def _with_title(place: re.Match[str]) -> str:
    """Return the place of a frame with the title of its cell, if it is in a cell."""
    cell = named(place[1])
    return f"({cell}, line {place[2]})" if cell else place[0]


def _sentence(engines: list[int], activity: str) -> str:
    if len(engines) == 1:
        return f"engine {engines[0]} {activity}"
    return f"engines {format_ids(sorted(engines))} {re.sub('^waits ', 'wait ', activity)}"


def _activity(head: str) -> str:
    """Return what the first line of a stack says about an engine."""
    if not head:
        return "idle"
    return head if head.startswith(("in ", "waits ")) else f"in {head}"


def _with_source(text: str) -> str:
    """Return a stack with the source lines and names of cells, which engines lack."""
    head, _, frames = text.partition("\n")
    if found := _HEAD.fullmatch(head):
        call, file, line = found.groups()
        cell = named(file)
        head = f"{call} at {cell}, line {line}" if cell else f"{call} at {Path(file).name}:{line}"
    return f"{head}\n{completed(frames.rstrip())}" if frames else head
