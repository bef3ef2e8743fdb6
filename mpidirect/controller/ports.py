"""The TCP port for clients, and the descriptors for all connections."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket

from ..errors import ConfigError
from ..transport.addresses import listening
from ..transport.gate import reserve


def raise_descriptor_limit() -> None:
    """Raise this process's limit of descriptors nearly to the system's: each connection takes one.

    The last descriptors are for `gate.Gate`, which closes connections of strangers.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = most if most == resource.RLIM_INFINITY else most - reserve(most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def client_port(ip: str, port: str, former: int) -> socket.socket:
    """Return a listening socket for clients.

    Parameters
    ----------
    ip : str
        The address of the interface; ``*`` for all.
    port : str
        ``0`` for any port, one port, or a range ``first-last``.
    former : int
        The port of a former controller, which clients know; this port is preferred. 0 if there is none.

    Raises
    ------
    ConfigError
        When no port is free, or the interface does not exist.
    """
    with contextlib.suppress(OSError):
        if former:
            return listening(ip, former)
    first, _, last = port.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        raise ConfigError(f"port {port!r} is neither a port nor a range like 5000-5100") from None
    for candidate in range(low, high + 1):
        try:
            return listening(ip, candidate)
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                continue
            raise _no_such_interface(ip, e) from None
        except OverflowError:
            break
    raise ConfigError(f"no port of {port} is free on {ip}: choose others with --port")


def _no_such_interface(ip: str, error: OSError) -> ConfigError:
    import psutil

    interfaces = ", ".join(psutil.net_if_addrs())
    return ConfigError(
        f"can't listen on {ip!r}: {error.strerror}. The interfaces of {socket.gethostname()}, where the "
        f"controller runs, are {interfaces}: choose one with --interface, or leave it out."
    )
