"""Where those who come from elsewhere say who they are, before they are let in."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..wire.connections import Stream
from ..wire.sealed import GREETING, HELLO, REFUSED, tuned
from ..wire.sockets import is_worth_a_line

if TYPE_CHECKING:
    from ..wire.handshake import Ciphers

log = logging.getLogger(__name__)

HANDSHAKE = 10.0  # seconds that one may take
MOST = 128  # who may be in the middle of it
SWEEP = 5.0  # seconds between looks at who has gone silent
SILENCE = 60.0  # seconds after which a guest has: its client asks for an answer more often


class Guest(Stream):
    """A connection that was accepted."""

    def __init__(self, connection: socket.socket, largest: int, number: int) -> None:
        super().__init__(connection, largest)
        self.number = number
        self.name = b""  # until it has said it
        self.watched = False  # whether it is told when more can be sent
        self.known = True  # whether the handshake is over, where there is one
        self.said = b""  # in it
        self.until = 0.0  # when it must have ended, name included
        self.heard = 0  # bytes, at the last sweep

    def where(self) -> str:
        """Where it comes from."""
        try:
            return str(self.connection.getpeername()[0])
        except (OSError, IndexError):
            return "?"


class Reception:
    """Lets in who has the key.

    Parameters
    ----------
    answer : callable
        Gets the first message of a handshake, returns what to say and the keys; ValueError for a stranger.
    """

    def __init__(self, answer: Callable[[bytes], tuple[bytes, Ciphers]]) -> None:
        self._answer = answer
        self._strangers: dict[Guest, None] = {}  # the oldest first
        self._refused = 0
        self._swept = time.monotonic()
        self._silent: dict[Guest, float] = {}  # since when

    def greet(self, guest: Guest) -> Guest | None:
        """Somebody has come; returns who has to go therefore."""
        tuned(guest.connection)
        guest.known = False
        guest.until = time.monotonic() + HANDSHAKE
        self._strangers[guest] = None
        with contextlib.suppress(OSError):  # it is gone, and will be missed
            guest.connection.send(GREETING)
        return next(iter(self._strangers)) if len(self._strangers) > MOST else None

    def turn_away(self, connection: socket.socket) -> None:
        """There is no room: without a word it would look as if nobody were here."""
        connection.send(GREETING)

    def shake(self, guest: Guest) -> None:
        """Go on with finding out who it is."""
        missing = HELLO - len(guest.said)
        try:
            came = guest.connection.recv(missing)
            guest.said += came
            if len(came) == missing:
                reply, ciphers = self._answer(guest.said)
                guest.connection.send(reply)
                guest.seal(ciphers)
                guest.known = True
            elif not came:
                guest.ended = True
        except BlockingIOError:
            pass
        except OSError:
            guest.ended = True
        except ValueError:
            with contextlib.suppress(OSError):
                guest.connection.send(REFUSED)
            self.refuse(guest, "who has no key")
        except Exception as e:  # of the package cryptography
            self.refuse(guest, f"whose key can't be checked here: {e!r}")

    def refuse(self, guest: Guest, why: object) -> None:
        """It won't be let in."""
        guest.ended = True
        self._refused += 1
        if is_worth_a_line(self._refused):
            log.warning("refused a connection from %s, %s (%d so far)", guest.where(), why, self._refused)

    def left(self, guest: Guest) -> None:
        """It has been let in, or has gone."""
        self._strangers.pop(guest, None)
        self._silent.pop(guest, None)

    def overdue(self, guests: Iterable[Guest]) -> list[Guest]:
        """Who has not said in time who it is, and who of all `guests` is silent for long."""
        now = time.monotonic()
        late = list(itertools.takewhile(lambda guest: guest.until < now, self._strangers))
        if now - self._swept > SWEEP:
            self._swept = now
            for guest in guests:
                if guest.received == guest.heard:
                    if now - self._silent.setdefault(guest, now) > SILENCE:
                        late.append(guest)
                else:
                    guest.heard = guest.received
                    self._silent.pop(guest, None)
        return late
