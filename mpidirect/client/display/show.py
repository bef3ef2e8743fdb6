"""Displays what engines have printed, displayed and returned, each with the ids of its engines."""

from __future__ import annotations

import pickle
import sys
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from ... import _prompt
from ...errors import format_ids
from ...protocol.messages import DISPLAY, STDERR, STDOUT
from ...protocol.names import CLEARED, PUBLISHED
from ..calls.engine_output import opened
from .bars import Bars, in_kernel
from .folding import Block, OutputFolder
from .shown_blocks import ShownBlocks

_Origin = TypeVar("_Origin")  # an engine, or an engine and its prompt number

_KINDS = ("stdout", "stderr", "output")


class Printer:
    """Prints blocks of lines and displays.

    Parameters
    ----------
    heading : str, optional
        What the cell has shown before, with its newline; None if that is not known.
    """

    def __init__(self, heading: str | None = None) -> None:
        self._heading = heading
        self._incomplete = ""  # the label of the last line, if that line has no newline yet
        self._bars = Bars()
        self._prefix = uuid.uuid4().hex  # of display ids: a notebook has ids of other cells too
        self._display_ids: set[str] = set()  # of displays that can be updated
        self._shown = ShownBlocks()  # in a notebook

    def show(self, blocks: Sequence[Block]) -> None:
        """Print lines and displays of engines."""
        for block in blocks:
            output = _display_of(block)
            data = output.get("data", {})
            if CLEARED in data:
                self._clear(block.engines, data[CLEARED])
            elif PUBLISHED not in data:
                self._show_next(block, output)
        if self._shown.stale:
            self._show_again()
        self._bars.draw()
        for file in (sys.stdout, sys.stderr):
            file.flush()

    def _show_next(self, block: Block, output: dict[str, Any]) -> None:
        blocks = self._shown.add(block, _id_of(output)) if in_kernel() else [block]
        if self._shown.stale:
            self._show_again()
        else:
            for each in blocks:
                self._show(each, output)

    def _show(self, block: Block, output: dict[str, Any]) -> None:
        label = f"[{_KINDS[block.kind]}:{format_ids(block.engines)}]"
        if block.kind == DISPLAY:
            self._complete_line()
            self._publish(label, output)
            return
        text = "".join(_after_carriage_return(str(line.content)) for line in block.lines)
        if not text.endswith("\n") and "\r" in str(block.lines[-1].content):
            self._bars.put(block.engines, f"{label} {text}")
            return
        self._bars.remove(block.engines)
        self._print(label, block, text)

    def _clear(self, engines: tuple[int, ...], wait: bool) -> None:
        """Clear the output of engines: in a terminal, only an incomplete line, as IPython does."""
        if in_kernel():
            self._bars.remove(engines)
            self._shown.clear(engines, wait)
        elif self._incomplete.endswith(f":{format_ids(engines)}]") and sys.stdout.isatty():
            print("\033[2K\r", end="", flush=True)
            self._incomplete = ""

    def _show_again(self) -> None:
        """Clear the cell, and show the remaining blocks."""
        from IPython.display import clear_output

        blocks, heading = self._shown.take(), self._heading or ""
        clear_output(wait=bool(blocks or heading))  # with `wait` the notebook does not flicker
        print(heading, end="")
        self._incomplete = ""
        self._display_ids.clear()
        self._bars.restart()
        for block in blocks:
            self._show(block, _display_of(block))

    def _publish(self, label: str, output: dict[str, Any]) -> None:
        """Show a display; in a notebook, a new state replaces the former one."""
        id = _id_of(output)
        display_id = f"{self._prefix}{label}{id}" if id and in_kernel() else ""
        publish(label, output, display_id, display_id in self._display_ids)
        if display_id:
            self._display_ids.add(display_id)

    def _print(self, label: str, block: Block, text: str) -> None:
        file = (sys.stdout, sys.stderr)[block.kind]
        if not (block.lines[0].continues and self._incomplete == label):
            self._complete_line()
            text = f"{label}{' ' if len(block.lines) == 1 else chr(10)}{text}"
        print(text, file=file, end="")
        self._incomplete = "" if text.endswith("\n") else label

    def _complete_line(self) -> None:
        self._bars.erase()
        if self._incomplete:
            print(file=sys.stderr if self._incomplete.startswith("[stderr") else sys.stdout)
            self._incomplete = ""

    def status(self, text: str) -> None:
        """Show a status line below all output, in place of the former status."""
        self._bars.put_status(text)
        self._bars.draw()
        sys.stderr.flush()

    def close(self) -> None:
        """Complete the last line, and leave the bars and equal displays in their last state."""
        self._shown.fold()
        removes_bars = self._heading is not None and self._shown.is_complete and self._bars.vanish()
        if self._shown.stale or removes_bars:
            self._show_again()
        self._bars.close()
        self._complete_line()


def _after_carriage_return(line: str) -> str:
    """Return the visible part of a line with carriage returns in a terminal."""
    if "\r" not in line:
        return line
    end = "\n" if line.endswith("\n") else ""
    return line.rstrip("\r\n").rpartition("\r")[2] + end


def _display_of(block: Block) -> dict[str, Any]:
    """Return the display of a block; an empty dict if the block is text."""
    return opened(cast("bytes", block.lines[0].content)) if block.kind == DISPLAY else {}


def _id_of(output: dict[str, Any]) -> str:
    """Return the id by which a display can be updated; empty if it has none."""
    return str(output.get("transient", {}).get("display_id", ""))


def display_outputs(entries: Sequence[Any], groupby: str, result_only: bool, single: bool = False) -> None:
    """Show the outputs of several engines: see `AsyncResult.display_outputs`.

    Parameters
    ----------
    entries : sequence of dict
        The metadata of each engine's part of a call.
    groupby : {'type', 'engine', 'order'}
        The order of the outputs.
    result_only : bool
        Leave out printed text and displays.
    single : bool
        Whether the call was on one engine: its output is then shown without the engine's id.

    Raises
    ------
    ValueError
        When `groupby` is none of these.
    """
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby must be one of 'type', 'engine', 'order', not {groupby!r}")
    for group in [[entry] for entry in entries] if groupby == "engine" else [entries]:
        if not result_only and single:
            _show_without_labels(group[0])
        elif not result_only:
            _show_text(STDOUT, group)
            _show_text(STDERR, group)
            _show_displays(group, groupby == "order")
        for label, result in _folded_results(group):
            publish(f"Out[{label}]:", result)


def _show_without_labels(entry: Any) -> None:
    for text, file in ((entry["stdout"], sys.stdout), (entry["stderr"], sys.stderr)):
        print(text, file=file, end="" if not text or text.endswith("\n") else "\n")
    for output in entry["outputs"]:
        publish("", output)


def _show_text(kind: int, entries: Sequence[Any]) -> None:
    folder = OutputFolder([entry["engine_id"] for entry in entries])
    for entry in entries:
        if text := entry[_KINDS[kind]]:
            folder.add(entry["engine_id"], kind, text, 0.0)
    printer = Printer()
    printer.show(folder.pop_due(0.0, final=True))
    printer.close()


def _show_displays(entries: Sequence[Any], by_order: bool) -> None:
    """Show all displays engine by engine, or the first of each engine, then the second of each."""
    rounds = [[(entry["engine_id"], list(map(_without_id, entry["outputs"]))) for entry in entries]]
    if by_order:
        longest = max(len(outputs) for _, outputs in rounds[0])
        rounds = [[(engine, outputs[k : k + 1]) for engine, outputs in rounds[0]] for k in range(longest)]
    for lists in rounds:
        for engines, outputs in _folded(lists):
            for output in outputs:
                publish(f"[output:{format_ids(sorted(engines))}]", output)


def _without_id(output: dict[str, Any]) -> dict[str, Any]:
    """Return a display without the id that its engine has chosen, which no other engine has."""
    return {name: value for name, value in output.items() if name != "transient"}


def _folded_results(entries: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return equal results once, each with its engines and their prompt numbers: ``0-2:5; 3:6``."""
    results = []
    for entry in entries:
        if result := entry["execute_result"]:
            number = entry["engine_id"], result["execution_count"]
            results.append((number, {**result, "execution_count": None}))
    labelled = []
    for numbers, result in _folded(results):
        engines: dict[Any, list[int]] = {}
        for engine, count in sorted(numbers):
            engines.setdefault(count, []).append(engine)
        labelled.append(("; ".join(f"{format_ids(ids)}:{count}" for count, ids in engines.items()), result))
    return labelled


def _folded(items: Iterable[tuple[_Origin, Any]]) -> list[tuple[list[_Origin], Any]]:
    """Return equal items of different origins once, each with its origins."""
    groups: list[tuple[list[_Origin], Any]] = []
    equal: dict[Any, list[list[_Origin]]] = {}  # the origins of each group, by what an item shows
    for origin, item in items:
        of_item = equal.setdefault(_content(item), [])
        origins = next((each for each in of_item if origin not in each), None)
        if origins is None:
            origins = []
            of_item.append(origins)
            groups.append((origins, item))
        origins.append(origin)
    return groups


def _content(item: Any) -> Any:
    """Return a value that is equal for items that look the same."""
    try:
        return pickle.dumps(item, 5)
    except Exception:  # an object of a class that can't be unpickled
        return id(item)


def publish(label: str, output: dict[str, Any], display_id: str = "", update: bool = False) -> None:
    """Show an output in the best of its formats.

    Parameters
    ----------
    label : str
        Names the engines; empty for no label.
    output : dict
        The ``data`` by MIME type, and ``metadata``.
    display_id : str
        The id by which a notebook can update the display.
    update : bool
        Replace the display of this id.
    """
    data = output["data"]
    if (len(data) > 1 or display_id) and _prompt.ipython_shell() is not None:
        from IPython.display import publish_display_data

        if label and not update:
            print(label)
        transient = {"display_id": display_id} if display_id else {}
        publish_display_data(data, output.get("metadata") or {}, transient=transient, update=update)
        return
    text = data.get("text/plain", "")
    separator = "" if not label else "\n" if "\n" in text else " "
    print(f"{label}{separator}{text}")
