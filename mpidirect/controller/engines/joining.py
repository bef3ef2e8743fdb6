"""The joining of new engines: the controller and all engines make all communicators anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...protocol import messages
from .links import EngineMessenger


class CommunicatorMaker(Protocol):
    """The part of `MPITransfer` that makes the communicators of the controller and the engines."""

    def open_port(self) -> str:
        """Open a port at which the controller and all engines meet."""

    def join(self, order: messages.PrepareCommunicators, /) -> Callable[[], None]:
        """Make all communicators with the new engines; return the function that begins to use them."""


class JoinFailed(Exception):
    """New engines cannot join; the text says why."""


class Joining:
    """The steps by which new engines join.

    First all engines prepare. Then all make the communicators. When all have succeeded, all begin to use
    the new communicators. Until then nothing has changed, so a failure does no harm.
    """

    def __init__(self, link: EngineMessenger, maker: CommunicatorMaker) -> None:
        self._link = link
        self._maker = maker
        self.clear()

    def clear(self) -> None:
        """Forget the present joining."""
        self._order: messages.PrepareCommunicators | None = None
        self._preparing: set[int] = set()  # engines that are not ready
        self._making: set[int] = set()  # engines that have not made the communicators
        self._use: Callable[[], None] | None = None

    @property
    def engines(self) -> list[int]:
        """Return all engines that take part; empty if no engine joins."""
        return self._order.engines if self._order is not None else []

    @property
    def port(self) -> str:
        """Return the MPI port at which new engines join."""
        return self._order.port if self._order is not None else ""

    @property
    def awaited(self) -> list[int]:
        """Return the engines that have not completed the present step."""
        return sorted(self._preparing or self._making)

    def begin(self, epoch: int, alive: list[int], new: list[int]) -> None:
        """Tell all engines to prepare; raise `JoinFailed` if MPI opens no port."""
        try:
            port = self._maker.open_port()
        except Exception as e:  # an error of MPI, whose class this module does not import
            raise JoinFailed(f"MPI can't connect the new engines: {e}") from e
        order = messages.PrepareCommunicators(epoch, alive, new, port)
        self._order = order
        self._preparing, self._making = set(order.engines), set(order.engines)
        self._send(order.engines, order)

    def ready(self, engine: int, message: messages.ReadyToJoin) -> None:
        """Note that an engine is ready."""
        if self._order is not None and message.epoch == self._order.epoch:
            self._preparing.discard(engine)

    @property
    def all_ready(self) -> bool:
        """Return whether the communicators can be made now."""
        return self._order is not None and self._use is None and not self._preparing

    def make(self) -> None:
        """Make the communicators together with all engines; raise `JoinFailed` if MPI fails."""
        order = self._order
        assert order is not None
        self._send(order.engines, messages.MakeCommunicators(order.epoch))
        try:
            self._use = self._maker.join(order)
        except Exception as e:  # an error of MPI, whose class this module does not import
            raise JoinFailed(f"MPI can't connect the new engines: {e}") from e

    def made(self, engine: int, message: messages.CommunicatorsMade) -> None:
        """Note that an engine has made the communicators; raise `JoinFailed` if the engine could not."""
        if self._order is not None and message.epoch == self._order.epoch:
            if message.problem:
                raise JoinFailed(message.problem)
            self._making.discard(engine)

    @property
    def complete(self) -> bool:
        """Return whether all engines have made the communicators."""
        return self._use is not None and not self._making

    def finish(self) -> None:
        """Use the new communicators from now on."""
        order, use = self._order, self._use
        assert order is not None and use is not None
        use()
        self._send(order.living, messages.UseCommunicators(order.epoch))
        self.clear()

    def _send(self, engines: list[int], message: messages.Message) -> None:
        for engine in engines:
            self._link.send_order(engine, message)
