"""The client's cost for the replies of many engines: its real code, without a connection."""

from __future__ import annotations

import time
from itertools import islice
from types import SimpleNamespace
from typing import Any

from mpidirect.client.calls.call import Call
from mpidirect.client.results.asyncresult import AsyncResult
from mpidirect.protocol import messages
from mpidirect.serialize import pickles

BATCH = 200  # number of replies in a message: as many as the controller reads from its socket at once


def receive(n: int) -> float:
    """Return the seconds of processor time from the messages with `n` replies to a list of `n` values."""
    value = bytes(pickles.dumps(None)[0])
    incoming = []
    for start in range(0, n, BATCH):
        replies = [
            messages.Reply("1", engine, "ok", [len(value)], 1.0, 2.0)
            for engine in range(start, min(start + BATCH, n))
        ]
        header = messages.encode(messages.Results(1, 1, replies))
        incoming.append((header, [value] * len(replies)))
    call = Call("1", "apply", list(range(n)), {})
    client: Any = SimpleNamespace(_connection=None)
    begun = time.process_time()
    result = AsyncResult(client, [call])
    for header, frames in incoming:
        message = messages.decode_from_controller(header)
        parts = iter(frames)
        call.replied([(reply, [*islice(parts, len(reply.frames))]) for reply in message.replies])
    assert result.done()
    assert call.values(call.targets) == [None] * n
    return time.process_time() - begun
