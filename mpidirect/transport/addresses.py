"""The addresses of this host, IPv4 and IPv6, their URLs, and sockets that listen at them."""

from __future__ import annotations

import socket


def own_addresses() -> list[str]:
    """Return this host's addresses: those that other hosts can reach first, and of these IPv4 first."""
    import psutil

    found: list[str] = []
    status = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        if name in status and not status[name].isup:
            continue
        found += [a.address for a in addresses if a.family == socket.AF_INET]
        found += [a.address for a in addresses if a.family == socket.AF_INET6 and _is_global(a.address)]
    return sorted(found, key=lambda address: (address.startswith("127."), ":" in address))


def _is_global(address: str) -> bool:
    """Whether an IPv6 address has the same meaning on another host."""
    import ipaddress

    kind = ipaddress.ip_address(address.partition("%")[0])
    return not (kind.is_link_local or kind.is_loopback)


def interface_address(name: str) -> str:
    """Return the address of the interface `name`; any other text is returned as an address."""
    import psutil

    addresses = psutil.net_if_addrs().get(name, [])
    for family in (socket.AF_INET, socket.AF_INET6):
        for address in addresses:
            if address.family == family and (family == socket.AF_INET or _is_global(address.address)):
                return str(address.address)
    return name


def only_ipv6() -> bool:
    """Whether other hosts reach this host by IPv6 only."""
    external = [address for address in own_addresses() if not address.startswith("127.")]
    return bool(external) and all(":" in address for address in external)


def url(host: str, port: int) -> str:
    """Return ``tcp://host:port``, with brackets around an IPv6 address."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def listening(ip: str, port: int) -> socket.socket:
    """Return a socket that listens at a port of an address; ``*`` means all addresses of this host.

    Raises
    ------
    OSError
        When the socket can't listen, or `ip` is neither an address nor a host's name.
    """
    everywhere = ip == "*"
    if everywhere and socket.has_dualstack_ipv6() and any(":" in address for address in own_addresses()):
        family, host = socket.AF_INET6, "::"
    else:
        family, host = socket.AF_INET6 if ":" in ip else socket.AF_INET, "" if everywhere else ip
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port may just have been used
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not everywhere)
        listener.bind((host, port))
        listener.listen()  # fails if another process has bound the port at the same time
        return listener
    except BaseException:
        listener.close()
        raise
