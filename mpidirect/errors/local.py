"""The errors that this process raises itself: wrong use, settings, starts, connections."""

from __future__ import annotations

import builtins
import concurrent.futures
import pickle

from .. import _prompt


class MPIDirectError(Exception):
    """The base of all errors of this package."""

    def _render_traceback_(self) -> list[str]:
        """Return the traceback that IPython shows: of the user's code, and of the engines."""
        return _prompt.format_error(self)


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C during the wait for a call; the text describes the state of the call."""

    _render_traceback_ = MPIDirectError._render_traceback_

    def __reduce__(self) -> tuple[type[KeyboardInterrupt], tuple[object, ...]]:
        return KeyboardInterrupt, self.args


# Tracebacks show the name that users know.
Interrupted.__name__ = Interrupted.__qualname__ = "KeyboardInterrupt"
Interrupted.__module__ = "builtins"


# One class on Python 3.11 and later, two classes on 3.10: `except` clauses of both must catch the error.
_TIMEOUTS = tuple(dict.fromkeys([builtins.TimeoutError, concurrent.futures.TimeoutError]))


class TimeoutError(MPIDirectError, *_TIMEOUTS):  # type: ignore[misc]
    """A wait took too long; its result may still come."""


class NoEnginesRegistered(MPIDirectError):
    """There was no engine for a call."""


class SerializationError(MPIDirectError, TypeError, pickle.PicklingError):
    """An object could not be pickled, so nothing was sent."""


class CollectiveError(MPIDirectError):
    """A collective of engines failed; the message names the engine that failed."""


class ResultExpired(MPIDirectError, KeyError):
    """A result is not available: dropped for lack of memory, delivered before, or never requested."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class ClientClosed(MPIDirectError):
    """The client was closed before the call ended."""


class ConfigError(MPIDirectError, ValueError):
    """A setting is wrong; the message names the file, the line and the right form."""


class Untrusted(ConfigError):
    """Other users can change a directory or a file, so nothing in it is used; the message names its owner."""


class LaunchError(MPIDirectError):
    """A cluster did not start; the message has the tail of its log."""


class ClusterRunning(LaunchError):
    """A cluster of this profile runs already."""


class NeverStarts(LaunchError):
    """A job waits in a queue for resources that will never be available; the job is still in the queue."""


class ConnectionFailed(MPIDirectError, builtins.ConnectionError):
    """No controller answered."""


class ClusterNotFound(ConnectionFailed, FileNotFoundError):
    """There is no cluster to connect to: no connection file."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class AuthenticationFailed(ConnectionFailed):
    """A controller answered and refused this client's key."""


class VersionMismatch(ConnectionFailed):
    """Client, controller and engines do not speak the same protocol."""


class ControllerLost(ConnectionFailed):
    """The controller, and with it the cluster, is gone."""


class UnmetDependency(MPIDirectError):
    """The engine lacks a requirement of `require`; the function did not run."""
