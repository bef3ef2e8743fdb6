"""The controller's event loop: it waits for messages, and never blocks on anything else."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from ..arrays import lazy_numpy
from ..transport.base import Empty, Listener

log = logging.getLogger(__name__)

# maximum number of messages that a listener gets handled before the other listeners' turn
MESSAGES_PER_LISTENER = 200
MAX_SLEEP = 1000  # milliseconds


class MessageReceiver(Protocol):
    """Takes the messages of a listener."""

    def receive(self, listener: Listener, name: bytes, /) -> None:
        """Take the rest of a message from the connection `name`."""

    def departed(self, listener: Listener, /) -> None:
        """Note that connections have closed."""


class EventLoop:
    """Calls the receivers of messages, and then a function that does what is due."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, Callable[[], None]] = {}
        # receivers of input that makes no descriptor readable
        self._unannounced: list[Callable[[], None]] = []
        self._callbacks: dict[Any, Callable[[], None]] = {}  # by descriptor

    def add_listener(self, listener: Listener, receiver: MessageReceiver) -> None:
        """Hand the messages of a listener to a receiver."""
        messages_descriptor, *departure_descriptors = listener.descriptors
        receive = partial(_receive, listener, receiver)
        self._listeners[listener] = self._callbacks[messages_descriptor] = receive
        self._callbacks |= dict.fromkeys(departure_descriptors, partial(receiver.departed, listener))

    def add_descriptor(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call a function when a descriptor is readable."""
        self._callbacks[descriptor] = callback

    def dispatch(self, ready: Sequence[Any]) -> None:
        """Handle the input at these descriptors, and the input that makes no descriptor readable."""
        for descriptor in ready:
            self._callbacks[descriptor]()
        for receive in self._unannounced:
            receive()

    def run(
        self,
        turn: Callable[[Sequence[Any]], None],
        max_sleep: Callable[[], int],
        finished: Callable[[], bool],
    ) -> None:
        """Run until `finished`.

        Parameters
        ----------
        turn : callable
            Takes one turn: its argument are the readable descriptors. It calls `dispatch`, and does what is
            due.
        max_sleep : callable
            Returns the milliseconds that the loop may sleep, `MAX_SLEEP` at most.
        finished : callable
            Returns whether the loop ends.
        """
        with select.epoll() as epoll:  # ZeroMQ's poll would ask each socket again and again
            for descriptor in self._callbacks:
                epoll.register(descriptor, select.EPOLLIN)
            ready = list(self._callbacks)  # once for input that arrived before the descriptors were watched
            numpy_imported = False
            while not finished():
                turn(ready)
                self._unannounced = [
                    receive for listener, receive in self._listeners.items() if listener.waiting
                ]
                sleep = 0 if self._unannounced else max_sleep()
                ready = [descriptor for descriptor, _ in epoll.poll(sleep / 1000)]
                if not (numpy_imported or ready) and sleep >= MAX_SLEEP:
                    numpy_imported = True
                    # In a thread, because the loop never waits; no other thread here imports numpy.
                    threading.Thread(target=lazy_numpy.warm, name="numpy", daemon=True).start()


def _receive(listener: Listener, receiver: MessageReceiver) -> None:
    """Hand on the messages of a listener, and the closed connections."""
    for _ in range(MESSAGES_PER_LISTENER):
        try:
            name = listener.first()
        except Empty:
            break
        try:
            receiver.receive(listener, name)
        except Exception:  # one message must not end the cluster
            log.exception("a message of %r could not be handled", name)
            listener.rest()
        if not listener.readable():
            break
    if listener.departures:
        receiver.departed(listener)
