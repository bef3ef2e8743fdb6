"""Screens above the table: a question, and a text."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Question(ModalScreen):
    """A question that ``y`` answers with yes and any other key with no.

    Parameters
    ----------
    text : str
        The question.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Return the parts of the screen."""
        yield Static(f"{self._text}  (y/n)", id="question", markup=False)

    def on_key(self, event: object) -> None:
        """Close the screen with the answer."""
        self.dismiss(getattr(event, "key", "") == "y")


class Text(ModalScreen):
    """A text that can be scrolled; ``escape`` or ``q`` closes the screen.

    Parameters
    ----------
    text : str
        The text.
    """

    BINDINGS = [("escape,q,s,enter", "dismiss", "Back")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Return the parts of the screen."""
        with VerticalScroll():
            yield Static(self._text, markup=False)
