"""What engines are doing, those that do the same together, and the odd ones first."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import format_ids
from ..calls.source_lines import completed, named

_HEAD = re.compile(r"(.+) at (.+):(\d+)")


class Stacks(dict[int, str]):
    """The stack of each engine's user code, as text; empty where none runs.

    The first line says what it has called, and where. Shown, equal stacks are put together, those of the
    fewest engines first.
    """

    def __init__(self, found: dict[int, str]) -> None:
        super().__init__({engine: _readable(text) for engine, text in found.items()})

    def groups(self) -> list[tuple[list[int], str]]:
        """Engines with equal stacks, the fewest first."""
        groups: dict[str, list[int]] = {}
        for engine, text in self.items():
            groups.setdefault(text, []).append(engine)
        return sorted(((engines, text) for text, engines in groups.items()), key=lambda group: len(group[0]))

    def __str__(self) -> str:
        parts = []
        for engines, text in self.groups():
            head, _, frames = text.partition("\n")
            parts.append(f"{_engines(engines)} {_doing(head)}" + (f"\n{frames.rstrip()}" if frames else ""))
        return "\n\n".join(parts)

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """The same in a line: ``engine 17 in open at io.py:12, engines 0-16 in comm.allreduce at …``."""
        groups: dict[str, list[int]] = {}
        for engines, text in self.groups():
            groups.setdefault(_doing(text.partition("\n")[0]), []).extend(engines)
        told = sorted(groups.items(), key=lambda group: len(group[1]))
        return ", ".join(f"{_engines(sorted(engines))} {doing}" for doing, engines in told)


def _engines(engines: list[int]) -> str:
    return f"engine {engines[0]}" if len(engines) == 1 else f"engines {format_ids(sorted(engines))}"


def _doing(head: str) -> str:
    if not head:
        return "idle"
    return head if head.startswith("in ") else f"in {head}"


def _readable(text: str) -> str:
    """A stack as an engine tells it, with what only this side knows: sources of cells, and their names."""
    head, _, frames = text.partition("\n")
    if found := _HEAD.fullmatch(head):
        call, file, line = found.groups()
        cell = named(file)
        head = f"{call} at {cell}, line {line}" if cell else f"{call} at {Path(file).name}:{line}"
    return f"{head}\n{completed(frames.rstrip())}" if frames else head
