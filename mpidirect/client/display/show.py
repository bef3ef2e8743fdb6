"""Showing what engines printed, displayed and returned, each under the engines that it is from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, cast

from ... import _prompt
from ...errors import format_ids
from ...protocol.messages import DISPLAY, STDERR, STDOUT
from ...protocol.names import PUBLISHED
from ..calls.engine_output import opened
from .bars import Bars, in_kernel
from .folding import Block, OutputFolder

_KINDS = ("stdout", "stderr", "output")


class Printer:
    """Prints what engines have printed; knows whose line is not complete."""

    def __init__(self) -> None:
        self._open = ""  # the label of the line that was printed last, if something may follow
        self._bars = Bars()
        self._places: set[str] = set()  # of displays that can be updated

    def show(self, blocks: Sequence[Block]) -> None:
        """Print lines and displays of engines."""
        for block in blocks:
            label = f"[{_KINDS[block.kind]}:{format_ids(block.engines)}]"
            if block.kind == DISPLAY:
                output = opened(cast("bytes", block.lines[0].content))
                if PUBLISHED not in output["data"]:
                    self._end_line()
                    self._publish(label, output)
                continue
            text = "".join(_visible(str(line.content)) for line in block.lines)
            if not text.endswith("\n") and "\r" in str(block.lines[-1].content):
                self._bars.put(block.engines, f"{label} {text}")
                continue
            self._bars.remove(block.engines)
            self._print(label, block, text)
        self._bars.draw()
        for file in (sys.stdout, sys.stderr):
            file.flush()

    def _publish(self, label: str, output: dict[str, Any]) -> None:
        """Show something displayed, or, in a notebook, its new state in its old place."""
        id = output.get("transient", {}).get("display_id", "")
        place = f"{label}{id}" if id and in_kernel() else ""
        publish(label, output, place, place in self._places)
        self._places.add(place)

    def _print(self, label: str, block: Block, text: str) -> None:
        file = (sys.stdout, sys.stderr)[block.kind]
        if not (block.lines[0].continues and self._open == label):
            self._end_line()
            text = f"{label}{' ' if len(block.lines) == 1 else chr(10)}{text}"
        print(text, file=file, end="")
        self._open = "" if text.endswith("\n") else label

    def _end_line(self) -> None:
        self._bars.erase()
        if self._open:
            print(file=sys.stderr if self._open.startswith("[stderr") else sys.stdout)
            self._open = ""

    def status(self, text: str) -> None:
        """Show a line below all else, until the next one, or the end."""
        self._bars.put_status(text)
        self._bars.draw()
        sys.stderr.flush()

    def close(self) -> None:
        """Nothing follows."""
        self._bars.close()
        self._end_line()


def _visible(line: str) -> str:
    """What a terminal shows at last of a line that goes back to its beginning."""
    if "\r" not in line:
        return line
    end = "\n" if line.endswith("\n") else ""
    return line.rstrip("\r\n").rpartition("\r")[2] + end


def display_outputs(entries: Sequence[Any], groupby: str, result_only: bool) -> None:
    """Show the outputs of `entries` (see `AsyncResult.display_outputs`)."""
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby must be one of 'type', 'engine', 'order', not {groupby!r}")
    for group in [[entry] for entry in entries] if groupby == "engine" else [entries]:
        if not result_only:
            _show_text(STDOUT, group)
            _show_text(STDERR, group)
            _show_displays(group, groupby == "order")
        for entry in group:
            if result := entry["execute_result"]:
                publish(f"Out[{entry['engine_id']}:{result['execution_count']}]:", result)


def _show_text(kind: int, entries: Sequence[Any]) -> None:
    folding = OutputFolder([entry["engine_id"] for entry in entries])
    for entry in entries:
        if text := entry[_KINDS[kind]]:
            folding.add(entry["engine_id"], kind, text, 0.0)
    printer = Printer()
    printer.show(folding.due(0.0, final=True))
    printer.close()


def _show_displays(entries: Sequence[Any], in_turns: bool) -> None:
    """Engine by engine, or the first of each, then the second of each."""
    shown = [[(f"[output:{entry['engine_id']}]", output) for output in entry["outputs"]] for entry in entries]
    for pair in chain(*(zip_longest(*shown) if in_turns else shown)):
        if pair is not None:
            publish(*pair)


def publish(label: str, output: dict[str, Any], place: str = "", update: bool = False) -> None:
    """Show something in the best of its formats; at a place where it can be updated, or be an update."""
    data = output["data"]
    if (len(data) > 1 or place) and _prompt.ipython_shell() is not None:
        from IPython.display import publish_display_data

        if not update:
            print(label)
        transient = {"display_id": place} if place else {}
        publish_display_data(data, output.get("metadata") or {}, transient=transient, update=update)
        return
    text = data.get("text/plain", "")
    print(f"{label} {text}" if "\n" not in text else f"{label}\n{text}")
