"""The unacknowledged results in an outbox, and the replies that replace dropped results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...protocol import messages
from ...protocol.frames import Frame

TOO_LARGE = "it was dropped: it is larger than all that is kept for clients that are away"
EXPIRED = "it was dropped: there was no more room for results of clients that are away"


class UndeliveredResult(NamedTuple):
    """A reply with its frames."""

    reply: messages.Reply
    inline: list[Frame]
    bulk: list[Frame]  # the chunks of its bulk frames


def undelivered_results(outbox: Iterable[Sequence[Frame]]) -> Iterator[UndeliveredResult]:
    """Yield the results in the messages of an outbox, in order."""
    batch: list[UndeliveredResult] = []
    expected: list[tuple[list[Frame], int]] = []
    for header, *frames in outbox:
        message = messages.decode_from_controller(header)
        if isinstance(message, messages.Results):
            yield from batch
            batch = _with_inline_frames(message.replies, frames)
            expected = [(result.bulk, count) for result in batch if (count := _chunk_count(result.reply))]
        elif isinstance(message, messages.Chunk) and expected:
            chunks, missing = expected.pop(0)
            chunks.extend(frames)
            if missing > 1:
                expected.insert(0, (chunks, missing - 1))
    yield from batch


def _with_inline_frames(replies: list[messages.Reply], frames: list[Frame]) -> list[UndeliveredResult]:
    """Give each reply its own small frames, and an empty list for its chunks."""
    remaining = iter(frames)
    return [
        UndeliveredResult(reply, [next(remaining) for size in reply.frames if size < messages.BULK], [])
        for reply in replies
    ]


def _chunk_count(reply: messages.Reply) -> int:
    """Return how many chunks follow a reply."""
    if reply.pid:  # the bulk frames are in the memory of the engine
        return 0
    return sum(len(messages.chunks(size)) for size in reply.frames if size >= messages.BULK)


def expired_reply(reply: messages.Reply, why: str = EXPIRED) -> messages.Reply:
    """Return the reply that replaces one whose result was dropped."""
    failure = messages.Failure("ResultExpired", why, "")
    return messages.Reply(
        reply.id,
        reply.engine,
        "error",
        [],
        reply.started,
        reply.completed,
        failure=failure,
        index=reply.index,
        count=reply.count,
    )


def is_expired(reply: messages.Reply) -> bool:
    """Return whether the result of a reply was dropped."""
    return reply.failure is not None and reply.failure.ename == "ResultExpired"
