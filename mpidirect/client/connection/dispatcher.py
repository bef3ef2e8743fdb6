"""Hand the controller's messages to the receiver; results with chunks when all chunks have arrived."""

from __future__ import annotations

from itertools import islice

from ...protocol import messages
from ...protocol.frames import Frame
from .bulk_frames import FrameAssembly
from .receiver import Receiver


class MessageDispatcher:
    """Calls the method of the receiver for each message.

    Parameters
    ----------
    receiver : Receiver
        Receives the messages.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._assembly: FrameAssembly | None = None  # replies whose chunks have not all arrived

    def reset(self) -> None:
        """Drop incomplete replies: a new stream does not contain their other chunks."""
        self._assembly = None

    def dispatch(self, message: messages.Message, frames: list[Frame]) -> None:
        """Hand over one message with its frames."""
        if isinstance(message, messages.Results):
            replies = message.replies
            if sum(len(reply.frames) for reply in replies) == len(frames):  # no chunks follow
                self._assembly = None
                parts = iter(frames)
                self._receiver.replied([(reply, [*islice(parts, len(reply.frames))]) for reply in replies])
                return
            self._assembly = FrameAssembly(replies, frames)
        elif isinstance(message, messages.Chunk):
            if self._assembly is not None and frames:
                self._receiver.received(self._assembly.add(frames[0]), len(frames[0]))
            elif self._assembly is not None:
                self._assembly.lose()
        elif isinstance(message, messages.RelayedOutput):
            self._receiver.printed(message)
        elif isinstance(message, messages.Answer):
            self._receiver.answered(message)
        elif isinstance(message, messages.DataRead):
            self._receiver.data_read(message.id)
        elif isinstance(message, messages.DataMoving):
            self._receiver.data_moving(message)
        elif isinstance(message, messages.ResultSize):
            self._receiver.result_announced(message)
        elif isinstance(message, messages.ResultMoved):
            self._receiver.result_moved(message.id, message.engine, message.addresses)
        elif isinstance(message, messages.DebuggerPrompt):
            self._receiver.debugger_changed(message)
        elif isinstance(message, messages.EnginesChanged):
            self._receiver.engines_changed(message)
        if self._assembly is not None and self._assembly.complete:
            assembly, self._assembly = self._assembly, None
            self._receiver.replied(assembly.replies)
