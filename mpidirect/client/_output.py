"""Showing what engines printed, displayed and returned."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import said
from ..wire import messages, pickles


class ExecuteReply:
    """What `DirectView.execute` brings back from an engine.

    Attributes
    ----------
    engine_id : int
        The engine.
    execution_count : int or None
        IPython's prompt number there.
    execute_result : dict or None
        The value of the last line in its formats: ``data`` (by MIME type), ``metadata`` and
        ``execution_count``.
    stdout, stderr : str
        What was printed.
    outputs : list of dict
        What was displayed, in its formats.
    """

    def __init__(self, reply: messages.Reply, content: dict[str, Any] | None) -> None:
        content = content or {}
        self.engine_id = reply.engine
        self.stdout = reply.stdout
        self.stderr = reply.stderr
        self.outputs = opened(reply.outputs)
        self.execution_count = content.get("execution_count")
        result = content.get("result")
        self.execute_result = result and {**result, "execution_count": self.execution_count}

    @property
    def data(self) -> dict[str, Any]:
        """The result by MIME type."""
        return (self.execute_result or {}).get("data", {})

    @property
    def text(self) -> str:
        """The result as plain text."""
        return self.data.get("text/plain", "")

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 32 else self.text[:29] + "..."
        return f"<ExecuteReply[{self.execution_count}]: {text}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {**self.data, "text/plain": self._prompted()} if self.data else {}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self._prompted() or repr(self))

    def _prompted(self) -> str:
        if not self.text:
            return ""
        separator = "\n" if "\n" in self.text else ""
        return f"Out[{self.engine_id}:{self.execution_count}]: {separator}{self.text}"


def opened(outputs: bytes) -> list[dict[str, Any]]:
    """What an engine displayed, as far as it can be unpickled here."""
    return (
        [_opened(output) for output in msgspec.msgpack.decode(outputs, type=list[bytes])] if outputs else []
    )


def _opened(output: bytes) -> dict[str, Any]:
    try:
        return pickles.loads_without_mpi([output])
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # whatever a class says when its object is made again
        text = f"<what was displayed can't be unpickled here: {said(e)}>"
        return {"data": {"text/plain": text}, "metadata": {}}


def at_prompt() -> bool:
    """Whether somebody types here: at Python's prompt, IPython's, or in a notebook."""
    return hasattr(sys, "ps1")


def show_streams(entries: Sequence[Any]) -> None:
    """Show what was printed and displayed, but no results."""
    for kind in (_show_stdout, _show_stderr, _show_displays):
        for entry in entries:
            kind(entry)


def display_outputs(entries: Sequence[Any], groupby: str, result_only: bool) -> None:
    """Show the outputs of `entries` (see `AsyncResult.display_outputs`)."""
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby must be one of 'type', 'engine', 'order', not {groupby!r}")
    kinds = [_show_result] if result_only else [_show_stdout, _show_stderr, _show_displays, _show_result]
    if groupby == "type":
        for kind in kinds:
            for entry in entries:
                kind(entry)
    else:
        for entry in entries:
            for kind in kinds:
                kind(entry)


def _show_stdout(entry: Any) -> None:
    _show_stream(entry["stdout"], f"[stdout:{entry['engine_id']}]", sys.stdout)


def _show_stderr(entry: Any) -> None:
    _show_stream(entry["stderr"], f"[stderr:{entry['engine_id']}]", sys.stderr)


def _show_stream(text: str, label: str, file: Any) -> None:
    if text:
        separator = "\n" if "\n" in text.rstrip("\n") else " "
        print(f"{label}{separator}{text}", file=file, end="" if text.endswith("\n") else "\n")


def _show_displays(entry: Any) -> None:
    for output in entry["outputs"]:
        _publish(f"[output:{entry['engine_id']}]", output)


def _show_result(entry: Any) -> None:
    result = entry["execute_result"]
    if result:
        _publish(f"Out[{entry['engine_id']}:{result['execution_count']}]:", result)


def _publish(label: str, output: dict[str, Any]) -> None:
    data = output["data"]
    if len(data) > 1 and "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import publish_display_data

        if get_ipython() is not None:
            print(label)
            publish_display_data(data, output.get("metadata") or {})
            return
    text = data.get("text/plain", "")
    print(f"{label} {text}" if "\n" not in text else f"{label}\n{text}")
