"""Sends replies to the clients that wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol import messages
from ...protocol.frames import Frame
from .retained_results import RetainedResults
from .session import OpenRequest


class Replies:
    """Sends replies to the client that made the request, and to the clients that recalled it."""

    def __init__(self, retained: RetainedResults) -> None:
        self._retained = retained

    def send(
        self,
        request: OpenRequest,
        reply: messages.Reply,
        inline: Sequence[Frame] = (),
        bulk: Sequence[Frame] = (),
    ) -> None:
        """Send a reply, with its small frames and its bulk pieces."""
        complete = request.complete
        request.client.reply(reply, inline, bulk, complete)
        for follower in request.followers:
            follower.reply(self._retained.shown_to(follower, reply), inline, bulk, complete)
