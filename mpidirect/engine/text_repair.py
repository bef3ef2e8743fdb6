"""Repairs output of user code that can't be encoded, because it has lone surrogates."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import messages


def encode(
    message: messages.TaskDone | messages.BatchDone, ends: Sequence[messages.TaskDone | messages.ItemsDone]
) -> bytes:
    """Encode a message; if its texts can't be encoded, repair them.

    Parameters
    ----------
    message : TaskDone or BatchDone
        The message.
    ends : sequence of TaskDone or ItemsDone
        The messages with texts of user code: the message itself, or its items.
    """
    try:
        return messages.encode(message)
    except (UnicodeEncodeError, UnicodeDecodeError):
        for end in ends:
            _repair(end)
        return messages.encode(message)


def _repair(end: messages.ItemsDone | messages.TaskDone) -> None:
    failure = end.failure
    if failure is not None:
        texts = failure.ename, failure.evalue, failure.traceback, failure.method
        end.failure = messages.Failure(*map(_encodable, texts))
    end.stdout, end.stderr = _encodable(end.stdout), _encodable(end.stderr)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
