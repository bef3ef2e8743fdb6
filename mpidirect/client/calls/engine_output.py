"""What one engine has printed and displayed for a call, before its reply and after it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...errors import error_text
from ...protocol import messages
from ...protocol.messages import AFTER_TASK, DISPLAY, STDERR, STDOUT
from ...protocol.names import UNSHOWN
from ...serialize import pickles

Item = tuple[int, "str | bytes"]  # the kind, and text or the pickle of a display


class EngineOutput:
    """The output of one engine, in the order of its arrival.

    Attributes
    ----------
    items : list
        Output that arrived while the task ran. Until the reply arrives, items are only appended.
    late : list
        Output of the task's threads after the reply.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.late: list[Item] = []
        self._ids: dict[str, int] = {}  # the places in `items` of displays that can be updated, by display id
        self._ends = [0, 0, 0]  # the number of characters of each stream, and of displays, that have arrived

    def take(self, piece: messages.OutputPiece) -> None:
        """Take a piece of output. It may repeat earlier output, and output before it may be missing."""
        kind, at = piece.kind, piece.at
        if at == AFTER_TASK:
            self.late.append((kind, piece.text))
        elif kind == DISPLAY:
            if at >= self._ends[kind]:
                self._ends[kind] = at + 1
                if piece.text:
                    if (place := self._ids.get(piece.text)) is not None:
                        self.items[place] = kind, b""  # a later state of a display replaces the earlier one
                    self._ids[piece.text] = len(self.items)
                self.items.append((kind, piece.display))
        else:
            end = self._ends[kind]
            if at > end:
                self.items.append((kind, f"\n[… {at - end} characters come with the result]\n"))
            text = piece.text[max(0, end - at) :]
            if text:
                self._ends[kind] = at + len(piece.text)
                self.items.append((kind, text))

    def rest(self, reply: messages.Reply) -> list[Item]:
        """Return the output in the reply that has not arrived before the reply, in order."""
        items: list[Item] = []
        ends = self._ends[:DISPLAY]

        def until(places: Sequence[int | None]) -> None:
            for kind, text, _ in self._texts(reply):
                part = text[ends[kind] : places[kind]]
                ends[kind] += len(part)
                if part:
                    items.append((kind, part))

        for output in shown(reply.outputs):
            content = opened(output)
            if content.get("number", 0) >= self._ends[DISPLAY]:
                until(content.get("after", (None, None)))
                items.append((DISPLAY, output))
        until((None, None))
        return items

    def _texts(self, reply: messages.Reply) -> list[tuple[int, str, int]]:
        """Return the text of each stream in the reply, and where the output before the reply ends."""
        return list(zip((STDOUT, STDERR), (reply.stdout, reply.stderr), self._ends, strict=False))

    def whole(self, reply: messages.Reply | None) -> tuple[str, str, list[bytes]]:
        """Return all output: the reply's, unless the engine has dropped a part that arrived earlier."""
        texts = ["", ""]
        displays: list[bytes] = []
        for kind, content in self.items:
            if not isinstance(content, bytes):
                texts[kind] += content
            elif content:
                displays.append(content)
        if reply is not None:
            for kind, text, end in self._texts(reply):
                texts[kind] = text if len(text) >= end else texts[kind]
            displays = shown(reply.outputs) if reply.outputs or reply.status == "ok" else displays
        for kind, content in self.late:
            texts[kind] += str(content)
        return texts[STDOUT], texts[STDERR], displays

    def settle(self, reply: messages.Reply) -> None:
        """Drop the output that the reply has too. Only for replies whose output no display watches."""
        if reply.status == "ok" and all(len(text) >= end for _, text, end in self._texts(reply)):
            self.items.clear()
            self._ids.clear()
            self._ends = [0, 0, 0]


def shown(outputs: bytes) -> list[bytes]:
    """Return the displays of a reply."""
    return msgspec.msgpack.decode(outputs, type=list[bytes]) if outputs else []


def output_of(output: bytes) -> dict[str, Any]:
    """Return what an engine displayed, as a user sees the display."""
    content = opened(output)
    return {name: content[name] for name in ("data", "metadata", "transient") if name in content}


def outputs_of(outputs: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return the displays of an engine, without those that are not shown."""
    return [output for output in map(output_of, outputs) if not UNSHOWN & output["data"].keys()]


def comparable(output: bytes, ids: dict[str, str]) -> bytes:
    """Return a display so that those which look the same on several engines are equal.

    Parameters
    ----------
    output : bytes
        What an engine displayed.
    ids : dict of str
        The ids of the engine's displays that can be updated, with the ids that take their place; this adds to
        them. Engines choose random ids.
    """
    content = output_of(output)
    if id := content.get("transient", {}).get("display_id"):
        content["transient"] = {"display_id": ids.setdefault(id, str(len(ids)))}
    try:
        return pickle.dumps(content, 5)
    except Exception:  # of a class that pickles in one direction only
        return output


def opened(output: bytes) -> dict[str, Any]:
    """Return a display as an object, if it can be unpickled here."""
    try:
        content: dict[str, Any] = pickles.loads_without_mpi([output])
        return content
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # a class of the user may raise anything while its object is unpickled
        text = f"<what was displayed can't be unpickled here: {error_text(e)}>"
        return {"data": {"text/plain": text}, "metadata": {}}
