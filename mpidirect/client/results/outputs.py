"""The displays and results of engines, as users see them."""

from __future__ import annotations

import sys
from typing import Any

from ...protocol import messages
from ..calls.engine_output import outputs_of, shown


class ExecuteReply:
    """The reply of an engine to `DirectView.execute`.

    Attributes
    ----------
    engine_id : int
        The engine.
    execution_count : int or None
        IPython's prompt number on that engine.
    execute_result : dict or None
        The value of the last line in its formats: ``data`` (by MIME type), ``metadata`` and
        ``execution_count``.
    stdout, stderr : str
        The printed text.
    outputs : list of dict
        The displays, in their formats.
    """

    def __init__(self, reply: messages.Reply, content: dict[str, Any] | None) -> None:
        content = content or {}
        self.engine_id = reply.engine
        self.stdout = reply.stdout
        self.stderr = reply.stderr
        self.outputs = outputs_of(shown(reply.outputs))
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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if not self.data:
            return {}
        return {**self.data, "text/plain": self._prompted()}, self._display_metadata

    def _repr_html_(self) -> Any:
        return self._in_format("text/html")

    def _repr_latex_(self) -> Any:
        return self._in_format("text/latex")

    def _repr_markdown_(self) -> Any:
        return self._in_format("text/markdown")

    def _repr_json_(self) -> Any:
        return self._in_format("application/json")

    def _repr_javascript_(self) -> Any:
        return self._in_format("application/javascript")

    def _repr_png_(self) -> Any:
        return self._in_format("image/png")

    def _repr_jpeg_(self) -> Any:
        return self._in_format("image/jpeg")

    def _repr_svg_(self) -> Any:
        return self._in_format("image/svg+xml")

    def _in_format(self, mime: str) -> Any:
        """Return the result in one format; with the metadata of the format, if there are any."""
        data, metadata = self.data.get(mime), self._display_metadata.get(mime)
        return (data, metadata) if metadata else data

    @property
    def _display_metadata(self) -> dict[str, Any]:
        return (self.execute_result or {}).get("metadata") or {}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self._prompted() or repr(self))

    def _prompted(self) -> str:
        if not self.text:
            return ""
        separator = "\n" if "\n" in self.text else ""
        return f"Out[{self.engine_id}:{self.execution_count}]: {separator}{self.text}"


def at_prompt() -> bool:
    """Whether a user types in this process: at Python's or IPython's prompt, or in a notebook."""
    return hasattr(sys, "ps1")


def is_confirmed(question: str) -> bool:
    """Ask the user, and return whether the answer is yes; also if no user can be asked."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
    except NotImplementedError:  # a notebook that a program executes
        return True
