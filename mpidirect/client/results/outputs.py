"""What engines displayed and returned, as a user finds it."""

from __future__ import annotations

import sys
from typing import Any

from ...protocol import messages
from ..calls.engine_output import output_of, shown


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
        self.outputs = [output_of(output) for output in shown(reply.outputs)]
        self.execution_count = content.get("execution_count")
        result = content.get("result")
        self.execute_result = result and {**result, "execution_count": self.execution_count}

    @property
    def data(self) -> dict[str, Any]:
        """The result by MIME type."""
        data: dict[str, Any] = (self.execute_result or {}).get("data", {})
        return data

    @property
    def text(self) -> str:
        """The result as plain text."""
        return str(self.data.get("text/plain", ""))

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


def at_prompt() -> bool:
    """Whether somebody types here: at Python's prompt, IPython's, or in a notebook."""
    return hasattr(sys, "ps1")
